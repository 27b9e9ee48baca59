//! What fathom counted of a program, against the program's own log.

use std::collections::BTreeMap;

use crate::{
    metrics::Metrics,
    subjects::{
        Seen,
        truth::{Answer, Answers, total},
    },
};

use super::End;

/// What the comparison came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How much is seen.
    pub seen: Seen,
    /// Exchanges in the program's log.
    pub logged: u64,
    /// Exchanges that fathom counted.
    pub counted: u64,
    /// What was logged and not counted.
    pub missing: Vec<String>,
    /// What was counted and never happened.
    pub wrong: Vec<String>,
}

/// Compares one end.
pub(super) fn judge(end: &End, metrics: &Metrics) -> Verdict {
    let side = end.role.name();
    let over_http = of_http(metrics, side, &end.service);
    if !end.of.protocol.is_grpc() {
        return compare(&end.answers, &over_http);
    }
    let calls = of_grpc(metrics, side, &end.service);
    let verdict = compare(&end.answers, &calls);
    // A call that is seen as a request of HTTP/2 only is half seen.
    if verdict.seen == Seen::Not && !over_http.is_empty() {
        return Verdict {
            seen: Seen::Partly,
            counted: total(&over_http),
            ..verdict
        };
    }
    verdict
}

/// Compares what was logged with what was counted.
pub fn compare(logged: &Answers, counted: &Answers) -> Verdict {
    let beyond = |of: &Answers, other: &Answers| -> Vec<(Answer, u64)> {
        of.iter()
            .filter_map(|(answer, count)| {
                let more = count.saturating_sub(other.get(answer).copied().unwrap_or(0));
                (more > 0).then(|| (answer.clone(), more))
            })
            .collect()
    };
    let told = |beyond: Vec<(Answer, u64)>| -> Vec<String> {
        let line = |(answer, count)| format!("{count} x {answer}");
        beyond.into_iter().map(line).collect()
    };
    let mut strange = beyond(counted, logged);
    // What is said to be unknown is no false statement.
    strange.retain(|(answer, _)| !answer.route.is_empty() && !answer.status.is_empty());
    Verdict {
        seen: match total(counted) {
            0 => Seen::Not,
            _ if logged == counted => Seen::Fully,
            _ => Seen::Partly,
        },
        logged: total(logged),
        counted: total(counted),
        missing: told(beyond(logged, counted)),
        wrong: told(strange),
    }
}

/// What was counted under names that none of `ends` has, by name: where else it may be that something is missing.
pub(super) fn others(ends: &[End], metrics: &Metrics) -> Vec<String> {
    let mut others = BTreeMap::new();
    for side in ["server", "client"] {
        let name = format!("http_{side}_request_duration_seconds_count");
        for sample in metrics.select(&name, &[]) {
            let service = sample
                .labels
                .get("service_name")
                .cloned()
                .unwrap_or_default();
            if !ends
                .iter()
                .any(|end| end.service == service && end.role.name() == side)
            {
                *others.entry((service, side)).or_insert(0.0) += sample.value;
            }
        }
    }
    others
        .into_iter()
        .map(|((service, side), count)| format!("{count} of {service:?} as {side}"))
        .collect()
}

/// The requests of `service` on one side.
pub fn of_http(metrics: &Metrics, side: &str, service: &str) -> Answers {
    // Only a server knows its routes; what a client asked for has a template of its own.
    let route = match side {
        "server" => "http_route",
        _ => "url_template",
    };
    let name = format!("http_{side}_request_duration_seconds_count");
    answers(metrics, &name, service, |label| Answer {
        method: label("http_request_method"),
        route: label(route),
        status: label("http_response_status_code"),
    })
}

/// The calls of `service` on one side. OpenTelemetry's `rpc.method` is the full name; a service beside it goes before.
fn of_grpc(metrics: &Metrics, side: &str, service: &str) -> Answers {
    let name = format!("rpc_{side}_call_duration_seconds_count");
    answers(metrics, &name, service, |label| {
        let (of, method) = (label("rpc_service"), label("rpc_method"));
        Answer {
            method: String::new(),
            route: match of.as_str() {
                "" => method.trim_start_matches('/').to_owned(),
                of => format!("{of}/{method}"),
            },
            status: label("rpc_response_status_code"),
        }
    })
}

fn answers(
    metrics: &Metrics,
    name: &str,
    service: &str,
    answer: impl Fn(&dyn Fn(&str) -> String) -> Answer,
) -> Answers {
    let mut answers = Answers::new();
    for sample in metrics.select(name, &[("service_name", service)]) {
        let labels = |key: &str| sample.labels.get(key).cloned().unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, far below 2^53"
        )]
        let count = sample.value as u64;
        if count > 0 {
            *answers.entry(answer(&labels)).or_insert(0) += count;
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::{compare, of_grpc, of_http};
    use crate::{
        metrics::Metrics,
        subjects::{Seen, truth::Log},
    };

    const PAGE: &str = "\
http_server_request_duration_seconds_count{service_name=\"a\",http_request_method=\"GET\",http_route=\"/x\",http_response_status_code=\"200\",v=\"1\"} 2
http_server_request_duration_seconds_count{service_name=\"a\",http_request_method=\"GET\",http_route=\"/x\",http_response_status_code=\"200\",v=\"2\"} 1
http_server_request_duration_seconds_count{service_name=\"b\",http_request_method=\"GET\",http_route=\"/x\",http_response_status_code=\"200\"} 9
rpc_client_call_duration_seconds_count{service_name=\"a\",rpc_method=\"s.E/M\",rpc_response_status_code=\"OK\"} 4
rpc_client_call_duration_seconds_count{service_name=\"b\",rpc_service=\"s.E\",rpc_method=\"M\",rpc_response_status_code=\"OK\"} 5
";

    #[test]
    fn series_of_one_kind_are_added_up_and_other_services_left_out() {
        let metrics = Metrics::parse(PAGE.to_owned()).expect("a page");
        let mut log = Log::default();
        (0..3).for_each(|_| log.add("GET", "/x", 200));
        let counted = of_http(&metrics, "server", "a");
        assert_eq!(compare(&log.answers, &counted).seen, Seen::Fully);
        assert_eq!(of_http(&metrics, "client", "a").len(), 0);
    }

    #[test]
    fn a_method_of_grpc_has_its_full_name() {
        let metrics = Metrics::parse(PAGE.to_owned()).expect("a page");
        for (service, count) in [("a", 4), ("b", 5)] {
            let calls = of_grpc(&metrics, "client", service);
            let calls: Vec<_> = calls.iter().map(|(a, n)| (a.to_string(), *n)).collect();
            assert_eq!(calls, [("s.E/M OK".to_owned(), count)]);
        }
    }

    #[test]
    fn what_is_missing_and_what_is_wrong_are_told_apart() {
        let (mut logged, mut counted) = (Log::default(), Log::default());
        logged.add("GET", "/x", 200);
        logged.add("GET", "/y", 200);
        assert_eq!(compare(&logged.answers, &counted.answers).seen, Seen::Not);
        counted.add("GET", "/x", 200);
        let verdict = compare(&logged.answers, &counted.answers);
        assert_eq!(verdict.seen, Seen::Partly);
        assert_eq!((verdict.missing.len(), verdict.wrong.len()), (1, 0));
        counted.add("GET", "/y", 404);
        // Of an unknown status: no false statement.
        counted.add("GET", "/y", "");
        let verdict = compare(&logged.answers, &counted.answers);
        assert_eq!(verdict.seen, Seen::Partly);
        assert_eq!(verdict.wrong, ["1 x GET /y 404"]);
    }
}
