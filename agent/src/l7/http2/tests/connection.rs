//! What becomes of streams.

use super::{
    super::{frame::kind, *},
    tape::*,
};
use crate::l7::exchange::Thread;
use crate::l7::grpc::Messages;

fn only(tape: &Tape) -> Stream {
    let mut outcome = decode(&tape.pieces());
    assert_eq!(outcome.losses, Losses::new());
    assert_eq!(outcome.streams.len(), 1, "{outcome:?}");
    outcome.streams.remove(0)
}

fn losses(tape: &Tape) -> Vec<(&'static str, u64)> {
    let outcome = decode(&tape.pieces());
    assert_eq!(outcome.streams, []);
    outcome.losses.into_iter().collect()
}

#[test]
fn a_stream_is_an_exchange() {
    let mut tape = Tape::new();
    let request = headers(
        1,
        flag::END_HEADERS,
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "user:secret@host"),
            (":path", "/users/7?key=secret"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ],
    );
    tape.request(&request)
        .request(&data(1, flag::END_STREAM, b"hello"))
        .answer(&headers(1, flag::END_HEADERS, &[(":status", "201")]))
        .answer(&data(1, flag::NONE, b"abc"))
        .answer(&data(1, flag::END_STREAM, b""));
    let stream = only(&tape);
    assert_eq!(stream.id, 1);
    let Request {
        thread,
        method,
        path,
        start_ns,
        parent,
        trace_state,
    } = stream.request;
    assert_eq!(thread, Thread::new(7, 8));
    assert_eq!((method.as_str(), path.as_str()), ("POST", "/users/7"));
    assert_eq!((start_ns, stream.end_ns), (300, 700));
    assert_eq!(parent.map(|parent| parent.flags), Some(1));
    assert_eq!(trace_state.as_deref(), Some("a=1,b=2"));
    assert_eq!(stream.status, Ok(201));
    assert_eq!(stream.cut, None);
    assert_eq!(stream.request_bytes, request.len() as u64 - 9 + 5);
    assert_eq!(stream.response_bytes, 13 + 3);
    assert_eq!(stream.rpc, None);
}

#[test]
fn interim_answers_and_trailers_are_parts_of_it() {
    let mut tape = Tape::new();
    tape.request(&get(1, "/"))
        .answer(&headers(1, flag::END_HEADERS, &[(":status", "103")]))
        .answer(&headers(1, flag::END_HEADERS, &[(":status", "100")]))
        .answer(&headers(1, flag::END_HEADERS, &[(":status", "404")]))
        .answer(&data(1, flag::NONE, b"x"))
        .answer(&headers(1, flag::BOTH, &[("checksum", "1")]));
    let stream = only(&tape);
    assert_eq!((stream.status, stream.end_ns), (Ok(404), 800));
}

#[test]
fn padding_and_priority_are_no_content() {
    let mut payload = vec![3, 0, 0, 0, 0, 16];
    payload.extend(block(&[(":method", "GET"), (":path", "/padded")]));
    payload.extend([0; 3]);
    let flags = flag::BOTH | flag::PADDED | flag::PRIORITY;
    let mut tape = Tape::new();
    tape.request(&frame(kind::HEADERS, flags, 1, &payload))
        .answer(&headers(
            1,
            flag::END_HEADERS,
            &[(":status", "200"), ("content-type", "application/grpc")],
        ))
        .answer(&data(1, flag::PADDED, b"\x02\0\0\0\0\x01a\0\0"))
        .answer(&data(1, flag::END_STREAM | flag::PADDED, b"\x00"));
    let stream = only(&tape);
    assert_eq!(stream.request.path, "/padded");
    assert_eq!(stream.request_bytes, payload.len() as u64);
    assert_eq!(stream.status, Ok(200));
    // It is no call: the request was none.
    assert_eq!(stream.rpc, None);
}

