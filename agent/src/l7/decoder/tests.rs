mod framing;
mod idle;
mod late;
mod ledger;
mod loss;
mod order;
mod tap;
mod torn;
mod travel;

use std::num::NonZeroUsize;

use self::tap::{CLIENT, SERVER, Tap, decode};
use super::*;
use crate::l7::exchange::{Exchange, Side, Unanswered};

const GET: &[u8] = b"GET /users/7?key=secret HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_request_and_its_answer_are_one_exchange() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1_000).send(OK, 3_000);
    let (exchanges, counts) = decode(&tap.records);
    let [exchange] = exchanges.as_slice() else {
        panic!("{exchanges:?}")
    };
    assert_eq!(exchange.side, Side::Server);
    assert_eq!(
        (
            exchange.method.as_str(),
            exchange.path.as_str(),
            exchange.version
        ),
        ("GET", "/users/7", "1.1")
    );
    assert_eq!(exchange.status, Ok(200));
    assert_eq!((exchange.start_ns, exchange.end_ns), (1_000, 3_000));
    assert_eq!(
        (exchange.request_bytes, exchange.response_bytes),
        (GET.len() as u64, OK.len() as u64)
    );
    assert_eq!(exchange.key.message, 1);
    assert_eq!(
        (exchange.local.to_string(), exchange.remote.to_string()),
        ("127.0.0.1:80".into(), "127.0.0.2:40000".into())
    );
    assert_eq!(counts.exchanges(ExchangeOutcome::Delivered), 1);
    assert_eq!(counts.lost(), 0);
    assert_eq!(counts.records(RecordOutcome::Delivered), 2);
}

#[test]
fn the_sender_of_the_request_is_the_client() {
    let mut tap = Tap::new(CLIENT);
    tap.send(GET, 1).receive(OK, 2);
    assert_eq!(decode(&tap.records).0[0].side, Side::Client);
}

#[test]
fn a_body_in_many_calls_ends_with_its_last_call() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"POST /up HTTP/1.1\r\nContent-Length: 4000\r\n\r\n", 10);
    tap.receive(&[b'x'; 2500], 20).receive(&[b'x'; 1500], 30);
    tap.send(b"HTTP/1.1 201 Created\r\nContent-Length: 3000\r\n\r\n", 40);
    tap.send(&[b'y'; 1000], 50).send(&[b'y'; 2000], 60);
    assert!(
        decode(&tap.records).0.is_empty(),
        "the end of the answer is not known yet"
    );
    tap.receive(GET, 70).send(OK, 80);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(exchanges.len(), 2);
    assert_eq!((exchanges[0].start_ns, exchanges[0].end_ns), (10, 60));
    assert_eq!(
        (exchanges[0].request_bytes, exchanges[0].response_bytes),
        (43 + 4000, 46 + 3000)
    );
    assert_eq!((exchanges[1].start_ns, exchanges[1].end_ns), (70, 80));
    assert_eq!(counts.lost(), 0);
}

#[test]
fn a_connection_that_ends_without_an_answer_is_an_exchange_without_a_status() {
    let mut tap = Tap::new(CLIENT);
    tap.send(GET, 1).close(9);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchanges[0].status, Err(Unanswered::Closed));
    assert_eq!((exchanges[0].start_ns, exchanges[0].end_ns), (1, 9));
    assert_eq!(exchanges[0].response_bytes, 0);
    assert_eq!(counts.lost(), 0);
}

#[test]
fn a_full_table_counts_what_it_drops() {
    let mut decoder = Decoder::new(Limits {
        connections: NonZeroUsize::new(2).unwrap(),
    });
    let mut exchanges = 0;
    let mut taps: Vec<Tap> = (0..5).map(|sock| Tap::with_sock(SERVER, sock)).collect();
    for tap in &mut taps {
        tap.receive(GET, 1);
        decoder.record(&tap.records[0], &mut |_: Exchange| exchanges += 1);
    }
    for tap in &mut taps {
        tap.send(OK, 2);
        decoder.record(&tap.records[1], &mut |_: Exchange| exchanges += 1);
    }
    let counts = decoder.counts();
    assert_eq!(decoder.connections(), 2);
    assert_eq!(counts.exchanges(ExchangeOutcome::Delivered), exchanges);
    assert_eq!(
        exchanges + counts.exchanges(ExchangeOutcome::Evicted),
        5,
        "{counts:?}"
    );
}

#[test]
fn bytes_that_are_no_record_are_counted() {
    let mut decoder = Decoder::new(Limits::default());
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1);
    let whole = &tap.records[0];
    for length in 0..whole.len() {
        decoder.record(&whole[..length], &mut |exchange: Exchange| {
            panic!("{exchange:?}")
        });
    }
    assert_eq!(
        decoder.counts().records(RecordOutcome::Malformed),
        whole.len() as u64
    );
}
