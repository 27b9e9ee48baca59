use fathom_abi::Endpoints;

use super::*;

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets()
}

fn closed() -> FlowEvent {
    FlowEvent {
        id: ConnectionId {
            sock: 0xffff_8881_0000_1000,
            born_ns: 5,
        },
        at_ns: 9_000,
        connect_ns: 1_000,
        established_ns: 4_000,
        bytes_sent: 11,
        bytes_received: 22,
        srtt_us: 33,
        retransmits: 44,
        tgid: 55,
        error: 104,
        netns: 4_026_531_840,
        accepted_ns: 4_500,
        first_received_ns: 5_000,
        first_sent_ns: 6_000,
        cgroup: 77,
        segments_sent: 8,
        segments_received: 9,
        min_rtt_us: 30,
        endpoints: Endpoints {
            local_addr: mapped([10, 0, 0, 1]),
            remote_addr: mapped([10, 0, 0, 2]),
            local_port: 40_000,
            remote_port: 443,
            ip_version: 4,
            reserved: [0; 3],
        },
        kind: FlowKind::CLOSED,
        role: Role::CLIENT,
        owner: Owner::USER,
        old_state: 9,
        closed_by: End::REMOTE,
        exit: Exit(0x89),
        resets: Resets(Resets::SENT),
        reserved: 0,
        comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0",
    }
}

/// The bytes as the kernel lays them down: each field at the compiler's own offset.
fn laid_down(event: &FlowEvent) -> Vec<u8> {
    use std::mem::offset_of;
    let mut bytes = vec![0; size_of::<FlowEvent>()];
    macro_rules! put {
        ($($($field:ident).+),+) => {$({
            let (at, value) = (offset_of!(FlowEvent, $($field).+), event.$($field).+.to_ne_bytes());
            bytes[at..at + value.len()].copy_from_slice(&value);
        })+};
    }
    put!(
        id.sock,
        id.born_ns,
        at_ns,
        connect_ns,
        established_ns,
        accepted_ns,
        first_received_ns,
        first_sent_ns,
        bytes_sent,
        bytes_received,
        cgroup,
        segments_sent,
        segments_received,
        srtt_us,
        min_rtt_us,
        retransmits,
        tgid,
        error,
        netns,
        endpoints.local_port,
        endpoints.remote_port
    );
    let mut put =
        |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    put(
        offset_of!(FlowEvent, endpoints.local_addr),
        &event.endpoints.local_addr,
    );
    put(
        offset_of!(FlowEvent, endpoints.remote_addr),
        &event.endpoints.remote_addr,
    );
    put(
        offset_of!(FlowEvent, endpoints.ip_version),
        &[event.endpoints.ip_version],
    );
    put(offset_of!(FlowEvent, kind), &[event.kind.0]);
    put(offset_of!(FlowEvent, role), &[event.role.0]);
    put(offset_of!(FlowEvent, owner), &[event.owner.0]);
    put(offset_of!(FlowEvent, old_state), &[event.old_state]);
    put(offset_of!(FlowEvent, closed_by), &[event.closed_by.0]);
    put(offset_of!(FlowEvent, exit), &[event.exit.0]);
    put(offset_of!(FlowEvent, resets), &[event.resets.0]);
    put(offset_of!(FlowEvent, comm), &event.comm);
    bytes
}

#[test]
fn a_record_is_read_field_by_field() {
    let flow = Flow::decode(&laid_down(&closed())).expect("a whole record");
    assert_eq!((flow.id.sock, flow.id.born_ns), (0xffff_8881_0000_1000, 5));
    assert_eq!(
        (flow.change, flow.role, flow.owner, flow.tgid),
        (Change::Closed, Role::CLIENT, Owner::USER, 55)
    );
    assert_eq!(
        flow.comm.split(|&byte| byte == 0).next(),
        Some(&b"curl"[..])
    );
    assert_eq!(
        (flow.local.to_string(), flow.remote.to_string()),
        ("10.0.0.1:40000".into(), "10.0.0.2:443".into())
    );
    assert_eq!(
        (
            flow.bytes_sent,
            flow.bytes_received,
            flow.srtt_us,
            flow.retransmits
        ),
        (11, 22, Some(33), 44)
    );
    assert_eq!(
        (flow.at_ns, flow.error, flow.connect_duration_ns()),
        (9_000, 104, Some(3_000))
    );
}

#[test]
fn zeros_that_mean_unknown_are_none() {
    let event = FlowEvent {
        connect_ns: 0,
        established_ns: 0,
        srtt_us: 0,
        ..closed()
    };
    let flow = Flow::decode(&laid_down(&event)).expect("a whole record");
    assert_eq!(
        (
            flow.connect_ns,
            flow.established_ns,
            flow.srtt_us,
            flow.connect_duration_ns()
        ),
        (None, None, None, None)
    );
}

