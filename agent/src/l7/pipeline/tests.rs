use fathom_abi::message::Direction;

use super::*;

/// What a connection said, in the order in which it came: whether it is the client's, and the bytes.
type Script<'a> = &'a [(bool, &'a [u8])];

/// Hands a script in, each part cut into pieces of at most `cut` bytes, and closes the connection.
fn play(script: Script<'_>, cut: usize) -> Vec<Event> {
    let mut pipeline = Pipeline::new();
    let mut events = Vec::new();
    let mut at_ns = 0;
    let mut positions = [0_u64; 2];
    for &(is_requests, bytes) in script {
        for part in bytes.chunks(cut) {
            at_ns += 1;
            let position = &mut positions[usize::from(is_requests)];
            let piece = piece(is_requests, *position, part.len() as u64, part, at_ns);
            *position += part.len() as u64;
            let number = u32::try_from(at_ns).expect("few parts");
            pipeline.piece(is_requests, &piece, number, &mut |event| events.push(event));
        }
    }
    pipeline.end(at_ns + 1, &mut |event| events.push(event));
    events
}

fn piece(is_requests: bool, position: u64, length: u64, data: &[u8], at_ns: u64) -> Piece<'_> {
    Piece {
        direction: if is_requests {
            Direction::RECEIVED
        } else {
            Direction::SENT
        },
        position,
        length,
        data,
        at_ns,
        thread: Thread::new(1, 2),
    }
}

/// Method, path, status, and bytes of both; the reason and the count of what is lost.
fn told(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Open(..) => None,
            Event::Done(done) => Some(format!(
                "{} {} {:?}{} {}/{}",
                done.request.method,
                done.request.path,
                done.status,
                done.cut.map_or(String::new(), |cut| format!(" {cut:?}")),
                done.request.bytes,
                done.response_bytes,
            )),
            Event::Lost(reason, count) => Some(format!("{} {count}", reason.name())),
        })
        .collect()
}

/// Whatever the pieces, what is told is the same.
fn tells(script: Script<'_>, expected: &[&str]) {
    for cut in [1, 2, 3, 7, 40, 4096] {
        assert_eq!(told(&play(script, cut)), expected, "in pieces of {cut}");
    }
}

#[test]
fn each_answer_is_its_requests_in_order() {
    let requests: String = (0..100)
        .map(|n| format!("GET /{n} HTTP/1.1\r\n\r\n"))
        .collect();
    let answers: String = (0..100)
        .map(|n| format!("HTTP/1.1 {} x\r\nContent-Length: 2\r\n\r\nok", 400 + n))
        .collect();
    let expected: Vec<String> = (0..100)
        .map(|n| {
            let request = format!("GET /{n} HTTP/1.1\r\n\r\n").len();
            let answer = "HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nok".len();
            format!("GET /{n} Ok({}) {request}/{answer}", 400 + n)
        })
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    tells(
        &[(true, requests.as_bytes()), (false, answers.as_bytes())],
        &expected,
    );
}