#[test]
fn a_block_goes_on_in_continuations() {
    let fields = block(&[(":method", "GET"), (":path", "/long"), ("cookie", "a")]);
    for size in 1..=fields.len() {
        let mut parts = fields.chunks(size).peekable();
        let mut bytes = Vec::new();
        let mut first = true;
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let end = if last { flag::END_HEADERS } else { flag::NONE };
            if std::mem::take(&mut first) {
                bytes.extend(frame(kind::HEADERS, end | flag::END_STREAM, 1, part));
            } else {
                bytes.extend(frame(kind::CONTINUATION, end, 1, part));
            }
        }
        let mut tape = Tape::new();
        tape.request(&bytes).answer(&ok(1));
        let stream = only(&tape);
        assert_eq!(stream.request.path, "/long");
        assert_eq!(stream.request_bytes, fields.len() as u64);
    }
}

#[test]
fn resets_end_a_stream() {
    let reset = frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let mut tape = Tape::new();
    tape.request(&get(1, "/")).request(&reset).answer(&ok(1));
    let stream = only(&tape);
    assert_eq!(stream.status, Err(Unanswered::Reset(8)));
    assert_eq!(stream.end_ns, 400);

    // In the midst of the answer.
    let mut tape = Tape::new();
    tape.request(&get(1, "/"))
        .answer(&headers(1, flag::END_HEADERS, &[(":status", "200")]))
        .answer(&data(1, flag::NONE, b"part"))
        .answer(&reset);
    let stream = only(&tape);
    assert_eq!(stream.status, Ok(200));
    assert_eq!(stream.cut, Some(Unanswered::Reset(8)));
    assert_eq!(stream.end_ns, 600);

    // Behind an answer that came before the request's end: it is whole.
    let mut tape = Tape::new();
    tape.request(&headers(
        1,
        flag::END_HEADERS,
        &[(":method", "PUT"), (":path", "/")],
    ))
    .request(&data(1, flag::NONE, b"part"))
    .answer(&ok(1))
    .answer(&frame(kind::RST_STREAM, 0, 1, &[0; 4]));
    let stream = only(&tape);
    assert_eq!((stream.status, stream.cut), (Ok(200), None));
    assert_eq!(stream.end_ns, 500);
}

#[test]
fn an_early_answer_waits_for_the_end_of_the_request() {
    let mut tape = Tape::new();
    tape.request(&headers(
        1,
        flag::END_HEADERS,
        &[(":method", "PUT"), (":path", "/")],
    ))
    .answer(&ok(1))
    .request(&data(1, flag::END_STREAM, b"the body"));
    let stream = only(&tape);
    assert_eq!(stream.end_ns, 400);
    assert_eq!(stream.request_bytes, 22 + 8);
}

