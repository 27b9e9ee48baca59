//! Where a message ends, and what must not be taken for one.

use super::{
    tap::{SERVER, Tap, decode},
    *,
};

fn statuses(tap: &Tap) -> (Vec<u16>, Arc<Counts>) {
    let (exchanges, counts) = decode(&tap.records);
    (
        exchanges
            .iter()
            .filter_map(|exchange| exchange.status.ok())
            .collect(),
        counts,
    )
}

#[test]
fn responses_without_a_body_are_whole_with_their_head() {
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
        ),
    ] {
        let mut tap = Tap::new(SERVER);
        tap.receive(format!("{method} / HTTP/1.1\r\n\r\n").as_bytes(), 1)
            .send(head.as_bytes(), 2);
        let (exchanges, _) = decode(&tap.records);
        assert_eq!(exchanges.len(), 1, "{method} {head}");
        assert_eq!(exchanges[0].response_bytes, head.len() as u64);
    }
}

#[test]
fn a_small_chunked_response_is_whole_with_its_last_chunk() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1);
    tap.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        2,
    );
    assert_eq!(statuses(&tap).0, [200]);
}

#[test]
fn a_chunked_response_in_two_calls_ends_with_the_next_request() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1);
    tap.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 2)
        .send(b"5\r\nhello\r\n0\r\n\r\n", 7);
    assert!(statuses(&tap).0.is_empty());
    tap.receive(GET, 8);
    let (exchanges, _) = decode(&tap.records);
    assert_eq!(
        (exchanges[0].end_ns, exchanges[0].response_bytes),
        (7, 47 + 15)
    );
}

#[test]
fn a_response_without_framing_ends_with_the_connection() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"GET / HTTP/1.0\r\n\r\n", 1)
        .send(b"HTTP/1.0 200 OK\r\n\r\nabc", 2)
        .send(b"def", 3);
    assert!(statuses(&tap).0.is_empty());
    tap.close(9);
    let (exchanges, _) = decode(&tap.records);
    assert_eq!(
        (
            exchanges[0].version,
            exchanges[0].end_ns,
            exchanges[0].response_bytes
        ),
        ("1.0", 3, 25)
    );
}

#[test]
fn a_100_continue_is_no_answer() {
    let mut tap = Tap::new(SERVER);
    let head = b"PUT /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    tap.receive(head, 1)
        .send(b"HTTP/1.1 100 Continue\r\n\r\n", 2);
    // The body reads like a request, and is none.
    tap.receive(b"GET / HTT", 3)
        .send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 4);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(exchanges.len(), 1);
    assert_eq!(
        (
            exchanges[0].status,
            exchanges[0].start_ns,
            exchanges[0].end_ns
        ),
        (Ok(201), 1, 4)
    );
    assert_eq!(exchanges[0].request_bytes, head.len() as u64 + 9);
    assert_eq!(exchanges[0].response_bytes, 43, "the final answer's alone");
    assert_eq!(counts.lost(), 0);
}

#[test]
fn a_final_answer_may_follow_an_interim_one_in_the_same_call() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1);
    tap.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 2);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(
        (exchanges[0].status, exchanges[0].response_bytes),
        (Ok(200), 39)
    );
    assert_eq!(counts.lost(), 0);
}

#[test]
fn a_final_answer_that_was_not_captured_is_counted_and_not_guessed() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1)
        .send(b"HTTP/1.1 103 Early Hints\r\n\r\n", 2);
    tap.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 3);
    tap.receive(GET, 4).send(OK, 5);
    let (seen, counts) = statuses(&tap);
    assert_eq!(seen, [200], "the second exchange");
    assert_eq!(counts.exchanges(ExchangeOutcome::FinalUnseen), 1);
}

#[test]
fn a_response_may_come_before_the_end_of_the_request() {
    let mut tap = Tap::new(SERVER);
    let head = b"POST /big HTTP/1.1\r\nContent-Length: 3000\r\n\r\n";
    tap.receive(head, 1).receive(&[b'x'; 1000], 2);
    tap.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", 3);
    tap.receive(&[b'x'; 2000], 4).send(b"", 5);
    tap.receive(GET, 6).send(OK, 7);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(counts.lost(), 0, "{counts:?}");
    let seen: Vec<_> = exchanges
        .iter()
        .map(|exchange| (exchange.status, exchange.end_ns, exchange.request_bytes))
        .collect();
    assert_eq!(
        seen,
        [
            (Ok(413), 3, head.len() as u64 + 3000),
            (Ok(200), 7, GET.len() as u64)
        ]
    );
}

#[test]
fn a_response_may_come_before_the_end_of_the_request_and_end_the_connection() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"POST /big HTTP/1.1\r\nContent-Length: 3000\r\n\r\n", 1);
    tap.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", 3)
        .close(4);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(
        (
            exchanges[0].status,
            exchanges[0].end_ns,
            exchanges[0].request_bytes
        ),
        (Ok(413), 3, 44)
    );
    assert_eq!((exchanges.len(), counts.lost()), (1, 0));
}