#[test]
fn requests_of_one_record_are_told_apart() {
    let events = play(
        &[
            (true, b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"),
            (false, b"HTTP/1.1 204 x\r\n\r\nHTTP/1.1 204 x\r\n\r\n"),
        ],
        4096,
    );
    let keys: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Open(..) => None,
            Event::Done(done) => Some((done.request.number, done.request.index)),
            Event::Lost(..) => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(keys, [(1, 0), (1, 1)]);
}

#[test]
fn bodies_are_passed_over_by_their_framing() {
    tells(
        &[
            (true, b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (true, b"5;x=y\r\nHTTP/\r\n0\r\nTrailer: x\r\n\r\nHEAD /c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\n\r\n"),
            (false, b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nHTTP/1.1 500 x\r\nContent-Length: \r\n0\r\n\r\n"),
            (false, b"HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n"),
            (false, b"HTTP/1.1 200 x\r\n\r\neverything up to the end"),
        ],
        &[
            "POST /a Ok(200) 44/89",
            "POST /b Ok(304) 79/37",
            "HEAD /c Ok(200) 20/37",
            "GET /d Ok(200) 19/42",
        ],
    );
}

#[test]
fn interim_answers_are_none_and_early_ones_wait_for_the_body() {
    tells(
        &[
            (true, b"PUT /a HTTP/1.1\r\nContent-Length: 4\r\n\r\n"),
            (
                false,
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n",
            ),
            (true, b"bodyGET /b HTTP/1.1\r\n\r\n"),
            (
                false,
                b"HTTP/1.1 103 x\r\nLink: x\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
            ),
        ],
        &["PUT /a Ok(413) 42/37", "GET /b Ok(204) 19/18"],
    );
}

#[test]
fn an_upgrade_lasts_until_the_end() {
    tells(
        &[
            (true, b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
            (false, b"HTTP/1.1 101 x\r\n\r\n"),
            (true, b"GET /none HTTP/1.1\r\n\r\n"),
            (false, b"HTTP/1.1 200 x\r\n\r\n"),
        ],
        &["GET /chat Ok(101) 64/36"],
    );
}

#[test]
fn the_end_of_the_connection_ends_what_is_open() {
    tells(
        &[
            (
                true,
                b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HT",
            ),
            (false, b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nshort"),
        ],
        &[
            "GET /a Ok(200) Closed 19/42",
            "GET /b Err(Closed) 19/0",
            "bad_request 1",
        ],
    );
}

#[test]
fn what_is_no_http_ends_it_and_is_counted() {
    tells(
        &[
            (true, b"GET /a HTTP/1.1\r\n\r\n"),
            (false, b"SMTP\r\n\r\nHTTP/1.1 200 x\r\n\r\n"),
            (true, b"GET /b HTTP/1.1\r\n\r\n"),
        ],
        &["bad_response 1"],
    );
    tells(
        &[(false, b"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n")],
        &[],
    );
    tells(
        &[
            (
                true,
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            ),
            (false, b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["bad_request 1"],
    );
}

#[test]
fn a_proxys_header_is_no_part_of_the_request() {
    tells(
        &[
            (
                true,
                b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /a HTTP/1.1\r\n\r\n",
            ),
            (false, b"HTTP/1.1 204 x\r\n\r\n"),
        ],
        &["GET /a Ok(204) 19/18"],
    );
}

/// Bytes that were not captured may lie in bodies, and nowhere else.
#[test]
fn holes_within_bodies_do_no_harm_and_others_end_it() {
    let request = b"GET /a HTTP/1.1\r\n\r\n";
    let head = b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n";
    for (hole, expected) in [
        (1000, vec!["GET /a Ok(200) 19/1040"]),
        (999, vec!["GET /a Ok(200) Closed 19/1039"]),
        (1001, vec!["unreadable 1"]),
    ] {
        let mut pipeline = Pipeline::new();
        let mut events = Vec::new();
        let mut out = |event| events.push(event);
        pipeline.piece(true, &piece(true, 0, 19, request, 1), 1, &mut out);
        let answer = piece(false, 0, 40 + hole, head, 2);
        pipeline.piece(false, &answer, 2, &mut out);
        pipeline.end(3, &mut out);
        assert_eq!(told(&events), expected, "{hole}");
    }
}

/// What is missing makes no exchange of what follows, for it can't be told whose answer is whose.
#[test]
fn after_a_loss_nothing_is_made() {
    let mut pipeline = Pipeline::new();
    let mut events = Vec::new();
    let mut out = |event| events.push(event);
    let requests = b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
    let length = requests.len() as u64;
    pipeline.piece(true, &piece(true, 0, length, requests, 1), 1, &mut out);
    pipeline.lost(&mut out);
    let answer = b"HTTP/1.1 204 x\r\n\r\n";
    pipeline.piece(false, &piece(false, 18, 18, answer, 2), 3, &mut out);
    assert_eq!(pipeline.broken(), Some(ExchangeOutcome::RecordLost));
    pipeline.end(3, &mut out);
    assert_eq!(told(&events), ["record_lost 2"]);
}

#[test]
fn open_requests_are_bounded() {
    let requests = "GET / HTTP/1.1\r\n\r\n".repeat(MAX_OPEN + 1);
    assert_eq!(
        told(&play(&[(true, requests.as_bytes())], 4096)),
        ["too_many_streams 1024"]
    );
}