#[test]
fn a_server_that_goes_away_names_what_it_did_not_take() {
    let mut tape = Tape::new();
    tape.request(&[get(1, "/1"), get(3, "/3"), get(5, "/5")].concat())
        .answer(&frame(
            kind::GOAWAY,
            0,
            0,
            &[0x7f, 255, 255, 255, 0, 0, 0, 0],
        ))
        .answer(&frame(kind::GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\0debug data"))
        .answer(&ok(1))
        .request(&get(7, "/7"));
    let outcome = decode(&tape.pieces());
    assert_eq!(outcome.losses, Losses::new());
    let statuses: Vec<_> = outcome
        .streams
        .iter()
        .map(|stream| (stream.id, stream.status))
        .collect();
    let gone = Err(Unanswered::GoneAway);
    assert_eq!(statuses, [(3, gone), (5, gone), (1, Ok(200)), (7, gone)]);
}

#[test]
fn the_end_of_the_connection_ends_its_streams() {
    let mut tape = Tape::new();
    tape.request(&[get(1, "/1"), get(3, "/3")].concat())
        .answer(&headers(3, flag::END_HEADERS, &[(":status", "200")]))
        .request(&get(5, "/5")[..20]);
    let outcome = decode(&tape.pieces());
    assert_eq!(outcome.losses, [("bad_request", 1)].into());
    let [first, second] = outcome.streams.as_slice() else {
        panic!("{outcome:?}")
    };
    assert_eq!(first.status, Err(Unanswered::Closed));
    assert_eq!(second.status, Ok(200));
    assert_eq!(second.cut, Some(Unanswered::Closed));
    assert_eq!(second.end_ns, 1_000_000_000);
}

#[test]
fn tunnels_are_long_exchanges() {
    let mut tape = Tape::new();
    tape.request(&headers(
        1,
        flag::END_HEADERS,
        &[(":method", "CONNECT"), (":authority", "db:5432")],
    ))
    .request(&headers(
        3,
        flag::END_HEADERS,
        &[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":path", "/chat"),
        ],
    ))
    .answer(&headers(1, flag::END_HEADERS, &[(":status", "200")]))
    .answer(&headers(3, flag::END_HEADERS, &[(":status", "200")]))
    .answer(&data(3, flag::NONE, b"hello"))
    .request(&data(3, flag::END_STREAM, b"bye"))
    .answer(&data(3, flag::END_STREAM, b""))
    .request(&data(1, flag::END_STREAM, b""))
    .answer(&data(1, flag::END_STREAM, b""));
    let outcome = decode(&tape.pieces());
    let told: Vec<_> = outcome
        .streams
        .iter()
        .map(|stream| {
            let request = &stream.request;
            (
                request.method.as_str(),
                request.path.as_str(),
                stream.end_ns,
            )
        })
        .collect();
    assert_eq!(told, [("CONNECT", "/chat", 900), ("CONNECT", "", 1100)]);
}

#[test]
fn an_answer_seen_before_its_request_waits_for_it() {
    let mut tape = Tape::new();
    tape.request(&get(1, "/1"))
        .answer(&[ok(1), ok(3)].concat())
        .request(&get(3, "/3"))
        // Nobody asks for this one: the next request has a higher id.
        .answer(&ok(5))
        .request(&get(7, "/7"))
        .answer(&ok(7));
    let outcome = decode(&tape.pieces());
    assert_eq!(outcome.losses, [("no_request", 1)].into());
    let told: Vec<_> = outcome
        .streams
        .iter()
        .map(|stream| (stream.id, stream.request.start_ns, stream.end_ns))
        .collect();
    assert_eq!(told, [(1, 300, 400), (3, 400, 400), (7, 700, 800)]);
}

#[test]
fn pushes_are_counted() {
    let mut payload = vec![0, 0, 0, 2];
    payload.extend(indexed_block(&[(":method", "GET"), (":path", "/pushed")]));
    let mut tape = Tape::new();
    tape.request(&get(1, "/"))
        .answer(&frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &payload))
        .answer(&ok(1))
        .answer(&headers(2, flag::END_HEADERS, &[(":status", "200")]))
        .answer(&data(2, flag::END_STREAM, b"unasked"));
    let outcome = decode(&tape.pieces());
    assert_eq!(outcome.losses, [("pushed", 1)].into());
    assert_eq!(outcome.streams.len(), 1);
}

#[test]
fn streams_beyond_the_limit_are_counted() {
    let mut tape = Tape::new();
    for id in 0..10 {
        tape.request(&get(2 * id + 1, "/"));
    }
    for id in 0..10 {
        tape.answer(&ok(2 * id + 1));
    }
    let limits = Limits {
        streams: NonZeroUsize::new(4).expect("four"),
    };
    let connection = Connection::new(Some(REQUESTS), Start::Preface, limits);
    let outcome = decode_with(connection, &tape.pieces());
    assert_eq!(outcome.streams.len(), 4);
    assert_eq!(outcome.losses, [("too_many_streams", 6)].into());
}

#[test]
fn long_paths_count_as_several_streams() {
    let mut tape = Tape::new();
    for id in 0..10 {
        let path = "/".repeat(5000);
        let mut block = vec![0x82, 0x04, 0x7f, 0x89, 0x26];
        block.extend(path.as_bytes());
        tape.request(&frame(kind::HEADERS, flag::BOTH, 2 * id + 1, &block));
    }
    for id in 0..10 {
        tape.answer(&ok(2 * id + 1));
    }
    let limits = Limits {
        streams: NonZeroUsize::new(30).expect("thirty"),
    };
    let connection = Connection::new(Some(REQUESTS), Start::Preface, limits);
    let outcome = decode_with(connection, &tape.pieces());
    assert_eq!(outcome.streams.len(), 3);
    assert_eq!(outcome.streams[0].request.path.len(), 5000);
    assert_eq!(outcome.losses, [("too_many_streams", 7)].into());
}

