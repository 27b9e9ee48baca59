use super::*;
use crate::{
    identity::peers::Class,
    net::{Outcome, flows::testing::flow},
    telemetry::{
        metric::{Data, Number},
        testing::{attribute, collect, process},
    },
};

const SOMEWHERE: Peer = Peer::Class(Class::Private);

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
const UNKNOWN: (&str, &str) = ("fathom.tcp.role", "unknown");

#[test]
fn a_connection_is_counted_once_and_its_bytes_at_its_end() {
    let tcp = Tcp::new(Limits::default());
    tcp.record(&flow(1, Change::Established), &process("a"), &SOMEWHERE);
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
    tcp.record(&flow(1, Change::Closed), &process("a"), &SOMEWHERE);
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
    tcp.record(&flow(1, Change::Closed), &process("a"), &SOMEWHERE);
    assert_eq!(sum(&tcp, "fathom.tcp.connections", CLIENT), 1);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 0);
}

#[test]
fn a_connection_from_before_fathom_counts_with_its_bytes_only() {
    let tcp = Tcp::new(Limits::default());
    let mut flow = flow(1, Change::Closed);
    (flow.role, flow.established_ns, flow.connect_ns) = (Role::UNKNOWN, None, None);
    let mut used = Flow {
        change: Change::Existing,
        bytes_received: 900,
        ..flow
    };
    used.id.sock = 2;
    tcp.record(&used, &process("a"), &SOMEWHERE);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", UNKNOWN), 1);
    for number in [1, 2] {
        flow.id.sock = number;
        tcp.record(&flow, &process("a"), &SOMEWHERE);
    }
    assert_eq!(sum(&tcp, "fathom.tcp.connections", UNKNOWN), 0);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", UNKNOWN), 0);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.ended", UNKNOWN), 2);
    // What is known of the one is what it moved since it was first seen; of the other, nothing.
    assert_eq!(
        sum(&tcp, "fathom.tcp.io", ("network.io.direction", "receive")),
        100
    );
}

#[test]
fn the_gauge_goes_down_where_it_went_up() {
    let tcp = Tcp::new(Limits::default());
    let mut opened = flow(1, Change::Established);
    opened.role = Role::SERVER;
    tcp.record(&opened, &process("listener"), &SOMEWHERE);
    let mut closed = flow(1, Change::Closed);
    closed.role = Role::SERVER;
    tcp.record(&closed, &process("worker"), &SOMEWHERE);
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
    tcp.record(&refused, &process("a"), &SOMEWHERE);
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
    tcp.record(&flow(2, Change::Established), &process("a"), &SOMEWHERE);
    let mut reset = flow(2, Change::Closed);
    (reset.error, reset.outcome, reset.reset_received) = (104, Some(Outcome::Reset), true);
    tcp.record(&reset, &process("a"), &SOMEWHERE);
    assert_eq!(
        sum(
            &tcp,
            "fathom.tcp.resets",
            ("network.io.direction", "receive")
        ),
        1
    );
    assert_eq!(
        sum(
            &tcp,
            "fathom.tcp.resets",
            ("network.io.direction", "transmit")
        ),
        0
    );
    let ended = ("fathom.tcp.outcome", "reset");
    assert_eq!(sum(&tcp, "fathom.tcp.connections.ended", ended), 1);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 0);
}

#[test]
fn a_connect_that_failed_is_named_by_its_errno_else_by_how_it_ended() {
    let tcp = Tcp::new(Limits::default());
    for (outcome, error) in [
        (Outcome::Failed, libc::EADDRNOTAVAIL),
        (Outcome::Failed, libc::EPERM),
        (Outcome::Unreachable, libc::ENETDOWN),
        (Outcome::Unreachable, libc::EHOSTDOWN),
        (Outcome::Abandoned, 0),
        (Outcome::Killed, 0),
        (Outcome::Killed, 0),
    ] {
        let failed = Flow {
            outcome: Some(outcome),
            error: error.unsigned_abs(),
            established_ns: None,
            ..flow(1, Change::ConnectFailed)
        };
        tcp.record(&failed, &process("a"), &SOMEWHERE);
    }
    for (name, expected) in [
        ("EADDRNOTAVAIL", 1),
        ("EPERM", 1),
        ("ENETDOWN", 1),
        ("EHOSTDOWN", 1),
        ("abandoned", 1),
        ("killed", 2),
    ] {
        let counted = sum(&tcp, "fathom.tcp.connections", ("error.type", name));
        assert_eq!(counted, expected, "{name}");
    }
}

