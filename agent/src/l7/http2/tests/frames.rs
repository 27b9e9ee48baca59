//! Frames, whole and cut, right and wrong.

use super::{
    super::{frame::kind, *},
    tape::*,
};

#[test]
fn any_cut_gives_the_same() {
    let mut tape = Tape::new();
    for stream in (1..40).step_by(2) {
        let body = vec![b'x'; stream as usize * 40];
        tape.request(&headers(
            stream,
            flag::END_HEADERS,
            &[
                (":method", "POST"),
                (":path", "/a.B/C"),
                ("content-type", "application/grpc"),
            ],
        ))
        .request(
            &[
                data(stream, flag::NONE, b"\0\0\0"),
                data(stream, flag::END_STREAM, &[&[0, 1][..], b"x"].concat()),
            ]
            .concat(),
        )
        .answer(&frame(0xfa, 0xff, 0x8000_0001, b"nobody knows this type"))
        .answer(&headers(stream, flag::END_HEADERS, &[(":status", "200")]))
        .answer(&data(stream, flag::NONE, &body))
        .answer(&headers(stream, flag::BOTH, &[("grpc-status", "0")]));
    }
    let whole = tape.pieces();
    let expected = decode(&whole);
    assert_eq!(expected.streams.len(), 20);
    assert_eq!(expected.losses, Losses::new());
    let holes = tape.pieces_with_holes();
    assert!(
        holes
            .iter()
            .any(|piece| (piece.data.len() as u64) < piece.length)
    );
    assert_eq!(decode(&holes), expected);
    let mut random = Random(1);
    for one_in in [1, 2, 3, 10, 100] {
        for _ in 0..5 {
            assert_eq!(decode(&cut(&whole, &mut random, one_in)), expected);
            assert_eq!(decode(&cut(&holes, &mut random, one_in)), expected);
        }
    }
}

fn fault(direction: Direction, bytes: &[u8]) -> Option<Fault> {
    let mut tape = Tape::new();
    tape.request(&get(1, "/")).call(direction, bytes);
    let mut connection = connection();
    let mut outcome = Outcome::default();
    for piece in tape.pieces() {
        connection.piece(&piece.piece(), &mut |event| outcome.take(event));
    }
    assert_eq!(outcome.streams, []);
    if connection.is_broken() {
        assert_eq!(outcome.losses, [("frame_error", 1)].into());
        assert_eq!(connection.open(), 0);
    }
    connection.fault()
}

#[test]
fn frames_that_may_not_be_sent_break_the_connection() {
    let is_frame = |fault| matches!(fault, Some(Fault::Frame { .. }));
    for bytes in [
        data(0, 0, b"x"),
        headers(0, flag::BOTH, &[(":status", "200")]),
        frame(kind::RST_STREAM, 0, 1, &[0; 5]),
        frame(kind::RST_STREAM, 0, 0, &[0; 4]),
        frame(kind::PRIORITY, 0, 1, &[0; 4]),
        frame(kind::SETTINGS, 0, 0, &[0; 5]),
        frame(kind::SETTINGS, 1, 0, &[0; 6]),
        frame(kind::SETTINGS, 0, 1, &[0; 6]),
        frame(kind::PING, 0, 0, &[0; 7]),
        frame(kind::GOAWAY, 0, 0, &[0; 7]),
        frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]),
        frame(kind::HEADERS, flag::PRIORITY, 1, &[0; 4]),
    ] {
        assert!(is_frame(fault(ANSWERS, &bytes)), "{bytes:?}");
    }
    // A client's even stream.
    assert!(is_frame(fault(REQUESTS, &get(2, "/"))));
    assert_eq!(
        fault(ANSWERS, &data(1, flag::PADDED, &[5, 0, 0])),
        Some(Fault::Padding)
    );
    let open = frame(kind::HEADERS, 0, 1, &[0x88]);
    for next in [
        data(1, 0, b"x"),
        frame(kind::CONTINUATION, flag::END_HEADERS, 3, b""),
    ] {
        assert_eq!(
            fault(ANSWERS, &[open.clone(), next].concat()),
            Some(Fault::Interrupted)
        );
    }
    assert_eq!(
        fault(
            ANSWERS,
            &frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"")
        ),
        Some(Fault::Interrupted)
    );
    assert_eq!(
        fault(ANSWERS, &frame(kind::HEADERS, flag::BOTH, 1, &[0xbe])),
        Some(Fault::Hpack(crate::l7::hpack::Error::Index(62)))
    );
    assert_eq!(
        fault(
            REQUESTS,
            &frame(
                kind::PUSH_PROMISE,
                flag::END_HEADERS,
                1,
                &[0, 0, 0, 2, 0x82]
            )
        ),
        Some(Fault::Promise)
    );
    // And what is right does not.
    assert_eq!(fault(ANSWERS, &frame(kind::PRIORITY, 0, 9, &[0; 5])), None);
    assert_eq!(fault(ANSWERS, &frame(0x99, 0xff, 0, b"anything")), None);
}