#[test]
fn a_refused_expectation_is_followed_by_the_next_request() {
    let mut tap = Tap::new(SERVER);
    tap.receive(
        b"PUT /f HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 900\r\n\r\n",
        1,
    );
    tap.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", 2)
        .receive(GET, 3)
        .send(OK, 4);
    assert_eq!(statuses(&tap).0, [417, 200]);
}

#[test]
fn pipelined_requests_are_counted_as_many_as_are_seen() {
    let mut tap = Tap::new(SERVER);
    tap.receive(&[GET, GET, GET].concat(), 1)
        .send(&[OK, OK, OK].concat(), 2);
    tap.receive(&[GET, GET].concat(), 3)
        .send(&[OK, OK].concat(), 4)
        .close(5);
    let (exchanges, counts) = decode(&tap.records);
    assert!(exchanges.is_empty(), "{exchanges:?}");
    assert_eq!(counts.exchanges(ExchangeOutcome::Pipelined), 5);
    assert_eq!(counts.lost(), 5);
}

#[test]
fn a_pipelined_request_in_a_later_call_is_seen_by_the_totals() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1)
        .receive(GET, 2)
        .send(OK, 3)
        .send(OK, 4)
        .close(5);
    let (exchanges, counts) = decode(&tap.records);
    assert!(exchanges.is_empty());
    assert_eq!(counts.exchanges(ExchangeOutcome::Pipelined), 2);
}

#[test]
fn an_empty_line_behind_a_request_is_no_request() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx\r\n", 1)
        .send(OK, 2);
    assert_eq!(statuses(&tap).0, [200]);
}

#[test]
fn an_upgraded_connection_is_one_exchange() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 1);
    tap.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        2,
    );
    tap.receive(b"\x81\x05hello", 3)
        .send(OK, 4)
        .receive(GET, 5)
        .send(OK, 6)
        .close(7);
    let (seen, counts) = statuses(&tap);
    assert_eq!((seen.as_slice(), counts.lost()), ([101].as_slice(), 0));
    assert_eq!(counts.records(RecordOutcome::Upgraded), 4);
}

#[test]
fn a_tunnel_is_one_exchange() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n", 1)
        .send(b"HTTP/1.1 200 OK\r\n\r\n", 2);
    tap.receive(GET, 3).send(OK, 4).close(5);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!((exchanges.len(), counts.lost()), (1, 0));
    assert_eq!(
        (exchanges[0].method.as_str(), exchanges[0].path.as_str()),
        ("CONNECT", "")
    );
}

#[test]
fn a_connection_that_was_joined_late_starts_with_the_next_request() {
    let mut tap = Tap::new(fathom_abi::Role::UNKNOWN);
    tap.send(b"the rest of a body", 1)
        .receive(GET, 2)
        .send(OK, 3)
        .close(4);
    let (seen, counts) = statuses(&tap);
    assert_eq!((seen.as_slice(), counts.lost()), ([200].as_slice(), 0));
    assert_eq!(counts.records(RecordOutcome::NotHttp), 1);
}

#[test]
fn an_answer_whose_request_was_not_seen_is_counted() {
    let mut tap = Tap::new(fathom_abi::Role::UNKNOWN);
    tap.send(OK, 1).receive(GET, 2).send(OK, 3).close(4);
    let (seen, counts) = statuses(&tap);
    assert_eq!(
        (
            seen.as_slice(),
            counts.exchanges(ExchangeOutcome::NoRequest)
        ),
        ([200].as_slice(), 1)
    );
}

#[test]
fn what_is_no_http_makes_nothing() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"*1\r\n$4\r\nPING\r\n", 1)
        .send(b"+PONG\r\n", 2)
        .receive(b"\x16\x03\x01\x02\x00\x01", 3)
        .send(b"\x16\x03\x03", 4);
    let (exchanges, counts) = decode(&tap.records);
    assert!(exchanges.is_empty());
    assert_eq!(
        (counts.lost(), counts.records(RecordOutcome::NotHttp)),
        (0, 4)
    );
}

#[test]
fn an_answer_that_is_no_http_is_counted() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"GET /old\r\n", 1)
        .send(b"<html>", 2)
        .receive(GET, 3)
        .send(OK, 4);
    let (seen, counts) = statuses(&tap);
    assert_eq!(
        (
            seen.as_slice(),
            counts.exchanges(ExchangeOutcome::BadResponse)
        ),
        ([200].as_slice(), 1)
    );
}

#[test]
fn more_than_the_framing_allows_is_no_answer() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1)
        .send(OK, 2)
        .send(b"HTTP/1.1 408 Timeout\r\n\r\n", 70)
        .receive(GET, 80);
    let (seen, counts) = statuses(&tap);
    assert_eq!(seen, [200], "it was whole before");
    assert_eq!(
        counts.exchanges(ExchangeOutcome::NoRequest),
        1,
        "the 408 answers nothing"
    );
}