#[test]
fn what_is_too_much_is_counted_and_stays_true_in_sum() {
    let tcp = Tcp::new(Limits {
        services: 1,
        series: 2,
        connections: 3,
        ..Limits::default()
    });
    for number in 0..10 {
        tcp.record(
            &flow(number, Change::Established),
            &process(&format!("s{number}")),
            &SOMEWHERE,
        );
    }
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 10);
    for number in 0..10 {
        tcp.record(
            &flow(number, Change::Closed),
            &process(&format!("s{number}")),
            &SOMEWHERE,
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

#[test]
fn connections_are_told_apart_by_whose_the_other_end_is_within_bounds() {
    let tcp = Tcp::new(Limits {
        peers_per_service: 2,
        ..Limits::default()
    });
    for (number, peer) in [
        Peer::Service("orders".into()),
        Peer::Name("example.org".into()),
        Peer::Service("one too many".into()),
        Peer::Name("another".into()),
        SOMEWHERE,
    ]
    .iter()
    .enumerate()
    {
        let flow = flow(number as u64, Change::Established);
        tcp.record(&flow, &process("a"), peer);
        tcp.record(
            &Flow {
                change: Change::Alive,
                bytes_sent: 1,
                ..flow
            },
            &process("a"),
            peer,
        );
    }
    let established = |with| sum(&tcp, "fathom.tcp.connections", with);
    assert_eq!(established(("service.peer.name", "orders")), 1);
    assert_eq!(established(("server.address", "example.org")), 1);
    assert_eq!(established(("fathom.peer.class", "node")), 1);
    assert_eq!(established(("fathom.peer.class", "named")), 1);
    assert_eq!(established(("fathom.peer.class", "private")), 1);
    assert_eq!(tcp.counts().without_peer, 4, "two flows of each");
    assert_eq!(
        sum(&tcp, "fathom.tcp.io", ("network.io.direction", "transmit")),
        5
    );
}

#[test]
fn a_connection_that_is_known_counts_where_it_began() {
    let tcp = Tcp::new(Limits::default());
    let orders = Peer::Service("orders".into());
    let alive = flow(1, Change::Alive);
    assert_eq!(
        tcp.advance(&alive).map(|known| known.peer),
        None,
        "of one that is not known all is to be done"
    );
    tcp.record(&flow(1, Change::Established), &process("a"), &orders);
    assert_eq!(
        tcp.advance(&alive).map(|known| known.peer),
        Some(orders.clone())
    );
    assert_eq!(
        tcp.advance(&alive).map(|known| known.peer),
        Some(orders.clone()),
        "nothing is new"
    );
    let io = |direction| sum(&tcp, "fathom.tcp.io", ("network.io.direction", direction));
    assert_eq!((io("transmit"), io("receive")), (100, 1000));
    let rtt = || {
        let Data::Histogram(rtt) = metric(&tcp, "fathom.tcp.rtt") else {
            panic!()
        };
        rtt[0].counts.iter().sum::<u64>()
    };
    assert_eq!(rtt(), 1, "once for what moved");
    assert_eq!(
        tcp.advance(&flow(1, Change::Closed))
            .map(|known| known.peer),
        Some(orders)
    );
    assert_eq!((io("transmit"), io("receive"), rtt()), (100, 1000, 2));
    let ended = sum(
        &tcp,
        "fathom.tcp.connections.ended",
        ("service.peer.name", "orders"),
    );
    assert_eq!(ended, 1);
    assert_eq!(sum(&tcp, "fathom.tcp.connections.active", CLIENT), 0);
    assert_eq!(tcp.counts().flows, 4);
}
