use fathom_abi::{ConnectionId, Role};

use super::*;
use crate::{
    identity::peers::Class,
    net::{Filter, filter::parse, flows::testing::flow},
    telemetry::metric::Value,
};

fn process() -> Process {
    Process {
        pid: 10,
        start_ticks: 7,
        service: "shop".into(),
        executable: Some("/usr/bin/shopd".into()),
        comm: "shopd".into(),
        container: Some("c0ffee".into()),
    }
}

fn rule(state: &str, share: f64) -> Rule {
    Rule {
        filter: Filter {
            states: vec![parse::state(state).expect(state)],
            ..Filter::default()
        },
        share: Share::new(share).expect("a share"),
    }
}

fn logs(rules: impl Into<Arc<[Rule]>>) -> FlowLogs {
    FlowLogs::new(rules.into(), Arc::new(Clock::new()))
}

fn far(peer: Peer) -> FarEnd {
    FarEnd {
        peer,
        destination: None,
    }
}

fn somewhere() -> FarEnd {
    far(Peer::Class(Class::Loopback))
}

#[test]
fn the_first_rule_that_fits_decides() {
    let mut logs = logs([rule("open", 0.0), rule("closed", 1.0), rule("open", 1.0)]);
    assert!(
        logs.log(&flow(1, Change::Alive), &process(), &somewhere())
            .is_none()
    );
    assert!(
        logs.log(&flow(1, Change::Closed), &process(), &somewhere())
            .is_some()
    );
    // No rule is about these: they are nobody's loss.
    assert!(
        logs.log(&flow(1, Change::ConnectFailed), &process(), &somewhere())
            .is_none()
    );
    let counts = logs.counts();
    assert_eq!((counts.delivered(), counts.sampled_out()), (1, 1));
}

#[test]
fn without_rules_there_is_no_record() {
    let mut logs = logs([]);
    assert!(
        logs.log(&flow(1, Change::Closed), &process(), &somewhere())
            .is_none()
    );
}

#[test]
fn a_share_is_one_of_connections_and_each_has_all_its_records_or_none() {
    let everything = Rule {
        filter: Filter::default(),
        share: Share::new(0.25).expect("a share"),
    };
    let mut logs = logs([everything]);
    let mut taken = 0_u64;
    for number in 0..4000 {
        let changes = [Change::Established, Change::Alive, Change::Closed];
        let made = changes
            .iter()
            .filter(|&&change| {
                logs.log(&flow(number, change), &process(), &somewhere())
                    .is_some()
            })
            .count();
        assert!(made == 0 || made == 3, "{made} of 3 records");
        taken += u64::from(made == 3);
    }
    // Six standard deviations.
    assert!((836..=1164).contains(&taken), "{taken} of 4000");
    let counts = logs.counts();
    assert_eq!(counts.delivered(), 3 * taken);
    assert_eq!(counts.delivered() + counts.sampled_out(), 12_000);
}

#[test]
fn a_share_is_from_none_to_all() {
    for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(Share::new(share), None);
    }
    assert!(Share::ALL.takes(u64::MAX) && Share::ALL.takes(0));
    assert!(!Share::new(0.0).expect("none").takes(0));
}

