use super::{BOUNDS, Dns, Limits, error_type};
use crate::{
    l7::dns::Question,
    l7::dns::{Code, Kind, Lookup, Outcome, lookups::TIMEOUT_NS},
    telemetry::{
        metric::{Data, HistogramPoint},
        testing::{attribute, collect, process},
    },
};

fn lookup(name: &str, outcome: Outcome, duration_ns: u64) -> Lookup {
    Lookup {
        tgid: 10,
        comm: [0; 16],
        server: ([127, 0, 0, 53], 53).into(),
        question: Question {
            name: name.into(),
            kind: Kind::A,
        },
        sent_ns: 0,
        duration_ns,
        outcome,
        attempts: 1,
        is_truncated: false,
        addresses: Vec::new(),
    }
}

const FOUND: Outcome = Outcome::Answered(Code::NOERROR);
const MISSING: Outcome = Outcome::Answered(Code::NXDOMAIN);

fn points(dns: &Dns) -> Vec<HistogramPoint> {
    match collect(dns).into_iter().next().expect("a metric").data {
        Data::Histogram(points) => points,
        other => panic!("{other:?}"),
    }
}

fn find<'a>(points: &'a [HistogramPoint], with: (&str, &str)) -> Vec<&'a HistogramPoint> {
    points
        .iter()
        .filter(|point| attribute(&point.attributes, with.0).as_deref() == Some(with.1))
        .collect()
}

#[test]
fn a_lookup_is_in_the_bucket_of_its_duration_with_its_error() {
    let dns = Dns::new(Limits::default());
    dns.record(&lookup("x.example", FOUND, 30_000_000), &process("nginx"));
    dns.record(&lookup("x.example", MISSING, 1_000_000), &process("nginx"));
    dns.record(
        &lookup("x.example", Outcome::TimedOut, TIMEOUT_NS),
        &process("nginx"),
    );
    let points = points(&dns);
    assert_eq!(points.len(), 3);
    let failed = find(&points, ("error.type", "nxdomain"));
    assert_eq!(failed[0].counts[0], 1);
    let timed_out = find(&points, ("error.type", "timeout"));
    assert!((timed_out[0].sum - 6.0).abs() < 1e-9);
    let found: Vec<_> = points
        .iter()
        .filter(|point| attribute(&point.attributes, "error.type").is_none())
        .collect();
    let bucket = BOUNDS.iter().position(|&bound| bound >= 0.03).expect("one");
    assert_eq!(found[0].counts[bucket], 1);
    assert_eq!(
        attribute(&found[0].attributes, "dns.question.name").as_deref(),
        Some("x.example")
    );
    assert_eq!(
        attribute(&found[0].attributes, "fathom.dns.question.type").as_deref(),
        Some("A")
    );
}

#[test]
fn names_that_do_not_exist_leave_room_for_those_that_do() {
    let dns = Dns::new(Limits {
        names: 4,
        ..Limits::default()
    });
    for number in 0..100 {
        dns.record(
            &lookup(&format!("{number}.scan"), MISSING, 1),
            &process("nginx"),
        );
    }
    dns.record(&lookup("x.example", FOUND, 1), &process("nginx"));
    assert_eq!(dns.counts().without_name, 98);
    let points = points(&dns);
    assert_eq!(find(&points, ("dns.question.name", "x.example")).len(), 1);
    let others = find(&points, ("dns.question.name", "_OTHER"));
    assert_eq!(others[0].counts[0], 98);
}

#[test]
fn services_and_series_are_bounded_and_nothing_is_lost() {
    let dns = Dns::new(Limits {
        services: 3,
        names: 100,
        series: 10,
    });
    for number in 0..50 {
        let process = process(&format!("service-{}", number % 5));
        dns.record(&lookup(&format!("{number}.example"), FOUND, 1), &process);
    }
    let points = points(&dns);
    assert!(points.len() <= 11, "{}", points.len());
    let all: u64 = points.iter().flat_map(|point| &point.counts).sum();
    assert_eq!(all, 50);
    let overflow = points
        .iter()
        .find(|point| attribute(&point.attributes, "otel.metric.overflow").is_some())
        .expect("a series for the others");
    assert_eq!(overflow.counts[0], dns.counts().overflowed);
    assert_eq!(&*overflow.resource, "other");
}

#[test]
fn errors_have_the_names_of_response_codes() {
    assert_eq!(error_type(FOUND), None);
    assert_eq!(error_type(Outcome::Answered(Code(2))), Some("servfail"));
    assert_eq!(error_type(Outcome::Answered(Code(4000))), Some("_OTHER"));
    assert_eq!(error_type(Outcome::TimedOut), Some("timeout"));
}
