//! What a server that does no work pays for fathom, in pairs of runs with the agent on and off.
//!
//! The set-up is that of a published comparison: a C server and a C client with four keep-alive connections, both of one
//! thread, on a machine of two CPUs. It is a measurement and no test.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use fathom_scenarios::{
    pairs::{AgentSample, Pair, Sample},
    process,
};

use crate::{agent::Agent, context::Context, echo::Echo, metrics::Metrics};

/// How long things come to rest before a run, and the agent after it.
const REST: Duration = Duration::from_secs(1);

/// What is on in the runs with the agent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// Nothing: the pairs show the noise.
    Nothing,
    /// The agent, watching the sockets only through the context's tap, or doing everything where that is none.
    Agent,
}

/// Measures pairs of runs of `seconds` each.
pub fn run(context: &Context, watcher: Watcher, pairs: u32, seconds: u32) -> Result<Vec<Pair>> {
    let echo = Echo::start(&context.programs)?;
    // An emulator translates what runs for the first time; that is no pair's price.
    load(&echo, 1, None)?;
    Pair::take(pairs, |on| {
        if !on || watcher == Watcher::Nothing {
            return load(&echo, seconds, None);
        }
        let capabilities: &[&str] = match context.tap {
            Some(_) => &["--capabilities", "net"],
            None => &[],
        };
        let agent = Agent::start(context, capabilities)?;
        let sample = load(&echo, seconds, Some(&agent))?;
        agent.stop()?;
        Ok(sample)
    })
}

/// One run: load, then read the meters.
fn load(echo: &Echo, seconds: u32, agent: Option<&Agent>) -> Result<Sample> {
    thread::sleep(REST);
    let own = agent
        .map(|agent| process::cpu_seconds(agent.pid()))
        .transpose()?;
    let application = process::cpu_seconds(echo.pid())?;
    let requests = echo.ask(seconds)?;
    ensure!(requests > 0.0, "the server answered nothing");
    let application_cpu = process::cpu_seconds(echo.pid())? - application;
    let agent = match (agent, own) {
        (Some(agent), Some(before)) => {
            let cpu = process::cpu_seconds(agent.pid())? - before;
            // Its last records are still under way.
            thread::sleep(REST);
            Some(meters(agent, cpu)?)
        }
        _ => None,
    };
    Ok(Sample {
        requests,
        per_second: requests / f64::from(seconds),
        application_cpu,
        agent,
    })
}

/// Outcomes of `fathom.events` that say what came: of events, of questions to conntrack, of DNS messages, and of connections at rest.
const NO_LOSS: [&str; 10] = [
    "answer",
    "cached",
    "delivered",
    "local",
    "off",
    "plain",
    "query",
    "rested",
    "unbound",
    "woken",
];

/// What the agent took besides `cpu`.
fn meters(agent: &Agent, cpu: f64) -> Result<AgentSample> {
    let metrics = agent.metrics()?;
    Ok(AgentSample {
        cpu,
        resident: process::resident_bytes(agent.pid())?,
        maps: sum(&metrics, "fathom_memory_usage_bytes", "kind", |kind| {
            kind == "maps"
        }),
        lost: sum(&metrics, "fathom_events_total", "outcome", |outcome| {
            !NO_LOSS.contains(&outcome)
        }),
        seen: sum(
            &metrics,
            "http_server_request_duration_seconds_count",
            "http_request_method",
            |_| true,
        ),
        ready: agent.ready_after().as_secs_f64(),
    })
}

/// The sum of the series of `name` whose `label` is one that `wanted` accepts; none where there is no such name.
fn sum(metrics: &Metrics, name: &str, label: &str, wanted: impl Fn(&str) -> bool) -> Option<f64> {
    let mut series = metrics.select(name, &[]).peekable();
    series.peek()?;
    let wanted =
        series.filter(|sample| sample.labels.get(label).is_some_and(|value| wanted(value)));
    Some(wanted.map(|sample| sample.value).sum())
}

#[cfg(test)]
mod tests {
    use super::sum;
    use crate::metrics::Metrics;

    #[test]
    fn a_count_that_is_missing_is_no_zero() {
        let text = "a_total{outcome=\"delivered\",stage=\"tap\"} 5\na_total{outcome=\"full\",stage=\"tap\"} 2\n";
        let metrics = Metrics::parse(text.to_owned()).expect("samples");
        let lost = |name| sum(&metrics, name, "outcome", |outcome| outcome != "delivered");
        assert_eq!(lost("a_total"), Some(2.0));
        assert_eq!(lost("b_total"), None);
    }
}