#[test]
fn ipv6_addresses_stay_what_they_are() {
    let mut event = closed();
    event.endpoints.remote_addr = "2001:db8::1"
        .parse::<std::net::Ipv6Addr>()
        .expect("an address")
        .octets();
    event.endpoints.ip_version = 6;
    assert_eq!(
        Flow::decode(&laid_down(&event))
            .expect("a whole record")
            .remote
            .to_string(),
        "[2001:db8::1]:443"
    );
}

#[test]
fn cut_and_unknown_records_are_counted() {
    let mut flows = Flows::default();
    let bytes = laid_down(&closed());
    let mut seen = 0;
    for length in 0..=bytes.len() {
        flows.record(&bytes[..length], &mut |_| seen += 1);
    }
    let strange = FlowEvent {
        kind: FlowKind(77),
        ..closed()
    };
    flows.record(&laid_down(&strange), &mut |_| seen += 1);
    let counts = flows.counts();
    assert_eq!(
        (seen, counts.delivered(), counts.malformed()),
        (1, 1, bytes.len() as u64 + 1)
    );
}

#[test]
fn an_end_is_told_from_state_error_resets_and_exit() {
    let outcome = |old_state, error, resets, exit| {
        let event = FlowEvent {
            old_state,
            error,
            resets: Resets(resets),
            exit: Exit(exit),
            ..closed()
        };
        Flow::decode(&laid_down(&event))
            .expect("a whole record")
            .outcome
    };
    const ESTABLISHED: u8 = 1;
    const FIN_WAIT2: u8 = 5;
    const CLOSE_WAIT: u8 = 8;
    const LAST_ACK: u8 = 9;
    for (case, expected) in [
        ((FIN_WAIT2, 0, 0, 0), Outcome::Closed),
        ((LAST_ACK, 0, 0, 0), Outcome::Closed),
        // A reset for a stray segment, long before.
        ((LAST_ACK, 0, Resets::SENT, 0), Outcome::Closed),
        ((ESTABLISHED, 0, Resets::SENT, 0), Outcome::Aborted),
        ((CLOSE_WAIT, 0, Resets::SENT, 0), Outcome::Aborted),
        ((ESTABLISHED, 104, 0, 0), Outcome::Reset),
        ((CLOSE_WAIT, 32, 0, 0), Outcome::Reset),
        ((ESTABLISHED, 110, 0, 0), Outcome::TimedOut),
        ((ESTABLISHED, 113, 0, 0), Outcome::TimedOut),
        ((ESTABLISHED, 103, 0, 0), Outcome::Destroyed),
        ((ESTABLISHED, 0, Resets::SENT, 0x89), Outcome::Killed),
        ((FIN_WAIT2, 0, 0, 0x89), Outcome::Killed),
        // It has left by itself.
        ((FIN_WAIT2, 0, 0, 0x80), Outcome::Closed),
        // The other end was faster.
        ((ESTABLISHED, 104, 0, 0x89), Outcome::Reset),
    ] {
        let (state, error, resets, exit) = case;
        assert_eq!(
            outcome(state, error, resets, exit),
            Some(expected),
            "{case:?}"
        );
    }
}

#[test]
fn a_failed_connect_says_why_and_after_how_long() {
    for (error, expected) in [
        (0, Outcome::Abandoned),
        (111, Outcome::Refused),
        (110, Outcome::TimedOut),
        (113, Outcome::Unreachable),
        (101, Outcome::Unreachable),
        (104, Outcome::Reset),
        (99, Outcome::Failed),
    ] {
        let event = FlowEvent {
            kind: FlowKind::CONNECT_FAILED,
            error,
            established_ns: 0,
            exit: Exit::NONE,
            ..closed()
        };
        let flow = Flow::decode(&laid_down(&event)).expect("a whole record");
        assert_eq!(flow.outcome, Some(expected), "{error}");
        assert_eq!(flow.connect_duration_ns(), Some(8_000));
        assert_eq!(flow.reset_received, matches!(error, 111 | 104));
    }
}

#[test]
fn of_an_end_that_was_not_seen_nothing_is_read_from_the_sock() {
    let event = FlowEvent {
        kind: FlowKind::LOST,
        ..closed()
    };
    let flow = Flow::decode(&laid_down(&event)).expect("a whole record");
    assert_eq!(
        (
            flow.outcome,
            flow.bytes_sent,
            flow.retransmits,
            flow.srtt_us
        ),
        (None, 0, 0, None)
    );
    assert_eq!(flow.remote.to_string(), "10.0.0.2:443");
}