#[test]
fn a_record_has_the_conventions_attributes_and_the_rest() {
    let reset = Flow {
        outcome: Some(Outcome::Reset),
        error: 104,
        reset_received: true,
        cgroup: Some(77),
        ..flow(1, Change::Closed)
    };
    let mut logs = logs([rule("reset", 1.0)]);
    let log = logs
        .log(&reset, &process(), &somewhere())
        .expect("a record");
    assert_eq!(log.severity(), Severity::Warn);
    assert_eq!(&*log.resource.service_name, "shop");
    let attributes = log.attributes();
    let get = |name: &str| {
        let found: Vec<_> = attributes.iter().filter(|(key, _)| key == name).collect();
        assert!(found.len() < 2, "{name} is there twice");
        found.first().map(|(_, value)| match value {
            Value::Str(text) => text.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
        })
    };
    for (name, expected) in [
        ("network.transport", "tcp"),
        ("network.type", "ipv4"),
        ("network.local.address", "127.0.0.1"),
        ("network.local.port", "40000"),
        ("network.peer.address", "127.0.0.2"),
        ("network.peer.port", "80"),
        ("client.address", "127.0.0.1"),
        ("client.port", "40000"),
        ("server.address", "127.0.0.2"),
        ("server.port", "80"),
        ("error.type", "ECONNRESET"),
        ("fathom.peer.class", "loopback"),
        ("fathom.tcp.what", "closed"),
        ("fathom.tcp.role", "client"),
        ("fathom.tcp.outcome", "reset"),
        ("fathom.tcp.bytes_sent", "100"),
        ("fathom.tcp.bytes_received", "1000"),
        ("fathom.tcp.segments_sent", "3"),
        ("fathom.tcp.retransmits", "2"),
        ("fathom.tcp.resets_received", "1"),
        ("fathom.tcp.srtt_us", "300"),
        ("fathom.tcp.connect_ns", "2000000"),
        ("fathom.tcp.lasted_ns", "6000000"),
        ("fathom.tcp.cgroup", "77"),
        ("fathom.tcp.netns", "1"),
    ] {
        assert_eq!(get(name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(get("fathom.tcp.accept_wait_ns"), None);
    assert_eq!(get("fathom.tcp.id").map(|id| id.len()), Some(16));
}

#[test]
fn a_server_is_named_as_its_client_knows_it() {
    let mut logs = logs([rule("open", 1.0)]);
    let mut server_address = |flow: &Flow, peer: Peer| {
        let log = logs.log(flow, &process(), &far(peer)).expect("a record");
        let attributes = log.attributes().into_iter();
        attributes
            .filter(|(key, _)| key == "server.address" || key == "service.peer.name")
            .map(|(_, value)| value)
            .collect::<Vec<_>>()
    };
    let text = |text: &'static str| Value::Str(text.into());
    let open = flow(1, Change::Alive);
    assert_eq!(
        server_address(&open, Peer::Name("db.example".into())),
        [text("db.example")]
    );
    assert_eq!(
        server_address(&open, Peer::Service("db".into())),
        [text("127.0.0.2"), text("db")]
    );
    let accepted = Flow {
        role: Role::SERVER,
        ..open
    };
    assert_eq!(
        server_address(&accepted, somewhere().peer),
        [text("127.0.0.1")]
    );
    let unknown = Flow {
        role: Role::UNKNOWN,
        ..open
    };
    assert_eq!(server_address(&unknown, somewhere().peer), []);
}

#[test]
fn each_record_says_where_a_translated_connection_goes_and_rules_go_by_it() {
    let pod: SocketAddr = "10.244.1.7:8443".parse().expect("an address");
    let mut logs = logs([Rule {
        filter: Filter {
            addresses: vec![parse::address("10.244.0.0/16").expect("a network")],
            ..Filter::default()
        },
        share: Share::ALL,
    }]);
    let translated = FarEnd {
        destination: Some(pod),
        ..somewhere()
    };
    let mut said = |number, change, far: &FarEnd| {
        let log = logs.log(&flow(number, change), &process(), far)?;
        let attributes = log.attributes().into_iter();
        let of_destination = attributes.filter(|(key, _)| key.starts_with("fathom.destination."));
        Some(of_destination.map(|(_, value)| value).collect::<Vec<_>>())
    };
    let there = Some(vec![Value::Str("10.244.1.7".into()), Value::Int(8443)]);
    assert_eq!(said(1, Change::Established, &translated), there);
    assert_eq!(said(1, Change::Alive, &somewhere()), there);
    assert_eq!(said(1, Change::Closed, &somewhere()), there);
    assert_eq!(said(1, Change::Closed, &somewhere()), None, "it has ended");
    assert_eq!(said(2, Change::Established, &somewhere()), None);
}

#[test]
fn severity_is_that_of_the_outcome() {
    let mut logs = logs([Rule {
        filter: Filter::default(),
        share: Share::ALL,
    }]);
    let mut severity = |change, outcome| {
        let one = Flow {
            outcome,
            id: ConnectionId {
                sock: 1,
                born_ns: 1,
            },
            ..flow(1, change)
        };
        logs.log(&one, &process(), &somewhere())
            .expect("a record")
            .severity()
    };
    assert_eq!(severity(Change::Established, None), Severity::Info);
    assert_eq!(
        severity(Change::Closed, Some(Outcome::Closed)),
        Severity::Info
    );
    assert_eq!(severity(Change::Lost, None), Severity::Warn);
    assert_eq!(
        severity(Change::Closed, Some(Outcome::Killed)),
        Severity::Warn
    );
    assert_eq!(
        severity(Change::Closed, Some(Outcome::TimedOut)),
        Severity::Error
    );
    assert_eq!(
        severity(Change::ConnectFailed, Some(Outcome::Refused)),
        Severity::Error
    );
}

#[test]
fn nobody_has_no_number() {
    let mut logs = logs([rule("closed", 1.0)]);
    let nobody = Process {
        pid: 0,
        ..process()
    };
    let log = logs
        .log(&flow(1, Change::Closed), &nobody, &somewhere())
        .expect("a record");
    assert!(log.resource.attributes.is_empty());
}
