//! Connections whose bytes travel, and of which records are missing from before the first piece that is seen.

use super::{
    late::{MS, Stream, answer, exchange_of_http2, get, paths},
    tap::{SERVER, Tap},
    *,
};

/// What comes of records, and whether the connection is given up.
fn decode(stream: &Stream) -> (Vec<Exchange>, bool) {
    let mut decoder = Decoder::new(Limits::default());
    let mut exchanges = Vec::new();
    for record in &stream.tap.records {
        decoder.record(record, &mut |exchange| exchanges.push(exchange));
    }
    (exchanges, !decoder.take_given_up().is_empty())
}

/// A pipeline that falls silent after the first pieces, each of which is the start of another.
fn pipeline(mut tap: Tap, turns: bool, first: &[(bool, Vec<u8>)]) -> Stream {
    if turns {
        tap.receive(&get("/turn"), MS).send(&answer("turn"), MS);
    }
    let mut stream = Stream::behind(tap);
    // The record that says that the bytes travel, where there is one, and each direction's first piece are missing.
    let missing = if turns { 3 } else { 2 };
    let until = stream.tap.records.len() + 2;
    stream
        .receive(&[get("/lost"), get("/lost")].concat(), 2 * MS)
        .send(&answer("lost"), 2 * MS);
    for (is_request, data) in first {
        if *is_request {
            stream.receive(data, 3 * MS);
        } else {
            stream.send(data, 3 * MS);
        }
    }
    // Each direction must have shown, by the number of a piece, that no more is missing.
    stream
        .receive(&get("/before the silence"), 4 * MS)
        .send(&answer("the last before the silence"), 4 * MS)
        .receive(&[get("/1"), get("/2")].concat(), 2_000 * MS)
        .send(&[answer("1"), answer("2")].concat(), 2_001 * MS)
        .receive(&get("/3"), 2_002 * MS)
        .send(&answer("3"), 2_003 * MS);
    stream.tap.records.drain(until - missing..until);
    stream
}

#[test]
fn a_pipeline_is_decoded_from_its_first_silence_on() {
    let body = |byte| vec![byte; 1000];
    let text = || b"Content-Type: text/html\r\n\r\n".to_vec();
    for turns in [true, false] {
        for first in [
            vec![],
            vec![(false, answer("to one that is lost"))],
            vec![(false, body(0))],
            vec![(false, body(b'x')), (true, get("/of before"))],
            vec![(true, text()), (false, body(0xff))],
            // A body may hold what looks like a request.
            vec![(false, get("/within a body"))],
        ] {
            let stream = pipeline(Tap::new(SERVER), turns, &first);
            let (exchanges, given_up) = decode(&stream);
            let turn: &[&str] = if turns { &["/turn"] } else { &[] };
            let expected = [turn, &["/1", "/2", "/3"]].concat();
            assert_eq!(paths(&exchanges), expected, "{turns} {first:?}");
            assert!(!given_up, "{turns} {first:?}");
        }
    }
}

#[test]
fn an_answer_may_be_the_first_to_show_that_its_request_is_missing() {
    let mut stream = Stream::behind(Tap::new(SERVER));
    stream
        .receive(&[get("/1"), get("/2")].concat(), MS)
        .send(&[answer("1"), answer("2")].concat(), 2 * MS);
    let missing = stream.tap.records.len();
    stream
        .receive(&get("/missing"), 3 * MS)
        .send(&answer("to what is missing"), 4 * MS)
        .receive(&get("/3"), 5 * MS)
        .send(&answer("3"), 6 * MS)
        .receive(&get("/4"), 2_000 * MS)
        .send(&answer("4"), 2_001 * MS);
    stream.tap.records.remove(missing);
    let (exchanges, given_up) = decode(&stream);
    // Whether more is missing than that request is not known before the connection falls silent.
    assert_eq!(paths(&exchanges), ["/1", "/2", "/4"]);
    assert!(!given_up);
}

#[test]
fn http2_is_decoded_once_frames_are_found() {
    let mut stream = Stream::behind(Tap::new(SERVER));
    stream
        .receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", MS)
        // The rest of a payload.
        .receive(&[0x55; 100], MS)
        .send(&[0xaa; 100], MS);
    for id in [1, 3, 5, 7] {
        exchange_of_http2(&mut stream, id);
    }
    stream.tap.records.remove(0);
    let (exchanges, given_up) = decode(&stream);
    assert!(!given_up);
    let ids: Vec<_> = exchanges
        .iter()
        .map(|exchange| exchange.key.message)
        .collect();
    assert_eq!(
        ids,
        [3, 5, 7],
        "what was read while either direction could not be is no exchange"
    );
}

#[test]
fn frames_are_found_where_their_headers_are_pieces_of_their_own() {
    let mut stream = Stream::behind(Tap::new(SERVER));
    let head = |id, block: &[u8]| [&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, id], block].concat();
    for id in (1..20).step_by(2) {
        let (request, answer) = (head(id, &[0x82, 0x84]), head(id, &[0x88]));
        stream.receive(&request[..9], MS).receive(&request[9..], MS);
        stream.send(&answer[..9], MS).send(&answer[9..], MS);
    }
    stream.tap.records.remove(0);
    let (exchanges, _) = decode(&stream);
    assert!(exchanges.len() >= 6, "{exchanges:?}");
}

#[test]
fn what_never_shows_what_it_is_is_given_up() {
    let mut stream = Stream::behind(Tap::new(SERVER));
    for n in 0..40_000 {
        stream.receive(&[0x55; 10], n);
    }
    stream.tap.records.remove(0);
    let (exchanges, given_up) = decode(&stream);
    assert!(exchanges.is_empty() && given_up);
}
