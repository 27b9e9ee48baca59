//! Real clients and servers of the `h2` crate, watched over an in-memory connection: what came out is held against what the two
//! applications did.

mod recorder;

use std::collections::BTreeMap;

use bytes::Bytes;
use h2::{Reason, RecvStream, client, server};
use hyper::http::{HeaderMap, Request as HttpRequest, Response, StatusCode};

use self::recorder::recorded;
use super::{super::*, tape::*};
use crate::l7::grpc::Messages;

/// What the client does on one stream, and what the server answers.
#[derive(Clone, Debug)]
struct Plan {
    path: String,
    is_call: bool,
    /// Sizes of the DATA that the client sends.
    request: Vec<usize>,
    status: u16,
    answer: Vec<usize>,
    trailers: bool,
    /// A header of this size goes with both heads.
    large: usize,
    /// The server resets the stream in place of an answer.
    reset: bool,
}

impl Plan {
    fn random(number: usize, random: &mut Random) -> Self {
        let is_call = random.below(3) == 0;
        let mut sizes = || -> Vec<usize> {
            let count = random.below(4);
            (0..count)
                .map(|_| [0, 1, 100, 300, 5_000, 20_000][random.below(6)])
                .collect()
        };
        let (request, answer) = (sizes(), sizes());
        Self {
            path: match random.below(3) {
                0 => "/fixed".into(),
                1 => format!("/items/{}", number % 7),
                _ => format!("/items/{number}"),
            },
            is_call,
            request,
            status: [200, 200, 204, 404, 503][random.below(5)],
            answer,
            trailers: is_call || random.below(4) == 0,
            large: [0, 0, 0, 200, 40_000][random.below(5)],
            reset: random.below(12) == 0,
        }
    }

    fn small(number: usize) -> Self {
        Self {
            path: format!("/items/{}", number % 100),
            is_call: false,
            request: vec![],
            status: 200,
            answer: vec![],
            trailers: false,
            large: 0,
            reset: false,
        }
    }

    /// A gRPC message for each size.
    fn body(&self, sizes: &[usize]) -> Vec<Bytes> {
        let body = |&size: &usize| {
            let mut bytes = Vec::new();
            if self.is_call {
                bytes.push(0);
                bytes.extend(u32::try_from(size).expect("small").to_be_bytes());
            }
            bytes.resize(bytes.len() + size, b'x');
            bytes.into()
        };
        sizes.iter().map(body).collect()
    }

    fn messages(&self, sizes: &[usize]) -> Messages {
        Messages {
            count: Some(sizes.len() as u64),
            bytes: sizes.iter().map(|&size| size as u64 + 5).sum(),
        }
    }

    fn request(&self, number: usize) -> HttpRequest<()> {
        let mut request = HttpRequest::post(format!("http://host{}?secret={number}", self.path))
            .header("plan", number.to_string());
        if self.is_call {
            request = request.header("content-type", "application/grpc+proto");
        }
        if self.large > 0 {
            request = request.header("large", "a".repeat(self.large));
        }
        request.body(()).expect("a request")
    }

    fn response(&self) -> Response<()> {
        let mut response = Response::builder().status(self.status);
        if self.is_call {
            response = response.header("content-type", "application/grpc");
        }
        if self.large > 0 {
            response = response.header("large", "b".repeat(self.large));
        }
        response.body(()).expect("a response")
    }

    fn trailers(&self) -> HeaderMap {
        [("grpc-status", "5"), ("grpc-message", "no")]
            .into_iter()
            .map(|(name, value)| {
                (
                    name.parse().expect("a name"),
                    value.parse().expect("a value"),
                )
            })
            .collect()
    }
}

async fn send(stream: &mut h2::SendStream<Bytes>, parts: Vec<Bytes>, last: bool) {
    let count = parts.len();
    for (number, part) in parts.into_iter().enumerate() {
        // Whoever was reset can send no more.
        let _ = stream.send_data(part, last && number + 1 == count);
        tokio::task::yield_now().await;
    }
    if last && count == 0 {
        let _ = stream.send_data(Bytes::new(), true);
    }
}

