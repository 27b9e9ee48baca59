//! Connections that were open before.

use fathom_abi::message::Direction;

use super::{
    tap::{Tap, decode},
    *,
};
use crate::l7::Recognized;

pub(super) const MS: u64 = 1_000_000;

fn late() -> Tap {
    Tap::new(Role::UNKNOWN)
}

pub(super) fn answer(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(super) fn paths(exchanges: &[Exchange]) -> Vec<&str> {
    exchanges
        .iter()
        .map(|exchange| exchange.path.as_str())
        .collect()
}

pub(super) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

#[test]
fn one_that_takes_turns_is_exact_from_its_first_request() {
    let mut tap = late();
    for n in 0..10 {
        tap.receive(&get(&format!("/{n}")), n * 10 + 1)
            .send(&answer("x"), n * 10 + 2);
    }
    tap.close(200);
    let (exchanges, counts) = decode(&tap.records);
    let ends: Vec<_> = exchanges.iter().map(|exchange| exchange.end_ns).collect();
    assert_eq!(ends, [2, 12, 22, 32, 42, 52, 62, 72, 82, 92]);
    assert_eq!(counts.lost(), 0);
    assert_eq!(counts.recognized(Recognized::Http1), 1);
    assert_eq!(counts.recognized(Recognized::Http2), 0);
}

#[test]
fn its_last_answer_is_handed_on_when_it_has_gone_quiet() {
    let mut tap = late();
    tap.receive(&get("/a"), MS).send(&answer("x"), 2 * MS);
    let mut decoder = Decoder::new(Limits::default());
    let mut exchanges = Vec::new();
    for record in &tap.records {
        decoder.record(record, &mut |exchange| exchanges.push(exchange));
    }
    assert_eq!(exchanges, []);
    let state = tap.state();
    let mut look = |now_ns: u64| {
        decoder.poll_idle(now_ns, &mut |_| Some(state), &mut |exchange| {
            exchanges.push(exchange);
        });
        exchanges.len()
    };
    assert_eq!(
        [look(150 * MS), look(900 * MS), look(1_100 * MS)],
        [0, 0, 1]
    );
    assert_eq!(paths(&exchanges), ["/a"]);
    assert_eq!(exchanges[0].end_ns, 2 * MS);
}

#[test]
fn where_two_answers_follow_each_other_no_answer_goes_to_a_request_before_a_silence() {
    let mut tap = late();
    // The answers to two requests from before come behind the first one that is seen.
    tap.receive(&get("/new/1"), MS)
        .send(&answer("of before"), 2 * MS)
        .send(&answer("of before"), 3 * MS)
        .receive(&get("/new/2"), 4 * MS)
        .send(&answer("1"), 5 * MS)
        .receive(&get("/new/3"), 6 * MS)
        .send(&answer("2"), 7 * MS)
        .send(&answer("3"), 8 * MS);
    // Not long enough.
    tap.receive(&get("/new/4"), 900 * MS)
        .send(&answer("4"), 901 * MS);
    tap.receive(&get("/new/5"), 2_000 * MS)
        .send(&answer("5"), 2_001 * MS)
        .receive(&get("/new/6"), 2_002 * MS)
        .send(&answer("6"), 2_003 * MS);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(paths(&exchanges), ["/new/5", "/new/6"]);
    assert_eq!(counts.exchanges(ExchangeOutcome::Pipelined), 4);
    assert_eq!(counts.lost(), 4);
}

#[test]
fn a_silence_behind_a_request_is_no_end_of_what_is_under_way() {
    let mut tap = late();
    tap.receive(&get("/1"), MS)
        .send(&[answer("of before"), answer("of before")].concat(), 2 * MS)
        .receive(&get("/2"), 3 * MS)
        .send(&answer("1"), 2_000 * MS)
        .receive(&get("/3"), 2_001 * MS)
        .send(&answer("2"), 2_002 * MS)
        .close(2_003 * MS);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(paths(&exchanges), [""; 0]);
    assert_eq!(counts.exchanges(ExchangeOutcome::Pipelined), 3);
}

/// Records of a connection whose bytes travel, from the record on that says so.
pub(super) struct Stream {
    pub(super) tap: Tap,
    numbers: [u32; 2],
    at: [u64; 2],
}

impl Stream {
    pub(super) fn behind(mut tap: Tap) -> Self {
        let number = tap.state().message + 1;
        let travels = tap.event_of(MessageKind::TRAVELS, number, 0);
        if number > 1 {
            tap.records.push(Record::encode(&travels, &[]));
        }
        let number = if number > 1 { number } else { 0 };
        Self {
            tap,
            numbers: [number; 2],
            at: [0; 2],
        }
    }

    fn piece(&mut self, direction: Direction, data: &[u8], at_ns: u64) -> &mut Self {
        let which = usize::from(direction == Direction::SENT);
        let (number, at) = (&mut self.numbers[which], &mut self.at[which]);
        *number += 1;
        let event = MessageEvent {
            direction,
            previous_bytes: *at,
            previous_last_ns: data.len() as u64,
            captured: data.len() as u16,
            io_bytes: data.len() as u32,
            ..self.tap.event_of(MessageKind::PIECE, *number, at_ns)
        };
        *at += data.len() as u64;
        self.tap.records.push(Record::encode(&event, data));
        self
    }

    /// Bytes that the tap passed over; it tells of them or not.
    fn pass(&mut self, direction: Direction, length: u64, told: bool) -> &mut Self {
        if told {
            self.piece(direction, &[], MS);
            let event = MessageEvent {
                previous_last_ns: length,
                ..Record::decode(self.tap.records.last().expect("a record"))
                    .expect("a record")
                    .event
            };
            *self.tap.records.last_mut().expect("a record") = Record::encode(&event, &[]);
        }
        self.at[usize::from(direction == Direction::SENT)] += length;
        self
    }

    pub(super) fn receive(&mut self, data: &[u8], at_ns: u64) -> &mut Self {
        self.piece(Direction::RECEIVED, data, at_ns)
    }

    pub(super) fn send(&mut self, data: &[u8], at_ns: u64) -> &mut Self {
        self.piece(Direction::SENT, data, at_ns)
    }
}

#[test]
fn a_pipeline_is_decoded_from_its_first_silence_on() {
    let mut tap = late();
    tap.send(&answer("of before"), MS);
    let mut stream = Stream::behind(tap);
    // Who pipelines keeps two under way: the first answers are to requests from before.
    stream
        .receive(&[get("/1"), get("/2")].concat(), 2 * MS)
        .send(&answer("of before"), 3 * MS)
        .receive(&get("/3"), 4 * MS)
        .send(&[answer("1"), answer("2"), answer("3")].concat(), 5 * MS)
        .receive(&[get("/4"), get("/5")].concat(), 2_000 * MS)
        .send(&answer("4"), 2_001 * MS)
        .send(&answer("five"), 2_002 * MS);
    let (exchanges, counts) = decode(&stream.tap.records);
    assert_eq!(paths(&exchanges), ["/4", "/5"]);
    assert_eq!(exchanges[1].response_bytes, answer("five").len() as u64);
    assert_eq!(counts.exchanges(ExchangeOutcome::NoRequest), 1);
    assert_eq!(counts.exchanges(ExchangeOutcome::Pipelined), 3);
    assert_eq!(counts.recognized(Recognized::Http1), 1);
}

#[test]
fn a_silence_in_which_records_are_missing_is_none() {
    let mut stream = Stream::behind(late());
    stream
        .receive(&[get("/1"), get("/2")].concat(), MS)
        .send(&answer("of before"), 2 * MS)
        .receive(&get("/3"), 3 * MS)
        .receive(&get("/4"), 2_000 * MS)
        .send(
            &[answer("1"), answer("2"), answer("3"), answer("4")].concat(),
            2_001 * MS,
        );
    stream.tap.records.remove(2);
    let (exchanges, _) = decode(&stream.tap.records);
    assert_eq!(paths(&exchanges), [""; 0]);
}

#[test]
fn a_pipeline_that_never_falls_silent_is_given_up() {
    let mut stream = Stream::behind(late());
    for n in 0..20_000 {
        stream.receive(&get("/"), n).send(&answer("x"), n);
    }
    let mut decoder = Decoder::new(Limits::default());
    for record in &stream.tap.records {
        decoder.record(record, &mut |exchange| panic!("{exchange:?}"));
    }
    assert_eq!(decoder.take_given_up(), [stream.tap.id]);
    assert!(decoder.counts().exchanges(ExchangeOutcome::Pipelined) >= 16_000);
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// An exchange of HTTP/2 that refers to nothing but the static table: GET / and 200.
pub(super) fn exchange_of_http2(stream: &mut Stream, id: u8) {
    stream
        .receive(&frame(1, 5, id, &[0x82, 0x84]), MS)
        .send(&frame(1, 5, id, &[0x88]), 2 * MS);
}

#[test]
fn a_direction_of_http2_is_joined_where_the_tap_finds_its_frames() {
    for (told, untold) in [(100, 0), (100, 7_000)] {
        let mut stream = Stream::behind(late());
        exchange_in_parts(&mut stream, 3, |stream| {
            stream
                .pass(Direction::SENT, told, true)
                .pass(Direction::SENT, untold, false);
        });
        exchange_in_parts(&mut stream, 5, |_| {});
        exchange_in_parts(&mut stream, 7, |_| {});
        let (exchanges, counts) = decode(&stream.tap.records);
        let ids: Vec<_> = exchanges
            .iter()
            .map(|exchange| exchange.key.message)
            .collect();
        // What was asked while the answers could not be read is counted.
        assert_eq!(ids, [5, 7], "{told} {untold}");
        assert_eq!(counts.lost(), 1);
    }
}

/// One with each frame's header in a piece of its own, and with something before its answer.
fn exchange_in_parts(stream: &mut Stream, id: u8, before: impl FnOnce(&mut Stream)) {
    let (request, answer) = (frame(1, 5, id, &[0x82, 0x84]), frame(1, 5, id, &[0x88]));
    stream.receive(&request, MS);
    before(stream);
    stream.send(&answer[..9], 2 * MS).send(&answer[9..], 2 * MS);
}

#[test]
fn http2_is_joined_whatever_comes_first() {
    let request = frame(1, 5, 9, &[0x82, 0x84]);
    let settings = frame(4, 1, 0, &[]);
    for (role, first) in [
        (Role::UNKNOWN, (Direction::RECEIVED, &settings)),
        (Role::UNKNOWN, (Direction::SENT, &settings)),
        // A layer over TLS, of a connection that was seen opening.
        (Role::SERVER, (Direction::RECEIVED, &settings)),
        (Role::SERVER, (Direction::SENT, &settings)),
        (Role::SERVER, (Direction::RECEIVED, &request)),
    ] {
        let mut stream = Stream::behind(Tap::new(role));
        stream.piece(first.0, first.1, MS);
        exchange_of_http2(&mut stream, 11);
        exchange_of_http2(&mut stream, 13);
        let (exchanges, counts) = decode(&stream.tap.records);
        assert_eq!(paths(&exchanges), ["/", "/"], "{role:?} {first:?}");
        assert_eq!(exchanges[0].side, Side::Server);
        let recognized = u64::from(role == Role::UNKNOWN);
        assert_eq!(counts.recognized(Recognized::Http2), recognized);
    }
}
