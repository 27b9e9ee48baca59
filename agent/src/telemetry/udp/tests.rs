use std::net::IpAddr;

use fathom_abi::{Role, udp::RemoteClass};

use super::{Limits, Protocol, Udp};
use crate::{
    net::udp::Traffic,
    telemetry::{
        metric::{Data, Number, NumberPoint},
        testing::{attribute, collect, process},
    },
};

fn traffic() -> Traffic {
    Traffic {
        tgid: 10,
        comm: [0; 16],
        role: Role::CLIENT,
        local_port: 0,
        remote: Some(IpAddr::from([192, 0, 2, 1])),
        remote_port: 443,
        class: RemoteClass::PUBLIC,
        is_quic: true,
        last_ns: 1,
        bytes: [1000, 100],
        packets: [2, 1],
    }
}

fn points(udp: &Udp, name: &str) -> Vec<NumberPoint> {
    let metric = collect(udp)
        .into_iter()
        .find(|metric| metric.name == name)
        .expect(name);
    match metric.data {
        Data::Counter(points) => points,
        other => panic!("{other:?}"),
    }
}

fn sum(points: &[NumberPoint], with: &[(&str, &str)]) -> u64 {
    let matches = |point: &&NumberPoint| {
        with.iter()
            .all(|(name, value)| attribute(&point.attributes, name).as_deref() == Some(*value))
    };
    points
        .iter()
        .filter(matches)
        .map(|point| match point.value {
            Number::Int(value) => value,
            Number::Float(_) => panic!("{point:?}"),
        })
        .sum()
}

const RECEIVED: (&str, &str) = ("network.io.direction", "receive");
const SENT: (&str, &str) = ("network.io.direction", "transmit");

#[test]
fn bytes_and_packets_are_counted_by_direction_with_what_is_known_of_the_remote() {
    let udp = Udp::new(Limits::default());
    for _ in 0..3 {
        udp.record(
            &traffic(),
            &process("nginx"),
            Protocol::Quic,
            Some("x.example"),
        );
    }
    udp.record(&traffic(), &process("nginx"), Protocol::Unknown, None);
    let io = points(&udp, "fathom.udp.io");
    let named = ("server.address", "x.example");
    let quic = ("network.protocol.name", "quic");
    assert_eq!(sum(&io, &[RECEIVED, named, quic]), 3000);
    assert_eq!(sum(&io, &[SENT, named]), 300);
    assert_eq!(sum(&io, &[SENT]), 400);
    let packets = points(&udp, "fathom.udp.packets");
    let public = ("fathom.peer.class", "public");
    assert_eq!(
        sum(&packets, &[RECEIVED, public, ("fathom.udp.role", "client")]),
        8
    );
    assert_eq!(udp.counts().packets, 12);
    // No address and no port is in any attribute.
    for point in io.iter().chain(&packets) {
        let text = format!("{:?}", point.attributes);
        assert!(
            !text.contains("192.0.2.1") && !text.contains("443"),
            "{text}"
        );
    }
}

#[test]
fn series_are_bounded_and_nothing_is_lost() {
    let udp = Udp::new(Limits {
        services: 3,
        names: 2,
        series: 8,
    });
    for number in 0..60 {
        let process = process(&format!("service-{}", number % 6));
        let name = format!("{number}.example");
        udp.record(&traffic(), &process, Protocol::Unknown, Some(&name));
    }
    let io = points(&udp, "fathom.udp.io");
    assert!(io.len() <= 18, "{}", io.len());
    assert_eq!(sum(&io, &[RECEIVED]), 60_000);
    let other = points(&udp, "fathom.udp.packets");
    let overflow: Vec<_> = other
        .into_iter()
        .filter(|point| attribute(&point.attributes, "otel.metric.overflow").is_some())
        .collect();
    assert_eq!(sum(&overflow, &[]), udp.counts().overflowed);
    assert!(sum(&io, &[RECEIVED, ("server.address", "_OTHER")]) > 0);
}