async fn drain(mut body: RecvStream) -> Result<usize, h2::Error> {
    let mut bytes = 0;
    while let Some(part) = body.data().await {
        let part = part?;
        bytes += part.len();
        body.flow_control().release_capacity(part.len())?;
    }
    body.trailers().await?;
    Ok(bytes)
}

async fn serve(io: tokio::io::DuplexStream, plans: Vec<Plan>, headers: u32) {
    let mut connection = server::Builder::new()
        .max_concurrent_streams(100_000)
        .max_header_list_size(1 << 20)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 28)
        .max_concurrent_reset_streams(100_000)
        .header_table_size(headers)
        .handshake::<_, Bytes>(io)
        .await
        .expect("a client");
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted.expect("a request");
        let number: usize = request.headers()["plan"]
            .to_str()
            .expect("text")
            .parse()
            .expect("a number");
        let plan = plans[number].clone();
        tokio::spawn(async move {
            drain(request.into_body()).await.expect("a body");
            if plan.reset {
                respond.send_reset(Reason::INTERNAL_ERROR);
                return;
            }
            let ends = plan.answer.is_empty() && !plan.trailers;
            let mut stream = respond
                .send_response(plan.response(), ends)
                .expect("a stream");
            if !ends {
                send(&mut stream, plan.body(&plan.answer), !plan.trailers).await;
            }
            if plan.trailers {
                stream.send_trailers(plan.trailers()).expect("a stream");
            }
        });
    }
}

/// Runs the plans, `at_once` of them at a time: the tape, and for each the stream's id and the status that the client got.
async fn run(
    plans: &[Plan],
    at_once: usize,
    headers: u32,
) -> (Tape, BTreeMap<u32, (usize, Result<u16, u32>)>) {
    let (client_io, server_io) = tokio::io::duplex(1 << 16);
    let (client_io, tape) = recorded(client_io);
    let server = tokio::spawn(serve(server_io, plans.to_vec(), headers));
    let (client, connection) = client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 28)
        .max_header_list_size(1 << 20)
        .max_concurrent_reset_streams(100_000)
        .header_table_size(headers)
        .handshake::<_, Bytes>(client_io)
        .await
        .expect("a server");
    let connection = tokio::spawn(connection);
    let mut done = BTreeMap::new();
    let mut numbers = 0..plans.len();
    loop {
        let mut answers = Vec::new();
        for number in numbers.by_ref().take(at_once) {
            let plan = &plans[number];
            let mut ready = client.clone().ready().await.expect("a connection");
            let ends = plan.request.is_empty();
            let (response, mut stream) = ready
                .send_request(plan.request(number), ends)
                .expect("a stream");
            let id = stream.stream_id().as_u32();
            let plan = plan.clone();
            answers.push(tokio::spawn(async move {
                if !ends {
                    send(&mut stream, plan.body(&plan.request), true).await;
                }
                let status = match response.await {
                    Ok(response) => {
                        let status: StatusCode = response.status();
                        drain(response.into_body()).await.expect("a body");
                        Ok(status.as_u16())
                    }
                    Err(error) => Err(u32::from(error.reason().expect("a reset"))),
                };
                (id, (number, status))
            }));
        }
        if answers.is_empty() {
            break;
        }
        for answer in answers {
            let (id, outcome) = answer.await.expect("no panic");
            done.insert(id, outcome);
        }
    }
    drop(client);
    connection.await.expect("no panic").expect("a connection");
    server.await.expect("no panic");
    let tape = tape.lock().expect("a tape").clone();
    (tape, done)
}

fn client_view() -> Connection {
    Connection::new(Some(Direction::SENT), Start::Preface, Limits::default())
}

fn check(outcome: &Outcome, plans: &[Plan], done: &BTreeMap<u32, (usize, Result<u16, u32>)>) {
    assert_eq!(outcome.losses, Losses::new());
    assert_eq!(outcome.streams.len(), plans.len());
    for stream in &outcome.streams {
        let (number, status) = done[&stream.id];
        let plan = &plans[number];
        assert_eq!(stream.request.method, "POST");
        assert_eq!(stream.request.path, plan.path);
        assert_eq!(stream.status, status.map_err(Unanswered::Reset), "{plan:?}");
        assert_eq!(status.is_err(), plan.reset);
        assert!(stream.end_ns > stream.request.start_ns);
        let prefixes = if plan.is_call { 5 } else { 0 };
        let body: usize = plan.request.iter().map(|size| size + prefixes).sum();
        assert!(stream.request_bytes > body as u64);
        assert_eq!(stream.rpc.is_some(), plan.is_call);
        if let Some(call) = &stream.rpc {
            assert_eq!(call.request, plan.messages(&plan.request));
            if !plan.reset {
                assert_eq!(call.status, Some(5));
                assert_eq!(call.response, plan.messages(&plan.answer));
            }
        }
    }
}

