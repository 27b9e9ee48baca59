use super::*;

fn value(ledger: &Ledger, name: &str, outcome: Option<&str>) -> f64 {
    let mut metrics = Vec::new();
    ledger.collect(&mut metrics);
    let metric = metrics.iter().find(|metric| metric.name == name).unwrap();
    let (Data::Counter(points) | Data::Gauge(points) | Data::UpDownCounter(points)) = &metric.data
    else {
        panic!("{metric:?}");
    };
    let point = points.iter().find(|point| match outcome {
        Some(outcome) => point
            .attributes
            .contains(&("outcome".into(), Value::Str(outcome.to_owned().into()))),
        None => true,
    });
    match point.unwrap().value {
        Number::Int(value) => value as f64,
        Number::Float(value) => value,
    }
}

#[test]
fn every_way_out_is_counted_under_its_name() {
    let ledger = Ledger::new("spans");
    ledger.receive(100);
    ledger.refuse(7);
    ledger.deliver(50, 5);
    ledger.lose(20, Loss::Failed);
    let shown = |outcome| value(&ledger, "fathom.events", Some(outcome));
    assert_eq!(shown("delivered"), 45.0);
    assert_eq!(shown("queue_full"), 7.0);
    assert_eq!(shown("rejected"), 5.0);
    assert_eq!(shown("failed"), 20.0);
    assert_eq!(shown("shutdown"), 0.0);
    assert_eq!(value(&ledger, "fathom.export.received", None), 107.0);
    assert_eq!(value(&ledger, "fathom.export.held", None), 30.0);
    ledger.lose_the_rest(Loss::Shutdown);
    assert_eq!(value(&ledger, "fathom.events", Some("shutdown")), 30.0);
    assert_eq!(value(&ledger, "fathom.export.held", None), 0.0);
}

/// Adding up what is shown at any moment gives what came in, also while others work.
#[test]
fn the_figures_agree_at_every_moment() {
    let ledger = Ledger::new("spans");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for round in 0..20_000_u64 {
                    ledger.receive(3);
                    ledger.refuse(1);
                    match round % 3 {
                        0 => ledger.deliver(3, 1),
                        1 => ledger.deliver(3, 0),
                        _ => ledger.lose(3, Loss::Failed),
                    }
                }
            });
        }
        for _ in 0..20_000 {
            let counts = ledger.counts();
            let out = counts.delivered + counts.lost_in_all() + counts.held;
            assert_eq!(counts.received, out, "{counts:?}");
        }
    });
    let counts = ledger.counts();
    assert_eq!((counts.received, counts.held), (160_000, 0));
}

#[test]
fn the_lag_is_that_of_something_that_waits() {
    let ledger = Ledger::new("spans");
    let lag = || value(&ledger, "fathom.export.lag", None);
    let pause = Duration::from_millis(30);
    std::thread::sleep(pause);
    assert_eq!(lag(), 0.0);
    ledger.receive(2);
    std::thread::sleep(pause);
    ledger.receive(1);
    assert!(lag() >= pause.as_secs_f64());
    // Something arrived: what waits now waits since then.
    ledger.deliver(1, 0);
    assert!(lag() < pause.as_secs_f64());
    ledger.deliver(2, 0);
    std::thread::sleep(pause);
    assert_eq!(lag(), 0.0);
}

#[test]
fn trouble_is_told_once_and_its_end_with_what_it_cost() {
    let ledger = Ledger::new("spans");
    assert_eq!(ledger.note_success(), None);
    ledger.refuse(5);
    assert!(ledger.note_failure());
    assert!(!ledger.note_failure());
    assert_eq!(value(&ledger, "fathom.export.failing", None), 1.0);
    ledger.refuse(2);
    let (_, lost) = ledger.note_success().unwrap();
    assert_eq!(lost, 2);
    assert_eq!(value(&ledger, "fathom.export.failing", None), 0.0);
    assert!(ledger.note_failure());
    assert!(ledger.note_rejection());
    assert!(!ledger.note_rejection());
}
