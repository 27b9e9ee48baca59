//! wrk on nginx: requests by method, route and status, against nginx's access log.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};

use super::accounting;
use crate::{
    agent::Agent,
    context::Context,
    metrics::Metrics,
    nginx::{Answer, Nginx, SECRET},
    wrk::Wrk,
};

/// Requests natively.
const FULL: u64 = 120_000;

/// Keep-alive connections.
const CONNECTIONS: u64 = 16;

/// For how long the load may run, before patience is applied.
const LIMIT: Duration = Duration::from_secs(60);

pub fn run(context: &mut Context) -> Result<()> {
    let nginx = Nginx::start(context)?;
    nginx.forget()?;
    let agent = Agent::start(context, &[])?;
    context.fact("ready_ms", millis(agent.ready_after()));
    let quota = context.scaled(FULL, 1200);
    let mut wrk = Wrk::start(context, &nginx, CONNECTIONS, Some(quota))?;
    wrk.wait_for(&nginx, quota, LIMIT * context.patience)?;

    // The connections stay open: the last exchange on each is seen without its end.
    let truth = nginx.answers()?;
    let metrics = agent.settle(|metrics| {
        let server = seen(metrics, "server", nginx.name());
        let client = seen(metrics, "client", wrk.name());
        if accounting::missed_calls(metrics) == 0 {
            same(&truth, &server, metrics)?;
            return same(&truth, &client, metrics);
        }
        // An emulated processor is slow enough for the kernel's limits on fexit and return probes to show.
        ensure!(context.patience > 1, "{}", accounting::all(metrics));
        accounted(&truth, &server, metrics)?;
        accounted(&truth, &client, metrics)
    })?;
    let losses = accounting::losses(&metrics);
    let missed = accounting::missed_calls(&metrics);
    ensure!(
        losses == 0 || missed > 0 || context.patience > 1,
        "{losses} losses on a machine without other load: {}",
        accounting::all(&metrics)
    );
    context.fact("requests", quota);
    context.fact("losses_on_this_machine", losses);
    context.fact("missed_calls", missed);
    ensure!(
        !metrics.text().contains(SECRET),
        "a query string went out through /metrics"
    );
    // The log did not grow meanwhile, or the comparison was with the wrong truth.
    ensure!(
        nginx.answers()? == truth,
        "nginx answered more than wrk was told to ask"
    );

    let summary = wrk.stop()?;
    ensure!(
        summary.requests == quota && summary.errors() == 0,
        "wrk counted otherwise than nginx, which logged {quota}: {summary:?}"
    );
    agent.settle(accounting::check)?;
    agent.stop()?;
    Ok(())
}

/// The requests of `service` on one side, by method, route and status.
fn seen(metrics: &Metrics, side: &str, service: &str) -> BTreeMap<Answer, u64> {
    let name = format!("http_{side}_request_duration_seconds_count");
    let mut seen = BTreeMap::new();
    for sample in metrics.select(&name, &[("service_name", service)]) {
        let label = |key: &str| sample.labels.get(key).cloned().unwrap_or_default();
        let status = label("http_response_status_code").parse().unwrap_or(0);
        // Only a server knows its routes; what a client asked for has a template of its own.
        let route = match side {
            "server" => label("http_route"),
            _ => label("url_template"),
        };
        let answer = (label("http_request_method"), route, status);
        *seen.entry(answer).or_insert(0) += metrics.count(
            &name,
            &sample
                .labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect::<Vec<_>>(),
        );
    }
    seen
}

/// Fails with each difference between what nginx logged and what fathom counted.
fn same(
    truth: &BTreeMap<Answer, u64>,
    seen: &BTreeMap<Answer, u64>,
    metrics: &Metrics,
) -> Result<()> {
    let mut differences = Vec::new();
    for answer in truth
        .keys()
        .chain(seen.keys().filter(|key| !truth.contains_key(*key)))
    {
        let logged = truth.get(answer).copied().unwrap_or(0);
        let counted = seen.get(answer).copied().unwrap_or(0);
        if logged != counted {
            let (method, route, status) = answer;
            differences.push(format!(
                "{method} {route} {status}: logged {logged}, counted {counted}"
            ));
        }
    }
    ensure!(
        differences.is_empty(),
        "{} (counted losses: {}; {})",
        differences.join("; "),
        accounting::losses(metrics),
        accounting::all(metrics),
    );
    Ok(())
}

/// Fails where more is missing, or counted as something else, than what is said to be lost.
fn accounted(
    truth: &BTreeMap<Answer, u64>,
    seen: &BTreeMap<Answer, u64>,
    metrics: &Metrics,
) -> Result<()> {
    let beyond = |of: &BTreeMap<Answer, u64>, other: &BTreeMap<Answer, u64>| -> u64 {
        of.iter()
            .map(|(answer, count)| count.saturating_sub(other.get(answer).copied().unwrap_or(0)))
            .sum()
    };
    let (missing, strange) = (beyond(truth, seen), beyond(seen, truth));
    // A call that was never seen takes at most one exchange along, whether that shows in what was seen or not.
    let losses = accounting::losses(metrics) + accounting::missed_calls(metrics);
    ensure!(
        missing <= losses && strange <= losses,
        "{missing} requests are missing and {strange} were never asked, with {losses} losses: {}",
        accounting::all(metrics)
    );
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