#[test]
fn an_idle_connection_is_small() {
    assert!(
        size_of::<Connection>() <= 1024,
        "{}",
        size_of::<Connection>()
    );
}

#[test]
fn heads_that_are_none_are_counted() {
    let request = |fields: &[(&str, &str)]| {
        let mut tape = Tape::new();
        tape.request(&headers(1, flag::BOTH, fields)).answer(&ok(1));
        losses(&tape)
    };
    let bad = [("bad_request", 1)];
    assert_eq!(request(&[(":method", "GET")]), bad);
    assert_eq!(request(&[(":path", "/")]), bad);
    assert_eq!(request(&[(":method", "G T"), (":path", "/")]), bad);
    assert_eq!(request(&[(":method", "GET"), (":path", "")]), bad);
    assert_eq!(
        request(&[(":method", "GET"), (":path", "/a"), (":path", "/b")]),
        bad
    );
    let answer = |bytes: &[u8]| {
        let mut tape = Tape::new();
        tape.request(&get(1, "/")).answer(bytes);
        losses(&tape)
    };
    let bad = [("bad_response", 1)];
    assert_eq!(answer(&headers(1, flag::BOTH, &[("a", "b")])), bad);
    assert_eq!(answer(&headers(1, flag::BOTH, &[(":status", "20")])), bad);
    assert_eq!(answer(&headers(1, flag::BOTH, &[(":status", "100")])), bad);
    assert_eq!(answer(&data(1, flag::END_STREAM, b"no head")), bad);
}

const CALL: &[(&str, &str)] = &[
    (":method", "POST"),
    (":path", "/helloworld.Greeter/SayHello"),
    ("content-type", "application/grpc+proto"),
    ("te", "trailers"),
];

#[test]
fn grpc_calls_are_told() {
    let mut tape = Tape::new();
    tape.request(&headers(1, flag::END_HEADERS, CALL))
        .request(&data(1, flag::NONE, b"\0\0\0\0\x03abc\0\0"))
        .request(&data(1, flag::END_STREAM, b"\0\0\x01d"))
        .answer(&headers(
            1,
            flag::END_HEADERS,
            &[(":status", "200"), ("content-type", "application/grpc")],
        ))
        .answer(&data(1, flag::NONE, b"\0\0\0\0\0"))
        .answer(&headers(
            1,
            flag::BOTH,
            &[("grpc-status", "5"), ("grpc-message", "no such")],
        ));
    let call = only(&tape).rpc.expect("a call");
    assert_eq!(call.service, "helloworld.Greeter");
    assert_eq!(call.method, "SayHello");
    assert_eq!(call.status, Some(5));
    let messages = |count, bytes| Messages {
        count: Some(count),
        bytes,
    };
    assert_eq!(call.request, messages(2, 14));
    assert_eq!(call.response, messages(1, 5));
}

#[test]
fn grpc_trailers_only_and_answers_of_others() {
    let mut tape = Tape::new();
    tape.request(&headers(1, flag::BOTH, CALL)).answer(&headers(
        1,
        flag::BOTH,
        &[
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "12"),
        ],
    ));
    let call = only(&tape).rpc.expect("a call");
    assert_eq!(call.status, Some(12));
    assert_eq!(call.response.count, Some(0));

    let mut tape = Tape::new();
    tape.request(&headers(1, flag::BOTH, CALL))
        .answer(&headers(
            1,
            flag::END_HEADERS,
            &[(":status", "502"), ("content-type", "text/html")],
        ))
        .answer(&data(1, flag::END_STREAM, b"<html>"));
    let stream = only(&tape);
    assert_eq!(stream.status, Ok(502));
    let call = stream.rpc.expect("a call");
    assert_eq!(call.status, None);
    assert_eq!(
        call.response,
        Messages {
            count: None,
            bytes: 6
        }
    );
}
