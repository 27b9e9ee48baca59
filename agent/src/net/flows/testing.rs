//! What tests of flows start from.

use fathom_abi::{ConnectionId, Role, flow::Owner};

use super::{Change, Flow, Outcome};

/// A connection to 127.0.0.2:80 that moved 100 bytes out and 1000 in, at this point of its life.
pub(crate) fn flow(number: u64, change: Change) -> Flow {
    Flow {
        id: ConnectionId {
            sock: number,
            born_ns: 1,
        },
        change,
        outcome: (change == Change::Closed).then_some(Outcome::Closed),
        role: Role::CLIENT,
        tgid: 10,
        owner: Owner::USER,
        comm: [0; 16],
        netns: 1,
        cgroup: None,
        local: ([127, 0, 0, 1], 40_000).into(),
        remote: ([127, 0, 0, 2], 80).into(),
        at_ns: 9_000_000,
        connect_ns: Some(1_000_000),
        established_ns: Some(3_000_000),
        accepted_ns: None,
        first_received_ns: None,
        first_sent_ns: None,
        bytes_sent: if change == Change::Established {
            0
        } else {
            100
        },
        bytes_received: if change == Change::Established {
            0
        } else {
            1000
        },
        segments_sent: 3,
        segments_received: 4,
        srtt_us: Some(300),
        min_rtt_us: Some(200),
        retransmits: 2,
        reset_sent: false,
        reset_received: false,
        closed_by: None,
        signal: None,
        error: 0,
    }
}
