use super::*;
use crate::{
    identity::peers::Class,
    net::{
        flows::{Change, testing::flow},
        open::Progress,
    },
};

#[test]
fn the_other_end_is_shown_by_all_that_there_is_room_for() {
    let to = Flow {
        remote: "10.96.0.1:443".parse().expect("an address"),
        ..flow(1, Change::Alive)
    };
    let pod = Some("10.244.1.7:8443".parse().expect("an address"));
    let service = Peer::Service("orders".into());
    let name = Peer::Name("orders.shop.svc".into());
    let somewhere = Peer::Class(Class::Private);
    for (peer, destination, room, expected) in [
        (&somewhere, None, 47, "10.96.0.1:443"),
        (&somewhere, pod, 47, "10.96.0.1:443 > 10.244.1.7:8443"),
        (&somewhere, pod, 30, "10.96.0.1:443"),
        (&service, pod, 47, "10.96.0.1:443 > 10.244.1.7:8443 orders"),
        (&service, pod, 37, "10.96.0.1:443 orders"),
        (&service, pod, 19, "orders:443"),
        (&name, None, 47, "10.96.0.1:443 orders.shop.svc"),
        (&name, None, 20, "orders.shop.svc:443"),
        (&name, None, 15, "orders.shop.sv…"),
        (&somewhere, None, 5, "10.9…"),
    ] {
        assert_eq!(remote(&to, peer, destination, room), expected, "{room}");
    }
    let hostile = Peer::Service("a\x1b[2J".into());
    assert_eq!(remote(&to, &hostile, None, 47), "10.96.0.1:443 a?[2J");
}

#[test]
fn a_line_names_the_other_end() {
    let flow = flow(1, Change::Alive);
    let line = line(&Seen {
        flow: &flow,
        progress: Progress::default(),
        process: None,
        peer: &Peer::Name("db.example".into()),
        destination: None,
        at_unix_ns: 0,
    });
    assert!(line.contains(" 127.0.0.2:80 db.example "), "{line}");
}

#[test]
fn of_a_lost_end_no_count_is_known() {
    let flow = Flow {
        bytes_sent: 0,
        bytes_received: 0,
        segments_sent: 0,
        segments_received: 0,
        srtt_us: None,
        retransmits: 0,
        ..flow(1, Change::Lost)
    };
    let seen = Seen {
        flow: &flow,
        progress: Progress::default(),
        process: None,
        peer: &Peer::Class(Class::Loopback),
        destination: None,
        at_unix_ns: 0,
    };
    let document = document(&Show::default(), &seen);
    for field in [
        "bytes_sent",
        "bytes_received",
        "segments_sent",
        "segments_received",
        "retransmits",
    ] {
        assert_eq!(document[field], serde_json::Value::Null, "{field}");
    }
    let line = line(&seen);
    let cells: Vec<&str> = line.split_whitespace().collect();
    // Sent, received, round-trip time and retransmits.
    assert_eq!(cells[5..9], ["-"; 4], "{line}");
}
