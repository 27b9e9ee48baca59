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
        reserved: [0; 4],
        comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0",
    }
}

/// The bytes as the kernel lays them down: each field at the compiler's own offset.
fn laid_down(event: &FlowEvent) -> Vec<u8> {
    use std::mem::offset_of;
    let mut bytes = vec![0; size_of::<FlowEvent>()];
    let mut put =
        |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    put(offset_of!(FlowEvent, id.sock), &event.id.sock.to_ne_bytes());
    put(
        offset_of!(FlowEvent, id.born_ns),
        &event.id.born_ns.to_ne_bytes(),
    );
    put(offset_of!(FlowEvent, at_ns), &event.at_ns.to_ne_bytes());
    put(
        offset_of!(FlowEvent, connect_ns),
        &event.connect_ns.to_ne_bytes(),
    );
    put(
        offset_of!(FlowEvent, established_ns),
        &event.established_ns.to_ne_bytes(),
    );
    put(
        offset_of!(FlowEvent, bytes_sent),
        &event.bytes_sent.to_ne_bytes(),
    );
    put(
        offset_of!(FlowEvent, bytes_received),
        &event.bytes_received.to_ne_bytes(),
    );
    put(offset_of!(FlowEvent, srtt_us), &event.srtt_us.to_ne_bytes());
    put(
        offset_of!(FlowEvent, retransmits),
        &event.retransmits.to_ne_bytes(),
    );
    put(offset_of!(FlowEvent, tgid), &event.tgid.to_ne_bytes());
    put(offset_of!(FlowEvent, error), &event.error.to_ne_bytes());
    put(
        offset_of!(FlowEvent, endpoints.local_addr),
        &event.endpoints.local_addr,
    );
    put(
        offset_of!(FlowEvent, endpoints.remote_addr),
        &event.endpoints.remote_addr,
    );
    put(
        offset_of!(FlowEvent, endpoints.local_port),
        &event.endpoints.local_port.to_ne_bytes(),
    );
    put(
        offset_of!(FlowEvent, endpoints.remote_port),
        &event.endpoints.remote_port.to_ne_bytes(),
    );
    put(
        offset_of!(FlowEvent, endpoints.ip_version),
        &[event.endpoints.ip_version],
    );
    put(offset_of!(FlowEvent, kind), &[event.kind.0]);
    put(offset_of!(FlowEvent, role), &[event.role.0]);
    put(offset_of!(FlowEvent, owner), &[event.owner.0]);
    put(offset_of!(FlowEvent, old_state), &[event.old_state]);
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
