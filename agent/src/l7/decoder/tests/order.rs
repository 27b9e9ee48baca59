//! Calls that send and are seen late, because their task was preempted before they returned.

use super::{
    tap::{CLIENT, SERVER, Tap, decode},
    *,
};
use crate::l7::ExchangeOutcome;
use fathom_abi::message::MAX_CAPTURE;

const FIRST: &[u8] = b"GET /first HTTP/1.1\r\n\r\n";
const SECOND: &[u8] = b"POST /second HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

/// What of each exchange can be mixed up.
fn told(exchanges: &[Exchange]) -> Vec<(&str, u16, u64, u64)> {
    exchanges
        .iter()
        .map(|exchange| {
            let status = exchange.status.unwrap_or_default();
            let (start, end) = (exchange.start_ns, exchange.end_ns);
            (exchange.path.as_str(), status, start, end)
        })
        .collect()
}

#[test]
fn an_answer_that_the_next_request_overtakes_is_the_one_before_it() {
    let mut tap = Tap::new(SERVER);
    tap.receive(FIRST, 10)
        .overtake(OK, SECOND, 30, 40)
        .send(CREATED, 50)
        .close(60);
    let (exchanges, counts) = decode(&tap.records);
    // It was over when the next request came, at the latest.
    let expected = [("/first", 200, 10, 30), ("/second", 201, 30, 50)];
    assert_eq!(told(&exchanges), expected);
    assert_eq!(exchanges[0].response_bytes, OK.len() as u64);
    assert_eq!(counts.lost(), 0);
}

#[test]
fn a_request_that_its_answer_overtakes_comes_first() {
    // The first of a connection, and a later one.
    let mut tap = Tap::new(CLIENT);
    tap.overtake(FIRST, OK, 20, 25)
        .overtake(SECOND, CREATED, 40, 45)
        .close(60);
    let (exchanges, counts) = decode(&tap.records);
    let expected = [("/first", 200, 20, 20), ("/second", 201, 40, 40)];
    assert_eq!(told(&exchanges), expected);
    assert_eq!(counts.lost(), 0);
}

#[test]
fn the_rest_of_a_head_waits_with_its_start() {
    for rest_comes_first in [true, false] {
        let mut tap = Tap::new(SERVER);
        tap.receive(FIRST, 10)
            .overtake(OK, &SECOND[..1], 30, 40)
            .receive(&SECOND[1..], 41)
            .send(CREATED, 50)
            .close(60);
        if rest_comes_first {
            tap.records.swap(2, 3);
        }
        let (exchanges, counts) = decode(&tap.records);
        let expected = [("/first", 200, 10, 30), ("/second", 201, 30, 50)];
        assert_eq!(told(&exchanges), expected);
        assert_eq!(counts.lost(), 0);
    }
}

#[test]
fn a_long_head_that_was_overtaken_is_whole_before_what_waits_for_it() {
    let head = format!(
        "GET /first HTTP/1.1\r\nCookie: {}\r\n\r\n",
        "c".repeat(1500)
    );
    let mut tap = Tap::new(CLIENT);
    tap.overtake(head.as_bytes(), OK, 20, 25);
    let rest = tap.event_of(MessageKind::MORE, 1, 25);
    let rest = MessageEvent {
        offset: MAX_CAPTURE as u32,
        io_bytes: head.len() as u32,
        captured: (head.len() - MAX_CAPTURE) as u16,
        direction: Direction::SENT,
        ..rest
    };
    tap.records
        .push(Record::encode(&rest, &head.as_bytes()[MAX_CAPTURE..]));
    tap.send(SECOND, 30).receive(CREATED, 40).close(50);
    let (exchanges, counts) = decode(&tap.records);
    let expected = [("/first", 200, 20, 20), ("/second", 201, 30, 40)];
    assert_eq!(told(&exchanges), expected);
    assert_eq!(exchanges[0].request_bytes, head.len() as u64);
    assert_eq!(counts.lost(), 0);
}

#[test]
fn without_any_of_these_records_nothing_is_made_up() {
    let mut tap = Tap::new(SERVER);
    tap.receive(FIRST, 10)
        .overtake(OK, &SECOND[..1], 30, 40)
        .receive(&SECOND[1..], 41)
        .send(CREATED, 50)
        .receive(FIRST, 60)
        .send(OK, 70)
        .close(80);
    let whole = decode(&tap.records).0;
    assert_eq!(whole.len(), 3);
    for missing in 0..tap.records.len() {
        let mut records = tap.records.clone();
        records.remove(missing);
        let (exchanges, counts) = decode(&records);
        for exchange in &exchanges {
            let key = |of: &Exchange| (of.path.clone(), of.status, of.start_ns);
            let is_true = whole.iter().any(|whole| key(whole) == key(exchange));
            assert!(is_true, "without record {missing}: {exchange:?}");
        }
        let all = exchanges.len() as u64 + counts.lost();
        assert_eq!(all, 3, "without record {missing}");
    }
}

#[test]
fn a_call_that_is_never_seen_costs_its_own_exchange() {
    let mut tap = Tap::new(SERVER);
    tap.receive(FIRST, 10)
        .overtake(OK, SECOND, 30, 40)
        .send(CREATED, 50)
        .close(60);
    tap.records.remove(2);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(told(&exchanges), [("/second", 201, 30, 50)]);
    assert_eq!(counts.exchanges(ExchangeOutcome::RecordLost), 1);
}
