use fathom_abi::{ConnectionId, Endpoints};

use super::*;

/// Every byte of the header differs from its neighbours, so that a field that is read in the wrong place shows.
fn event() -> MessageEvent {
    MessageEvent {
        id: ConnectionId {
            sock: 0x0102_0304_0506_0708,
            born_ns: 0x1112_1314_1516_1718,
        },
        at_ns: 0x2122_2324_2526_2728,
        previous_bytes: 0x3132_3334_3536_3738,
        previous_last_ns: 0x4142_4344_4546_4748,
        tgid: 0x5152_5354,
        tid: 0x6162_6364,
        goroutine: 0x7172_7374_7576_7778,
        message: 0x7172_7374,
        io_bytes: 0x8182_8384,
        offset: 0x9192_9394,
        captured: 5,
        kind: MessageKind::MORE,
        direction: Direction::SENT,
        endpoints: Endpoints {
            local_addr: *b"0123456789abcdef",
            remote_addr: *b"ghijklmnopqrstuv",
            local_port: 0xa1a2,
            remote_port: 0xb1b2,
            ip_version: 6,
            reserved: [0; 3],
        },
        role: Role::CLIENT,
        over: 0,
        reserved: [0; 6],
    }
}

/// The kernel writes the struct as it lies in memory; `offset_of!` is the compiler's word on where each field is.
#[test]
fn fields_are_read_from_where_the_compiler_puts_them() {
    use std::mem::offset_of;
    let bytes = Record::encode(&event(), b"hello");
    let at = |offset: usize, value: &[u8]| {
        assert_eq!(&bytes[offset..offset + value.len()], value, "at {offset}")
    };
    let event = event();
    at(
        offset_of!(MessageEvent, id.sock),
        &event.id.sock.to_ne_bytes(),
    );
    at(
        offset_of!(MessageEvent, id.born_ns),
        &event.id.born_ns.to_ne_bytes(),
    );
    at(offset_of!(MessageEvent, at_ns), &event.at_ns.to_ne_bytes());
    at(
        offset_of!(MessageEvent, previous_bytes),
        &event.previous_bytes.to_ne_bytes(),
    );
    at(
        offset_of!(MessageEvent, previous_last_ns),
        &event.previous_last_ns.to_ne_bytes(),
    );
    at(offset_of!(MessageEvent, tgid), &event.tgid.to_ne_bytes());
    at(offset_of!(MessageEvent, tid), &event.tid.to_ne_bytes());
    at(
        offset_of!(MessageEvent, goroutine),
        &event.goroutine.to_ne_bytes(),
    );
    at(
        offset_of!(MessageEvent, message),
        &event.message.to_ne_bytes(),
    );
    at(
        offset_of!(MessageEvent, io_bytes),
        &event.io_bytes.to_ne_bytes(),
    );
    at(
        offset_of!(MessageEvent, offset),
        &event.offset.to_ne_bytes(),
    );
    at(
        offset_of!(MessageEvent, captured),
        &event.captured.to_ne_bytes(),
    );
    at(offset_of!(MessageEvent, kind), &[event.kind.0]);
    at(offset_of!(MessageEvent, direction), &[event.direction.0]);
    at(
        offset_of!(MessageEvent, endpoints.local_addr),
        &event.endpoints.local_addr,
    );
    at(
        offset_of!(MessageEvent, endpoints.remote_addr),
        &event.endpoints.remote_addr,
    );
    at(
        offset_of!(MessageEvent, endpoints.local_port),
        &event.endpoints.local_port.to_ne_bytes(),
    );
    at(
        offset_of!(MessageEvent, endpoints.remote_port),
        &event.endpoints.remote_port.to_ne_bytes(),
    );
    at(
        offset_of!(MessageEvent, endpoints.ip_version),
        &[event.endpoints.ip_version],
    );
    at(offset_of!(MessageEvent, role), &[event.role.0]);
    assert_eq!(bytes.len(), size_of::<MessageEvent>() + 5);
}

#[test]
fn a_record_comes_back_as_it_was() {
    let mut bytes = Record::encode(&event(), b"hello");
    bytes.extend_from_slice(b"padding");
    let record = Record::decode(&bytes).expect("it is whole");
    assert_eq!((record.event, record.data), (event(), b"hello".as_slice()));
}

#[test]
fn a_record_that_was_cut_is_refused() {
    let bytes = Record::encode(&event(), b"hello");
    for length in 0..bytes.len() {
        assert_eq!(Record::decode(&bytes[..length]), None, "{length} bytes");
    }
}
