//! What both ends say that they did, and what fathom counted of it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::super::accounting;
use crate::{agent::Agent, context::Context, metrics::Metrics};

/// A method, a route and a status.
pub type Answer = (String, String, u16);

/// What one end says that it did.
#[derive(Clone, Default)]
pub struct Truth {
    /// Answered to the end.
    pub whole: BTreeMap<Answer, u64>,
    /// Broken off; without a status where no answer began.
    pub aborted: BTreeMap<Answer, u64>,
}

/// A line of a log.
#[derive(Deserialize)]
struct Line {
    method: String,
    path: String,
    status: u16,
    #[serde(default)]
    aborted: bool,
}

/// How what fathom counted differs from the truth.
#[derive(Default)]
struct Difference {
    missing: BTreeMap<Answer, u64>,
    never_happened: BTreeMap<Answer, u64>,
}

/// One end of the connections.
pub struct End {
    /// Which.
    pub side: &'static str,
    /// The name under which fathom knows it.
    pub service: String,
    /// What it did.
    pub truth: Truth,
}

/// Compares the ends with what the agent counts once it is quiet, and notes what was found. Of the cases in `not_decoded` requests may be missing, where at
/// least some are counted as lost.
pub fn judge(
    context: &mut Context,
    agent: &Agent,
    ends: &[End],
    not_decoded: &[&'static str],
) -> Result<()> {
    let mut found = (0, 0);
    let mut whole: Vec<&str> = Vec::new();
    // What is open is looked at after some time; until then it is neither counted nor lost.
    let metrics = agent.settle(|metrics| {
        accounting::check(metrics)?;
        let mut differences = Vec::new();
        for end in ends {
            let difference = end.truth.compare(&counted(metrics, end.side, &end.service));
            ensure!(
                difference.never_happened.is_empty(),
                "counted and never happened: {:?} of the {}; missing: {:?} ({})",
                difference.never_happened,
                end.side,
                difference.missing,
                accounting::all(metrics)
            );
            differences.push(difference);
        }
        let is_decoded = |route: &str| !not_decoded.iter().any(|case| route.starts_with(case));
        let missing = |decoded: bool| -> u64 {
            differences
                .iter()
                .flat_map(|difference| &difference.missing)
                .filter(|((_, route, _), _)| is_decoded(route) == decoded)
                .map(|(_, count)| count)
                .sum()
        };
        found = (missing(true), missing(false));
        let refused = accounting::missed_calls(metrics) + ring_full(metrics);
        ensure!(
            found.0 <= refused,
            "{} exchanges are missing, with {refused} losses: {:?} ({})",
            found.0,
            differences
                .iter()
                .map(|difference| &difference.missing)
                .collect::<Vec<_>>(),
            accounting::all(metrics)
        );
        ensure!(
            found.1 == 0 || accounting::losses(metrics) > refused,
            "{} exchanges are not decoded, and none is counted as lost",
            found.1
        );
        let lacks = |case: &str| {
            let mut missing = differences
                .iter()
                .flat_map(|difference| difference.missing.keys());
            missing.any(|(_, route, _)| route.starts_with(case))
        };
        whole = not_decoded
            .iter()
            .copied()
            .filter(|case| !lacks(case))
            .collect();
        Ok(())
    })?;
    let happened: u64 = ends.iter().flat_map(|end| end.truth.whole.values()).sum();
    context.fact("exchanges", happened);
    context.fact("missing", found.0);
    context.fact("not_decoded", found.1);
    context.fact("counted_losses", accounting::losses(&metrics));
    if !whole.is_empty() {
        context.fact("decoded_by_now", whole);
    }
    Ok(())
}

impl Truth {
    /// Reads a log.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("no log {}", path.display()))?;
        let mut truth = Self::default();
        for line in text.lines() {
            let line: Line = serde_json::from_str(line)
                .with_context(|| format!("{} has the line {line}", path.display()))?;
            // 499 is how nginx logs a request that its client gave up.
            let aborted = line.aborted || line.status == 499;
            let status = if line.status == 499 { 0 } else { line.status };
            let of = if aborted {
                &mut truth.aborted
            } else {
                &mut truth.whole
            };
            let answer = (line.method, route(&line.path), status);
            *of.entry(answer).or_insert(0) += 1;
        }
        Ok(truth)
    }

    /// What of it has a route that starts with `case`.
    pub fn of(&self, case: &str) -> Self {
        let of = |all: &BTreeMap<Answer, u64>| {
            let mut some = all.clone();
            some.retain(|(_, route, _), _| route.starts_with(case));
            some
        };
        Self {
            whole: of(&self.whole),
            aborted: of(&self.aborted),
        }
    }

    /// An exchange that was broken off may be counted with the status that it had begun with, without one, or not at all.
    fn compare(&self, counted: &BTreeMap<Answer, u64>) -> Difference {
        let mut difference = Difference::default();
        let mut aborted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for ((method, route, _), count) in &self.aborted {
            *aborted.entry((method, route)).or_insert(0) += count;
        }
        for (answer, &count) in &self.whole {
            let seen = counted.get(answer).copied().unwrap_or(0);
            if seen < count {
                difference.missing.insert(answer.clone(), count - seen);
            }
        }
        for (answer, &count) in counted {
            let whole = self.whole.get(answer).copied().unwrap_or(0);
            let (method, route, status) = answer;
            let began = *status == 0 || self.aborted.contains_key(answer);
            let allowed = aborted
                .get_mut(&(method.as_str(), route.as_str()))
                .filter(|_| began);
            let mut more = count.saturating_sub(whole);
            if let Some(allowed) = allowed {
                let used = more.min(*allowed);
                *allowed -= used;
                more -= used;
            }
            if more > 0 {
                difference.never_happened.insert(answer.clone(), more);
            }
        }
        difference
    }
}