#[test]
fn a_head_longer_than_the_capture_is_read_as_far_as_it_goes() {
    let mut tap = Tap::new(SERVER);
    let cookie = "c".repeat(3000);
    let request = format!("GET /p HTTP/1.1\r\nCookie: {cookie}\r\n\r\n");
    tap.receive(request.as_bytes(), 1).send(OK, 2);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!(
        (exchanges[0].path.as_str(), exchanges[0].request_bytes),
        ("/p", request.len() as u64)
    );
    assert_eq!(counts.lost(), 0);
}

#[test]
fn a_target_longer_than_the_capture_keeps_its_start() {
    let mut tap = Tap::new(SERVER);
    tap.receive(
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(5000)).as_bytes(),
        1,
    )
    .send(OK, 2);
    let (exchanges, _) = decode(&tap.records);
    assert_eq!(exchanges[0].path.len(), 1024 - "GET ".len());
    assert_eq!(exchanges[0].version, "1.1", "the answer's");
}

#[test]
fn a_head_in_single_bytes_is_put_together() {
    let mut tap = Tap::new(SERVER);
    let request = b"GET /slow HTTP/1.1\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    for (at, byte) in request.iter().enumerate() {
        tap.receive(&[*byte], 1 + at as u64);
    }
    for (at, byte) in OK.iter().enumerate() {
        tap.send(&[*byte], 1000 + at as u64);
    }
    tap.close(5000);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!((exchanges.len(), counts.lost()), (1, 0));
    assert_eq!(
        (exchanges[0].path.as_str(), exchanges[0].status),
        ("/slow", Ok(200))
    );
    assert_eq!(
        exchanges[0].parent.map(|parent| parent.span_id[0]),
        Some(0xb7)
    );
    assert_eq!(
        (exchanges[0].start_ns, exchanges[0].end_ns),
        (1, 1000 + OK.len() as u64 - 1)
    );
}

#[test]
fn a_request_that_its_sender_did_not_finish_is_counted() {
    let mut tap = Tap::new(SERVER);
    tap.receive(b"GET /unfini", 1).close(2);
    let (exchanges, counts) = decode(&tap.records);
    assert!(exchanges.is_empty());
    assert_eq!(counts.exchanges(ExchangeOutcome::BadRequest), 1);
}

#[test]
fn an_answer_that_could_not_be_captured_is_counted() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1);
    tap.unreadable = true;
    tap.send(OK, 2);
    tap.unreadable = false;
    tap.receive(GET, 3).send(OK, 4);
    let (seen, counts) = statuses(&tap);
    assert_eq!(
        (
            seen.as_slice(),
            counts.exchanges(ExchangeOutcome::Unreadable)
        ),
        ([200].as_slice(), 1)
    );
    assert_eq!(counts.lost(), 1);
}

#[test]
fn a_request_that_could_not_be_captured_is_counted_once() {
    let mut tap = Tap::new(SERVER);
    tap.unreadable = true;
    tap.receive(GET, 1);
    tap.unreadable = false;
    tap.send(OK, 2).receive(GET, 3).send(OK, 4);
    let (seen, counts) = statuses(&tap);
    assert_eq!(
        (
            seen.as_slice(),
            counts.exchanges(ExchangeOutcome::Unreadable)
        ),
        ([200].as_slice(), 1)
    );
    assert_eq!(counts.lost(), 1);
}

#[test]
fn a_body_behind_sendfile_counts_with_its_bytes() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1)
        .send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", 2);
    tap.unreadable = true;
    tap.send(&[0; 5000], 3);
    tap.unreadable = false;
    tap.receive(GET, 9);
    let (exchanges, _) = decode(&tap.records);
    assert_eq!(
        (exchanges[0].end_ns, exchanges[0].response_bytes),
        (3, 41 + 5000)
    );
}

/// A peer that is gone answers with a reset, which the kernel takes in within the send: the end's record comes first, and the
/// send is of a connection that the kernel does not know any more.
#[test]
fn an_answer_that_was_sent_while_the_connection_was_reset_is_found() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1).close(2);
    let mut after = Tap::with_sock(fathom_abi::Role::UNKNOWN, tap.id.sock);
    after.id.born_ns = 3;
    after.send(OK, 3);
    tap.records.append(&mut after.records);
    let (exchanges, counts) = decode(&tap.records);
    assert_eq!((exchanges.len(), counts.lost()), (1, 0));
    assert_eq!(
        (
            exchanges[0].status,
            exchanges[0].end_ns,
            exchanges[0].key.connection.born_ns
        ),
        (Ok(200), 3, 1)
    );
}

#[test]
fn a_sock_that_is_used_again_takes_no_answer_from_the_one_before() {
    let mut tap = Tap::new(SERVER);
    tap.receive(GET, 1).close(2);
    let mut other = Tap::with_sock(SERVER, tap.id.sock);
    other.id.born_ns = 3;
    other.receive(GET, 3).send(OK, 4);
    tap.records.append(&mut other.records);
    let (exchanges, counts) = decode(&tap.records);
    let statuses: Vec<_> = exchanges.iter().map(|exchange| exchange.status).collect();
    assert_eq!(
        (statuses, counts.lost()),
        (vec![Err(Unanswered::Closed), Ok(200)], 0)
    );
}
