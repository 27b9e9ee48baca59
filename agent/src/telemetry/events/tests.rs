use super::*;
use crate::{
    l7::exchange::Side,
    telemetry::{
        Parents, parents,
        testing::{attribute, collect, exchange},
    },
};

#[test]
fn every_stage_adds_to_one_metric() {
    let events = Events::default();
    events.register(Stage::Tap, "messages", |give| {
        give("delivered", 7);
        give("ring_full", 2);
    });
    events.register_messages(Arc::default());
    events.register_flows(Arc::default());
    let metrics = collect(&events);
    let [metric] = metrics.as_slice() else {
        panic!("{metrics:?}")
    };
    assert_eq!((&*metric.name, metric.unit), ("fathom.events", "{event}"));
    let Data::Counter(points) = &metric.data else {
        panic!("{metric:?}")
    };
    assert_eq!(
        points.len(),
        2 + RecordOutcome::ALL.len() + ExchangeOutcome::ALL.len() + 2
    );
    let of = |stage: &str, outcome: &str| {
        let mut points = points.iter();
        points.find(|point| {
            attribute(&point.attributes, "stage").as_deref() == Some(stage)
                && attribute(&point.attributes, "outcome").as_deref() == Some(outcome)
        })
    };
    assert_eq!(
        of("tap", "ring_full").map(|point| point.value),
        Some(Number::Int(2))
    );
    assert_eq!(
        of("correlator", "record_lost").map(|point| point.value),
        Some(Number::Int(0))
    );
    let series: std::collections::HashSet<_> = points
        .iter()
        .map(|point| format!("{:?}", point.attributes))
        .collect();
    assert_eq!(series.len(), points.len(), "no series twice");
}

#[test]
fn counts_are_read_at_each_collection() {
    let events = Events::default();
    let counts = Arc::<l7::Counts>::default();
    events.register_messages(Arc::clone(&counts));
    let mut decoder = l7::Decoder::new(l7::Limits::default());
    events.register_messages(decoder.counts());
    decoder.record(b"short", &mut |_: l7::exchange::Exchange| {});
    let metrics = collect(&events);
    let Data::Counter(points) = &metrics[0].data else {
        panic!("{metrics:?}")
    };
    let malformed = points
        .iter()
        .filter(|point| attribute(&point.attributes, "outcome").as_deref() == Some("malformed"));
    let values: Vec<_> = malformed.map(|point| point.value).collect();
    assert_eq!(values, [Number::Int(0), Number::Int(1)]);
}

#[test]
fn the_search_for_parents_is_accounted_for() {
    let events = Events::default();
    let mut parents = Parents::new(0);
    events.register_parents(parents.counts());
    let mut client = exchange();
    client.side = Side::Client;
    assert_eq!(parents.ended(&client), parents::Parent::Unknown);
    let metrics = collect(&events);
    let Data::Counter(points) = &metrics[0].data else {
        panic!("{metrics:?}")
    };
    let counts: Vec<_> = points
        .iter()
        .map(|point| {
            let outcome = attribute(&point.attributes, "outcome").unwrap_or_default();
            (outcome, point.value)
        })
        .collect();
    let of = |outcome: &str, count| (outcome.to_owned(), Number::Int(count));
    assert_eq!(
        counts,
        [
            of("parented", 0),
            of("own", 0),
            of("passed", 0),
            of("alone", 1),
            of("ambiguous", 0)
        ]
    );
}
