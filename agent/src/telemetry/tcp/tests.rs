use fathom_abi::flow::Owner;

use super::*;
use crate::telemetry::testing::{attribute, collect, process};

fn flow(number: u64, change: Change) -> Flow {
    Flow {
        id: ConnectionId {
            sock: number,
            born_ns: 1,
        },
        change,
        role: Role::CLIENT,
        tgid: 10,
        comm: [0; 16],
        owner: Owner::USER,
        local: ([127, 0, 0, 1], 40_000).into(),
        remote: ([127, 0, 0, 2], 80).into(),
        at_ns: 9_000_000,
        connect_ns: Some(1_000_000),
        established_ns: Some(3_000_000),
        bytes_sent: 100,
        bytes_received: 1000,
        srtt_us: Some(300),
        retransmits: 2,
        error: 0,
    }
}

fn metric(tcp: &Tcp, name: &str) -> Data {
    collect(tcp)
        .into_iter()
        .find(|metric| metric.name == name)
        .expect(name)
        .data
}

/// The sum of the points that have this attribute.
fn sum(tcp: &Tcp, name: &str, with: (&str, &str)) -> u64 {
    let (Data::Counter(points) | Data::UpDownCounter(points)) = metric(tcp, name) else {
        panic!("{name} holds numbers")
    };
    let matching = points
        .iter()
        .filter(|point| attribute(&point.attributes, with.0).as_deref() == Some(with.1));
    matching
        .map(|point| {
            if let Number::Int(value) = point.value {
                value
            } else {
                panic!("{point:?}")
            }
        })
        .sum()
}

const CLIENT: (&str, &str) = ("fathom.tcp.role", "client");

#[test]
fn a_connection_is_counted_once_and_its_bytes_at_its_end() {
    let tcp = Tcp::new(Limits::default());
    tcp.record(&flow(1, Change::Established), &process("a"));
    assert_eq!(
        sum(
            &tcp,
            "fathom.tcp.connections",
            ("fathom.tcp.outcome", "established")
        ),
        1
    );
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 1);
    assert_eq!(sum(&tcp, "fathom.tcp.io", CLIENT), 0);
    tcp.record(&flow(1, Change::Closed), &process("a"));
    assert_eq!(sum(&tcp, "fathom.tcp.connections", CLIENT), 1);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 0);
    assert_eq!(
        sum(&tcp, "fathom.tcp.io", ("network.io.direction", "transmit")),
        100
    );
    assert_eq!(
        sum(&tcp, "fathom.tcp.io", ("network.io.direction", "receive")),
        1000
    );
    assert_eq!(sum(&tcp, "fathom.tcp.retransmits", CLIENT), 2);
    let Data::Histogram(connect) = metric(&tcp, "fathom.tcp.connect.duration") else {
        panic!()
    };
    assert_eq!(
        (connect[0].sum, connect[0].counts.iter().sum::<u64>()),
        (0.002, 1)
    );
    let Data::Histogram(rtt) = metric(&tcp, "fathom.tcp.rtt") else {
        panic!()
    };
    assert_eq!(
        (rtt[0].sum, rtt[0].counts.iter().sum::<u64>()),
        (0.000_3, 1)
    );
}

#[test]
fn a_connection_whose_first_record_was_lost_is_counted_at_its_end() {
    let tcp = Tcp::new(Limits::default());
    tcp.record(&flow(1, Change::Closed), &process("a"));
    assert_eq!(sum(&tcp, "fathom.tcp.connections", CLIENT), 1);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 0);
}

#[test]
fn a_connection_from_before_fathom_counts_with_its_bytes_only() {
    let tcp = Tcp::new(Limits::default());
    let mut flow = flow(1, Change::Closed);
    (flow.role, flow.established_ns, flow.connect_ns) = (Role::UNKNOWN, None, None);
    tcp.record(&flow, &process("a"));
    assert_eq!(
        sum(
            &tcp,
            "fathom.tcp.connections",
            ("fathom.tcp.role", "unknown")
        ),
        0
    );
    assert_eq!(
        sum(&tcp, "fathom.tcp.io", ("network.io.direction", "receive")),
        1000
    );
}

#[test]
fn the_gauge_goes_down_where_it_went_up() {
    let tcp = Tcp::new(Limits::default());
    let mut opened = flow(1, Change::Established);
    opened.role = Role::SERVER;
    tcp.record(&opened, &process("listener"));
    let mut closed = flow(1, Change::Closed);
    closed.role = Role::SERVER;
    tcp.record(&closed, &process("worker"));
    assert_eq!(
        sum(
            &tcp,
            "fathom.tcp.connections.active",
            ("fathom.tcp.role", "server")
        ),
        0
    );
    let Data::UpDownCounter(points) = metric(&tcp, "fathom.tcp.connections.active") else {
        panic!()
    };
    assert!(
        points.iter().all(|point| point.value == Number::Int(0)),
        "{points:?}"
    );
}

#[test]
fn failures_carry_their_errno_and_resets_are_counted() {
    let tcp = Tcp::new(Limits::default());
    let mut refused = flow(1, Change::ConnectFailed);
    (refused.error, refused.established_ns) = (111, None);
    tcp.record(&refused, &process("a"));
    assert_eq!(
        sum(
            &tcp,
            "fathom.tcp.connections",
            ("error.type", "ECONNREFUSED")
        ),
        1
    );
    assert_eq!(
        sum(
            &tcp,
            "fathom.tcp.connections",
            ("fathom.tcp.outcome", "failed")
        ),
        1
    );
    tcp.record(&flow(2, Change::Established), &process("a"));
    let mut reset = flow(2, Change::Closed);
    reset.error = 104;
    tcp.record(&reset, &process("a"));
    assert_eq!(sum(&tcp, "fathom.tcp.resets", CLIENT), 1);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 0);
}

#[test]
fn what_is_too_much_is_counted_and_stays_true_in_sum() {
    let tcp = Tcp::new(Limits {
        services: 2,
        connections: 3,
    });
    for number in 0..10 {
        tcp.record(
            &flow(number, Change::Established),
            &process(&format!("s{number}")),
        );
    }
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 10);
    for number in 0..10 {
        tcp.record(
            &flow(number, Change::Closed),
            &process(&format!("s{number}")),
        );
    }
    assert_eq!(
        sum(&tcp, "fathom.tcp.connections", CLIENT),
        10,
        "no connection is counted twice"
    );
    assert_eq!(
        sum(&tcp, "fathom.tcp.io", ("network.io.direction", "receive")),
        10_000
    );
    assert_eq!(
        sum(
            &tcp,
            "fathom.tcp.connections",
            ("otel.metric.overflow", "true")
        ),
        8
    );
    let counts = tcp.counts();
    assert_eq!(
        (counts.flows, counts.overflowed, counts.forgotten),
        (20, 16, 7)
    );
}