/// Cases count their rounds in the last part of the path.
fn route(path: &str) -> String {
    path.rsplit_once('/')
        .map_or_else(|| path.to_owned(), |(case, _)| format!("{case}/{{id}}"))
}

/// Records that found the tap's ring full.
fn ring_full(metrics: &Metrics) -> u64 {
    let labels = [
        ("stage", "tap"),
        ("signal", "messages"),
        ("outcome", "ring_full"),
    ];
    metrics.count("fathom_events_total", &labels)
}

/// The requests of `service` on one side; without an answer the status is 0.
fn counted(metrics: &Metrics, side: &str, service: &str) -> BTreeMap<Answer, u64> {
    let name = format!("http_{side}_request_duration_seconds_count");
    let route = match side {
        "server" => "http_route",
        _ => "url_template",
    };
    let mut counted = BTreeMap::new();
    for sample in metrics.select(&name, &[("service_name", service)]) {
        let label = |key: &str| sample.labels.get(key).cloned().unwrap_or_default();
        let status = label("http_response_status_code").parse().unwrap_or(0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, far below 2^53"
        )]
        let count = sample.value as u64;
        let answer = (label("http_request_method"), label(route), status);
        *counted.entry(answer).or_insert(0) += count;
    }
    counted.retain(|_, count| *count > 0);
    counted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Answer, Truth, route};

    fn answers(of: &[(&str, u16, u64)]) -> BTreeMap<Answer, u64> {
        of.iter()
            .map(|&(route, status, count)| (("GET".to_owned(), route.to_owned(), status), count))
            .collect()
    }

    #[test]
    fn what_never_happened_and_what_is_missing_are_found() {
        let truth = Truth {
            whole: answers(&[("/a", 200, 3), ("/b", 200, 1)]),
            aborted: BTreeMap::new(),
        };
        let difference = truth.compare(&answers(&[("/a", 200, 2), ("/b", 500, 1)]));
        assert_eq!(
            difference.missing,
            answers(&[("/a", 200, 1), ("/b", 200, 1)])
        );
        assert_eq!(difference.never_happened, answers(&[("/b", 500, 1)]));
    }

    #[test]
    fn what_was_broken_off_may_be_counted_once_with_its_status_or_none() {
        let truth = Truth {
            whole: BTreeMap::new(),
            aborted: answers(&[("/a", 200, 1), ("/b", 0, 1)]),
        };
        let strange =
            |counted: &[(&str, u16, u64)]| truth.compare(&answers(counted)).never_happened;
        assert!(strange(&[]).is_empty());
        assert!(strange(&[("/a", 200, 1), ("/b", 0, 1)]).is_empty());
        assert!(strange(&[("/a", 0, 1)]).is_empty());
        assert_eq!(strange(&[("/b", 200, 1)]), answers(&[("/b", 200, 1)]));
        assert_eq!(strange(&[("/a", 0, 1), ("/a", 200, 1)]).len(), 1);
    }

    #[test]
    fn a_case_is_a_route() {
        assert_eq!(route("/aborted/7"), "/aborted/{id}");
    }
}
