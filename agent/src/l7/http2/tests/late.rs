//! Connections that were open before.

use super::{
    super::{frame::kind, *},
    tape::*,
};

fn joined(requests: Option<Direction>) -> Connection {
    Connection::new(requests, Start::Joined, Limits::default())
}

/// The same, seen from call `from` on.
fn late(tape: &Tape, from: usize) -> Vec<Part> {
    tape.pieces().split_off(from)
}

#[test]
fn streams_that_start_later_are_decoded() {
    let mut tape = Tape::new();
    tape.request(&get(1, "/1"))
        .request(&get(3, "/3"))
        .answer(&[ok(1), data(3, flag::NONE, b"of before")].concat())
        .request(&get(5, "/5"))
        .answer(&data(3, flag::END_STREAM, b""))
        .answer(&ok(5));
    for requests in [Some(REQUESTS), None] {
        let outcome = decode_with(joined(requests), &late(&tape, 4));
        assert_eq!(outcome.streams.len(), 1, "{outcome:?}");
        assert_eq!(outcome.streams[0].request.path, "/5");
        if requests.is_some() {
            // Streams 1 and 3 ended, and began before.
            assert_eq!(outcome.losses, [("no_request", 2)].into());
        }
    }
}

#[test]
fn a_wrong_guess_of_who_asks_is_corrected_by_the_first_head() {
    let mut tape = Tape::new();
    tape.request(&get(1, "/1"))
        .answer(&ok(1))
        .answer(&data(3, flag::END_STREAM, b"of before"))
        .request(&get(5, "/5"))
        .answer(&ok(5))
        .request(&get(7, "/7"))
        .answer(&ok(7));
    for guess in [REQUESTS, ANSWERS] {
        for from in 4..7 {
            let outcome = decode_with(joined(Some(guess)), &late(&tape, from));
            let ids: Vec<_> = outcome.streams.iter().map(|stream| stream.id).collect();
            let whole = if from < 6 { &[5, 7][..] } else { &[7] };
            assert_eq!(ids, whole, "{guess:?} {from}");
        }
    }
}

#[test]
fn headers_of_before_are_unknown() {
    let indexed = |stream| frame(kind::HEADERS, flag::BOTH, stream, &[0x82, 0xbe]);
    let mut tape = Tape::new();
    tape.request(&frame(
        kind::HEADERS,
        flag::BOTH,
        1,
        &[&[0x82][..], &indexed_block(&[(":path", "/old")])].concat(),
    ))
    .answer(&ok(1))
    .request(&indexed(3))
    .answer(&ok(3))
    .request(&frame(
        kind::HEADERS,
        flag::BOTH,
        5,
        &[&[0x82][..], &indexed_block(&[(":path", "/new")])].concat(),
    ))
    .answer(&ok(5))
    .request(&indexed(7))
    .answer(&ok(7));
    assert_eq!(decode(&tape.pieces()).streams.len(), 4);
    let outcome = decode_with(joined(Some(REQUESTS)), &late(&tape, 4));
    assert_eq!(outcome.losses, [("header_unknown", 1)].into());
    let paths: Vec<_> = outcome
        .streams
        .iter()
        .map(|stream| (stream.id, stream.request.path.as_str()))
        .collect();
    assert_eq!(paths, [(5, "/new"), (7, "/new")]);
}

#[test]
fn an_unknown_status_is_none() {
    let mut tape = Tape::new();
    tape.request(&get(1, "/"))
        .answer(&frame(
            kind::HEADERS,
            flag::BOTH,
            1,
            &indexed_block(&[(":status", "299")]),
        ))
        .request(&get(3, "/"))
        .answer(&frame(kind::HEADERS, flag::BOTH, 3, &[0xbe]));
    assert_eq!(decode(&tape.pieces()).streams.len(), 2);
    let outcome = decode_with(joined(Some(REQUESTS)), &late(&tape, 4));
    assert_eq!(outcome.streams, []);
    assert_eq!(outcome.losses, [("header_unknown", 1)].into());
}

#[test]
fn a_start_within_a_header_block_is_stepped_over() {
    let mut tape = Tape::new();
    let block = block(&[(":method", "GET"), (":path", "/1")]);
    tape.request(&frame(kind::HEADERS, flag::END_STREAM, 1, &block[..9]))
        .request(&frame(
            kind::CONTINUATION,
            flag::END_HEADERS,
            1,
            &block[9..],
        ))
        .request(&get(3, "/3"))
        .answer(&ok(3));
    let outcome = decode_with(joined(Some(REQUESTS)), &late(&tape, 3));
    assert_eq!(outcome.losses, [("header_unknown", 1)].into());
    assert_eq!(outcome.streams.len(), 1);
}

#[test]
fn a_start_within_a_frame_is_noticed() {
    let mut tape = Tape::new();
    tape.request(&data(1, 0, &[b'x'; 100]));
    let mut pieces = tape.pieces();
    let mut piece = pieces.remove(2);
    piece.data.drain(..20);
    piece.length -= 20;
    let mut connection = joined(Some(REQUESTS));
    connection.piece(&piece.piece(), &mut |event| panic!("{event:?}"));
    assert!(connection.is_broken());
}

#[test]
fn any_start_gives_what_is_right_and_nothing_else() {
    let mut tape = Tape::new();
    let mut paths = 0_u8;
    for stream in (1..60).step_by(2) {
        // Every third path is new, the others refer to the newest.
        let block = if stream % 3 == 1 {
            paths += 1;
            let path = format!("/path/{paths}");
            [&[0x82][..], &indexed_block(&[(":path", &path)])].concat()
        } else {
            vec![0x82, 0xbe]
        };
        tape.request(&frame(kind::HEADERS, flag::BOTH, stream, &block))
            .answer(&ok(stream));
    }
    let whole = decode(&tape.pieces()).streams;
    assert_eq!(whole.len(), 30);
    for from in 2..tape.calls.len() {
        let outcome = decode_with(joined(Some(REQUESTS)), &late(&tape, from));
        for stream in &outcome.streams {
            assert!(whole.contains(stream), "{from}: {stream:?}");
        }
        assert_eq!(outcome.all(), (tape.calls.len() - from).div_ceil(2) as u64);
    }
}
