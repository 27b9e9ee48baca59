use super::*;
use crate::{
    identity::peers::Class,
    net::{Flow, Open, flows::testing::flow},
};

fn take(edges: &mut Edges, open: &mut Open, flow: &Flow, service: &str, peer: &Peer) {
    let service: Arc<str> = service.into();
    let number = edges.number(Some(&service), flow.role, peer);
    let progress = open.take(flow, number);
    let seen = Seen {
        flow,
        progress,
        process: None,
        peer,
        destination: None,
        at_unix_ns: 0,
    };
    edges.take(&seen, number);
}

#[test]
fn an_edge_has_connections_failures_bytes_and_the_worst_times() {
    let (mut edges, mut open) = (Edges::default(), Open::new(10));
    let peer = Peer::Service("db".into());
    let mut take = |flow: &Flow| take(&mut edges, &mut open, flow, "shop", &peer);
    take(&flow(1, Change::Established));
    take(&flow(2, Change::Established));
    take(&Flow {
        srtt_us: Some(9000),
        ..flow(1, Change::Alive)
    });
    take(&Flow {
        outcome: Some(Outcome::Reset),
        bytes_sent: 150,
        ..flow(1, Change::Closed)
    });
    take(&Flow {
        outcome: Some(Outcome::Refused),
        established_ns: None,
        bytes_sent: 0,
        bytes_received: 0,
        retransmits: 0,
        ..flow(3, Change::ConnectFailed)
    });
    let documents = edges.documents();
    assert_eq!(documents.len(), 1);
    assert_eq!(
        documents[0],
        json!({
            "service": "shop", "role": "client", "peer": {"service": "db"},
            "connections": 3, "open": 1, "failures": {"reset": 1, "refused": 1}, "lost": 0,
            "bytes_sent": 150, "bytes_received": 1000, "retransmits": 4,
            "worst_srtt_us": 9000, "worst_connect_ns": 8_000_000,
        })
    );
    let lines = edges.lines();
    let cells: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(cells[..6], ["shop", "client", "db", "3", "1", "2"]);
    assert!(lines[1].ends_with("1 reset, 1 refused"), "{}", lines[1]);
}

#[test]
fn what_is_open_counts_where_it_began() {
    let (mut edges, mut open) = (Edges::default(), Open::new(10));
    let somewhere = Peer::Class(Class::Private);
    let service = Peer::Service("db".into());
    take(
        &mut edges,
        &mut open,
        &flow(1, Change::Established),
        "shop",
        &somewhere,
    );
    take(
        &mut edges,
        &mut open,
        &flow(1, Change::Closed),
        "shop",
        &service,
    );
    let documents = edges.documents();
    assert!(
        documents.iter().all(|edge| edge["open"] == 0),
        "{documents:?}"
    );
    // What it moved belongs to whom it is known to have been.
    assert_eq!(documents[0]["peer"], json!({"service": "db"}));
    assert_eq!(
        (&documents[0]["bytes_sent"], &documents[1]["connections"]),
        (&json!(100), &json!(1))
    );
}

#[test]
fn a_connection_of_which_less_becomes_known_stays_on_its_edge() {
    for (service, peer) in [
        ("shop", Peer::Class(Class::Private)),
        ("shop", Peer::Name("other.example".into())),
        ("unknown", Peer::Name("db.example".into())),
        ("other-shop", Peer::Name("db.example".into())),
    ] {
        let (mut edges, mut open) = (Edges::default(), Open::new(10));
        let mut take = |change, service, peer: &Peer| {
            take(&mut edges, &mut open, &flow(1, change), service, peer);
        };
        take(
            Change::Established,
            "shop",
            &Peer::Name("db.example".into()),
        );
        take(Change::Closed, service, &peer);
        let documents = edges.documents();
        assert_eq!(documents.len(), 1, "{documents:?}");
        assert_eq!(
            (&documents[0]["connections"], &documents[0]["bytes_sent"]),
            (&json!(1), &json!(100)),
        );
    }
}

#[test]
fn a_connection_whose_process_becomes_known_goes_on_as_its() {
    let (mut edges, mut open) = (Edges::default(), Open::new(10));
    let peer = Peer::Class(Class::Private);
    let mut take = |change, service| take(&mut edges, &mut open, &flow(1, change), service, &peer);
    take(Change::Established, "unknown");
    take(Change::Closed, "shop");
    let documents = edges.documents();
    assert_eq!(
        (&documents[0]["service"], &documents[0]["bytes_sent"]),
        (&json!("shop"), &json!(100))
    );
}

#[test]
fn those_that_moved_most_are_first() {
    let (mut edges, mut open) = (Edges::default(), Open::new(10));
    let peer = Peer::Class(Class::Public);
    for (number, service, sent) in [(1, "a", 10), (2, "b", 1000), (3, "c", 100)] {
        let closed = Flow {
            bytes_sent: sent,
            ..flow(number, Change::Closed)
        };
        take(&mut edges, &mut open, &closed, service, &peer);
    }
    let services: Vec<String> = edges
        .documents()
        .iter()
        .map(|edge| edge["service"].to_string())
        .collect();
    assert_eq!(services, ["\"b\"", "\"c\"", "\"a\""]);
}

#[test]
fn there_are_only_so_many() {
    let mut edges = Edges::default();
    for number in 0..3 * EDGES {
        let service: Arc<str> = format!("s{number}").into();
        edges.number(
            Some(&service),
            Role::CLIENT,
            &Peer::Name(format!("h{number}").into()),
        );
    }
    assert_eq!(edges.edges.len(), EDGES + 1);
    assert_eq!(&*edges.edges[EDGES].0.service, OTHER);
    // One that is known stays apart.
    let known: Arc<str> = "s7".into();
    let peer = Peer::Name("h7".into());
    assert_eq!(edges.number(Some(&known), Role::CLIENT, &peer), 7);
}
