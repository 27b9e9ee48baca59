use super::*;

/// A message with a header of its own.
fn message_of(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).expect("a length");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(2_u16.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `struct inet_diag_msg`, written field by field after `linux/inet_diag.h`.
fn payload(family: u8, state: u8, local: [u8; 16], remote: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![family, state, 0, 0];
    bytes.extend(8080_u16.to_be_bytes());
    bytes.extend(40_000_u16.to_be_bytes());
    bytes.extend(local);
    bytes.extend(remote);
    for word in [3, 0x5566_7788, 0x1122_3344, 0, 10, 20, 1000, 4711_u32] {
        bytes.extend(word.to_ne_bytes());
    }
    assert_eq!(bytes.len(), SOCKET);
    bytes
}

fn v4(last: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&[10, 0, 0, last]);
    bytes
}

fn all(bytes: &[u8]) -> Vec<Result<Message<'_>, Malformed>> {
    messages(bytes, 5).collect()
}

fn socket_of(bytes: &[u8]) -> Socket {
    match all(bytes)[..] {
        [Ok(Message::Socket(socket, _))] => socket,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_socket_is_read_with_all_that_it_says() {
    let bytes = message_of(20, 5, &payload(2, 1, v4(1), v4(2)));
    assert_eq!(
        socket_of(&bytes),
        Socket {
            family: Family::V4,
            state: State::ESTABLISHED,
            local: "10.0.0.1:8080".parse().expect("an address"),
            remote: "10.0.0.2:40000".parse().expect("an address"),
            interface: 3,
            cookie: 0x1122_3344_5566_7788,
            inode: 4711,
            uid: 1000,
            receive_queue: 10,
            send_queue: 20,
            only_v6: false,
        }
    );
}

#[test]
fn an_address_of_ipv4_in_a_socket_of_ipv6_is_one_of_ipv4() {
    let mapped: Ipv6Addr = "::ffff:10.0.0.1".parse().expect("an address");
    let other: Ipv6Addr = "2001:db8::1".parse().expect("an address");
    let bytes = message_of(20, 5, &payload(10, 1, mapped.octets(), other.octets()));
    let socket = socket_of(&bytes);
    assert_eq!(socket.family, Family::V6);
    assert_eq!(socket.local.to_string(), "10.0.0.1:8080");
    assert_eq!(socket.remote.to_string(), "[2001:db8::1]:40000");
}

#[test]
fn the_attribute_for_ipv6_alone_is_found_behind_others() {
    let mut listens = payload(10, 10, [0; 16], [0; 16]);
    // Six bytes are padded to eight.
    listens.extend([6, 0, 8, 0, 1, 2, 0, 0]);
    listens.extend([5, 0, 11, 0, 1, 0, 0, 0]);
    assert!(socket_of(&message_of(20, 5, &listens)).only_v6);
    let last = listens.len() - 4;
    listens[last] = 0;
    assert!(!socket_of(&message_of(20, 5, &listens)).only_v6);
    // One that goes beyond the end says nothing.
    listens[last - 4] = 200;
    assert!(!socket_of(&message_of(20, 5, &listens)).only_v6);
}

#[test]
fn several_messages_come_in_order_and_strangers_are_left_out() {
    let mut bytes = message_of(20, 5, &payload(2, 1, v4(1), v4(2)));
    bytes.extend(message_of(20, 4, &payload(2, 1, v4(3), v4(4))));
    bytes.extend(message_of(99, 5, b"?"));
    bytes.extend(message_of(NLMSG_DONE, 5, &0_i32.to_ne_bytes()));
    let all = all(&bytes);
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(matches!(all[0], Ok(Message::Socket(..))));
    assert_eq!(all[1..], [Ok(Message::Other), Ok(Message::Done)]);
}

#[test]
fn errors_come_with_their_number() {
    for kind in [NLMSG_ERROR, NLMSG_DONE] {
        let refused = message_of(kind, 5, &(-2_i32).to_ne_bytes());
        assert_eq!(all(&refused), [Ok(Message::Refused(2))]);
    }
    assert_eq!(all(&message_of(NLMSG_DONE, 5, b"")), [Ok(Message::Done)]);
}

#[test]
fn what_is_cut_short_is_malformed_and_ends_the_datagram() {
    let whole = message_of(20, 5, &payload(2, 1, v4(1), v4(2)));
    for length in 1..whole.len() {
        assert_eq!(all(&whole[..length]), [Err(Malformed)], "{length}");
    }
    // A length below that of a header would lead nowhere.
    let mut stuck = whole.clone();
    stuck[..4].copy_from_slice(&0_u32.to_ne_bytes());
    assert_eq!(all(&stuck), [Err(Malformed)]);
    let unknown_family = message_of(20, 5, &payload(3, 1, v4(1), v4(2)));
    assert_eq!(all(&[unknown_family, whole].concat()), [Err(Malformed)]);
}

#[test]
fn a_request_has_the_layout_of_the_header_file() {
    let bytes = request(Family::V6, States::OPEN, Extensions::NONE, 9);
    assert_eq!(bytes.len(), 72);
    assert_eq!(bytes[..4], 72_u32.to_ne_bytes());
    assert_eq!(bytes[16..20], [10, 6, 0, 0]);
    // ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT.
    assert_eq!(bytes[20..24], 0b1_0011_0110_u32.to_ne_bytes());
    assert_eq!(bytes[24..], [0; 48]);
}

#[test]
fn what_is_asked_for_besides_is_a_bit_each() {
    let asked = |extensions| request(Family::V4, States::LISTEN, extensions, 9)[18];
    assert_eq!(asked(Extensions::TCP_INFO), 0b10);
    assert_eq!(asked(Extensions::MEMORY), 0b100_0000);
}

#[test]
fn details_are_there_where_the_kernel_gave_them() {
    let details_of = |attributes: &[u8]| {
        let mut bytes = payload(2, 10, v4(1), v4(2));
        bytes.extend(attributes);
        let bytes = message_of(20, 5, &bytes);
        match all(&bytes)[..] {
            [Ok(Message::Socket(_, details))] => (details.drops(), details.tcp_info().is_some()),
            ref other => panic!("{other:?}"),
        }
    };
    assert_eq!(details_of(&[]), (None, false));
    let mut memory = vec![40, 0, 7, 0];
    memory.extend((1..10_u32).flat_map(u32::to_ne_bytes));
    assert_eq!(details_of(&memory), (Some(9), false));
    // Of a kernel that knows no drops.
    memory[0] = 36;
    assert_eq!(details_of(&memory[..36]), (None, false));
    let mut info = vec![108, 0, 2, 0];
    info.extend([0; 104]);
    assert_eq!(details_of(&info), (None, true));
}