#[tokio::test]
async fn streams_of_all_kinds() {
    let mut random = Random(11);
    for (round, headers) in [4096, 0, 65_536, 200].into_iter().enumerate() {
        let plans: Vec<_> = (0..150)
            .map(|number| Plan::random(number, &mut random))
            .collect();
        let (tape, done) = run(&plans, [30, 1, 150, 7][round], headers).await;
        let expected = decode_with(client_view(), &tape.pieces());
        check(&expected, &plans, &done);
        let holes = tape.pieces_with_holes();
        assert!(holes.len() > tape.calls.len());
        assert_eq!(decode_with(client_view(), &holes), expected);
        for one_in in [30, 1000] {
            let cut = cut(&holes, &mut random, one_in);
            assert_eq!(decode_with(client_view(), &cut), expected);
        }
    }
}

#[tokio::test]
async fn ten_thousand_streams() {
    let plans: Vec<_> = (0..10_000).map(Plan::small).collect();
    // All of them open at once.
    let (tape, done) = run(&plans, 10_000, 4096).await;
    let mut connection = client_view();
    let (mut outcome, mut most) = (Outcome::default(), 0);
    for piece in tape.pieces_with_holes() {
        connection.piece(&piece.piece(), &mut |event| outcome.take(event));
        most = most.max(connection.open());
    }
    check(&outcome, &plans, &done);
    assert!(most > 1_000, "{most} at once");
}

#[tokio::test]
async fn losses_make_no_wrong_exchange() {
    let mut random = Random(5);
    let plans: Vec<_> = (0..120)
        .map(|number| Plan::random(number, &mut random))
        .collect();
    let (tape, done) = run(&plans, 12, 4096).await;
    let whole = decode_with(client_view(), &tape.pieces());
    check(&whole, &plans, &done);
    let pieces = tape.pieces_with_holes();
    let mut delivered = 0;
    for _ in 0..200 {
        let one_in = [20, 100, 400][random.below(3)];
        let mut connection = client_view();
        let mut outcome = Outcome::default();
        for piece in &pieces {
            if random.below(one_in) == 0 {
                connection.lost(&mut |event| outcome.take(event));
            } else {
                connection.piece(&piece.piece(), &mut |event| outcome.take(event));
            }
        }
        connection.end(u64::MAX, &mut |event| outcome.take(event));
        assert_eq!(connection.fault(), None);
        outcome.check_part_of(&whole, "with losses");
        delivered += outcome.streams.len();
    }
    assert!(delivered > 200, "{delivered}");
}

#[tokio::test]
async fn a_late_observer_makes_no_wrong_exchange() {
    let mut random = Random(9);
    let plans: Vec<_> = (0..100)
        .map(|number| Plan::random(number, &mut random))
        .collect();
    let (tape, _) = run(&plans, 10, 4096).await;
    let whole = decode_with(client_view(), &tape.pieces());
    let pieces = tape.pieces();
    let mut delivered = 0;
    for from in 2..pieces.len() {
        // Only calls that start with a frame, as the tap promises.
        let starts = |direction| {
            let first = pieces[from..]
                .iter()
                .find(|piece| piece.direction == direction);
            first.is_some_and(|piece| {
                frame::start(&piece.data, piece.length, 16_384, 1000) == frame::Start::Frame
            })
        };
        if !starts(Direction::SENT) || !starts(Direction::RECEIVED) {
            continue;
        }
        let late = Connection::new(None, Start::Joined, Limits::default());
        let outcome = decode_with(late, &pieces[from..]);
        outcome.check_part_of(&whole, &format!("from {from}"));
        delivered += outcome.streams.len();
    }
    assert!(delivered > 100, "{delivered}");
}
