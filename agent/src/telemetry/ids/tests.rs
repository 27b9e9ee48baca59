use fathom_abi::ConnectionId;

use super::*;
use crate::{
    l7::exchange::{Opened, Started, Thread, TraceParent},
    telemetry::testing::exchange,
};

fn key(sock: u64, born_ns: u64, message: u32) -> ExchangeKey {
    ExchangeKey {
        connection: ConnectionId { sock, born_ns },
        message,
        part: 0,
    }
}

#[test]
fn ids_depend_on_the_key_and_every_part_of_the_exchange() {
    let ids = Ids::new([7; 16]);
    let part = ExchangeKey {
        part: 9,
        ..key(1, 2, 3)
    };
    let keys = [key(1, 2, 3), key(9, 2, 3), key(1, 9, 3), key(1, 2, 9), part];
    let distinct: std::collections::HashSet<_> = keys
        .iter()
        .map(|key| (ids.trace_id(key), ids.span_id(key)))
        .collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(
        ids.trace_id(&keys[0]),
        Ids::new([7; 16]).trace_id(&keys[0]),
        "any stage finds the same"
    );
    assert_ne!(ids.trace_id(&keys[0]), Ids::new([8; 16]).trace_id(&keys[0]));
    assert_ne!(
        ids.trace_id(&keys[0])[..8],
        ids.span_id(&keys[0]),
        "a span's id says nothing of its trace's"
    );
}

/// The reference vector of the SipHash paper's own code (key 00…0f, input 00…0e), so that the hash is the one that is meant.
#[test]
fn the_hash_is_siphash_2_4() {
    let key: [u8; 16] = std::array::from_fn(|at| at as u8);
    let input: Vec<u8> = (0..15).collect();
    let mut hasher = SipHasher24::new_with_key(&key);
    hasher.write(&input);
    assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
}

#[test]
fn random_keys_differ() {
    let (one, other) = (
        Ids::random().expect("randomness"),
        Ids::random().expect("randomness"),
    );
    assert_ne!(one.span_id(&key(1, 2, 3)), other.span_id(&key(1, 2, 3)));
}

#[test]
fn a_span_stands_where_its_request_says() {
    let ids = Ids::new([7; 16]);
    let mut exchange = exchange();
    let alone = ids.context(&exchange, &Parent::Unknown);
    assert_eq!(
        (alone.trace_id, alone.span_id),
        (ids.trace_id(&exchange.key), ids.span_id(&exchange.key))
    );
    assert_eq!(alone.parent_span_id, None);

    exchange.parent = Some(TraceParent {
        trace_id: [1; 16],
        span_id: [2; 8],
        flags: 0,
    });
    exchange.trace_state = Some("a=1".into());
    let server = ids.context(&exchange, &Parent::Unknown);
    assert_eq!(
        (server.trace_id, server.parent_span_id, server.flags),
        ([1; 16], Some([2; 8]), 0)
    );
    assert_eq!(server.trace_state.as_deref(), Some("a=1"));
    assert_eq!(server.span_id, ids.span_id(&exchange.key));

    exchange.side = Side::Client;
    let client = ids.context(&exchange, &Parent::Own);
    assert_eq!(
        (client.trace_id, client.span_id, client.parent_span_id),
        ([1; 16], [2; 8], None)
    );
    assert_eq!(client.trace_state.as_deref(), Some("a=1"));

    // The span that is named is that of who asked the proxy: the proxy's exchange is another.
    let passed = ids.context(&exchange, &Parent::Passed);
    assert_eq!(
        (passed.trace_id, passed.span_id, passed.parent_span_id),
        ([1; 16], ids.span_id(&exchange.key), Some([2; 8]))
    );
}

#[test]
fn a_child_is_where_its_server_will_be() {
    let ids = Ids::new([7; 16]);
    for parent in [
        None,
        Some(TraceParent {
            trace_id: [1; 16],
            span_id: [2; 8],
            flags: 0,
        }),
    ] {
        let mut server = exchange();
        server.parent = parent;
        server.trace_state = parent.map(|_| "a=1".into());
        let started = Started {
            key: server.key,
            side: Side::Server,
            multiplexed: false,
            request: Opened {
                message: server.key.message,
                part: server.key.part,
                thread: Thread::new(1, 2),
                start_ns: 3,
                parent,
                trace_state: server.trace_state.clone(),
                partial: false,
            },
        };
        let mut client = exchange();
        (client.side, client.key.message) = (Side::Client, 9);
        let of_server = ids.context(&server, &Parent::Unknown);
        let of_client = ids.context(&client, &Parent::Server(Box::new(started)));
        assert_eq!(of_client.trace_id, of_server.trace_id);
        assert_eq!(of_client.parent_span_id, Some(of_server.span_id));
        assert_eq!(of_client.flags, of_server.flags);
        assert_eq!(of_client.trace_state, of_server.trace_state);
        assert_eq!(of_client.span_id, ids.span_id(&client.key));
    }
}