#[test]
fn what_does_not_start_as_http2_is_given_up() {
    for (direction, bytes) in [
        (REQUESTS, &b"GET / HTTP/1.1\r\n\r\n"[..]),
        (REQUESTS, b"PRI * HTTP/1.1\r\n\r\n"),
        (ANSWERS, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (ANSWERS, &data(1, 0, b"x")),
    ] {
        for requests in [Some(REQUESTS), None] {
            let mut connection = Connection::new(requests, Start::Preface, Limits::default());
            let mut tape = Tape::default();
            tape.call(direction, bytes);
            for piece in tape.pieces() {
                connection.piece(&piece.piece(), &mut |event| panic!("{event:?}"));
            }
            assert_eq!(connection.fault(), Some(Fault::NoPreface), "{bytes:?}");
        }
    }
}

#[test]
fn the_preface_tells_who_the_client_is() {
    let mut tape = Tape::new();
    tape.request(&get(1, "/")).answer(&ok(1));
    let expected = decode(&tape.pieces());
    assert_eq!(expected.streams.len(), 1);
    let unknown = || Connection::new(None, Start::Preface, Limits::default());
    assert_eq!(decode_with(unknown(), &tape.pieces()), expected);
    // Whichever direction is seen first.
    let mut pieces = tape.pieces();
    pieces.swap(0, 1);
    assert_eq!(decode_with(unknown(), &pieces), expected);
    let single = cut(&pieces, &mut Random(1), 1);
    assert_eq!(decode_with(unknown(), &single), expected);
}

#[test]
fn an_upgraded_connection_starts_with_stream_1() {
    let mut tape = Tape::new();
    tape.answer(&ok(1)).request(&get(3, "/3")).answer(&ok(3));
    let pieces = tape.pieces();
    let mut connection = Connection::new(Some(REQUESTS), Start::Upgraded, Limits::default());
    connection.upgraded(upgrade(), 99);
    let outcome = decode_with(connection, &pieces);
    assert_eq!(outcome.losses, Losses::new());
    let [first, second] = outcome.streams.as_slice() else {
        panic!("{outcome:?}")
    };
    assert_eq!((first.id, first.request_bytes), (1, 99));
    assert_eq!(first.request, upgrade());
    assert_eq!(first.end_ns, 300);
    assert_eq!(second.request.path, "/3");
}

#[test]
fn pieces_that_come_late_are_missing_and_ones_that_overlap_break_the_connection() {
    let mut tape = Tape::new();
    tape.request(&get(1, "/1"))
        .request(&get(3, "/3"))
        .answer(&[ok(1), ok(3)].concat());
    let whole = decode(&tape.pieces());
    let mut pieces = tape.pieces();
    pieces.insert(4, pieces[2].clone());
    assert_eq!(decode(&pieces), whole);

    let mut pieces = tape.pieces();
    pieces.swap(2, 3);
    let outcome = decode(&pieces);
    assert_eq!(outcome.losses, [("record_lost", 1)].into());
    assert_eq!(outcome.streams, whole.streams[1..]);

    let mut pieces = tape.pieces();
    pieces[3].position -= 1;
    let outcome = decode(&pieces);
    assert_eq!(outcome.streams, []);
    assert_eq!(outcome.losses, [("out_of_order", 1)].into());
}
