use std::num::NonZeroUsize;

use super::*;
use crate::{
    cli::agent::own::Own,
    identity::Peer,
    net::{
        Names,
        flows::{Change, testing::flow},
        names,
    },
    telemetry::{Events, Ids, red, tcp},
};

fn out() -> Out {
    let clock = Arc::new(Clock::new());
    let names = Arc::new(Names::new(names::Limits::default()));
    Out {
        identity: Identity::new(PROC, NonZeroUsize::MIN),
        far: FarEnds::new(names, PROC.as_ref()),
        red: Arc::new(Red::new(red::Limits::default(), Arc::clone(&clock))),
        tcp: Arc::new(Tcp::new(tcp::Limits::default())),
        existing: Arc::default(),
        before: Before::default(),
        ended: HashMap::new(),
        spans: None,
        threads: None,
        goroutines: None,
        logs: None,
        shared: Shared {
            clock,
            ids: Arc::new(Ids::new([0; 16])),
            events: Arc::new(Events::default()),
            own: Arc::new(Own::new(0)),
            links: Arc::default(),
            joined: false,
        },
        nameless: Vec::new(),
    }
}

#[test]
fn the_first_connection_to_a_service_of_the_node_knows_whose_it_is() {
    let client = Flow {
        tgid: std::process::id(),
        ..flow(1, Change::Established)
    };
    let server = Flow {
        tgid: std::process::id(),
        role: Role::SERVER,
        local: client.remote,
        remote: client.local,
        ..flow(2, Change::Established)
    };
    let mut out = out();
    // The end that connects is told of with the answer to its SYN, the one that accepts with accept(2).
    out.flows(&mut vec![client, server], 0);
    let service = Arc::clone(&out.identity.process(client.tgid, 0).service);
    for number in [1, 2] {
        assert_eq!(
            out.tcp
                .advance(&flow(number, Change::Alive))
                .map(|known| known.peer),
            Some(Peer::Service(Arc::clone(&service))),
            "{number}"
        );
    }
}
