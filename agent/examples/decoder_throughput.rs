//! How fast one core takes records in: `cargo run --release -p fathom --example decoder_throughput`.
//!
//! Keep-alive connections with a small exchange each, over and over, as a load generator makes them: once through the decoder
//! alone, once with all that the agent does with an exchange.

use std::{hint::black_box, num::NonZeroUsize, sync::Arc, time::Instant};

use fathom::{
    identity::Identity,
    l7::{Decoder, Limits, record::Record},
    telemetry::{Clock, Ids, Red, Spans, red},
};
use fathom_abi::{
    ConnectionId, Role,
    message::{Direction, MessageEvent, MessageKind},
};

const CONNECTIONS: u64 = 256;
const ROUNDS: u32 = 4_000;

const REQUEST: &[u8] = b"GET /users/1234?verbose=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:00:00 GMT\r\nContent-Type: text/plain\r\n\
Content-Length: 12\r\nConnection: keep-alive\r\n\r\nhello world\n";

fn main() {
    println!(
        "{} exchanges on {CONNECTIONS} connections",
        u64::from(ROUNDS) * CONNECTIONS
    );
    measure("decoder", |_| {});

    let clock = Arc::new(Clock::new());
    let ids = Ids::new([7; 16]);
    let red = Red::new(red::Limits::default(), Arc::clone(&clock));
    let mut spans = Spans::new(clock);
    let mut identity = Identity::new("/proc", const { NonZeroUsize::new(1024).unwrap() });
    let pid = std::process::id();
    measure("decoder, identity, RED and spans", |exchange| {
        let process = identity.process(pid, exchange.end_ns);
        let context = ids.context(&exchange);
        let route = red.record(&exchange, &process, &context);
        black_box(spans.span(&exchange, &process, &context, route.as_deref()));
    });
}

fn measure(what: &str, mut take: impl FnMut(fathom::l7::exchange::Exchange)) {
    let mut decoder = Decoder::new(Limits::default());
    let mut exchanges = 0_u64;
    let mut busy = std::time::Duration::ZERO;
    for round in 0..ROUNDS {
        let records: Vec<_> = (0..CONNECTIONS)
            .flat_map(|connection| exchange(connection, round))
            .collect();
        let start = Instant::now();
        for record in &records {
            decoder.record(record, &mut |exchange| {
                exchanges += 1;
                take(exchange);
            });
        }
        busy += start.elapsed();
    }
    assert_eq!(exchanges, u64::from(ROUNDS) * CONNECTIONS, "none is lost");
    let each = busy.as_nanos() as f64 / exchanges as f64;
    println!(
        "{what}: {each:.0} ns an exchange, {:.2} million a second",
        1e3 / each
    );
}

fn exchange(connection: u64, round: u32) -> [Vec<u8>; 2] {
    let request = MessageEvent {
        id: ConnectionId {
            sock: 0xffff_8880_0000_0000 + connection * 2048,
            born_ns: connection,
        },
        at_ns: u64::from(round) * 1_000_000,
        previous_bytes: RESPONSE.len() as u64,
        tgid: std::process::id(),
        message: round * 2 + 1,
        io_bytes: REQUEST.len() as u32,
        captured: REQUEST.len() as u16,
        kind: MessageKind::HEAD,
        direction: Direction::RECEIVED,
        role: Role::SERVER,
        ..MessageEvent::default()
    };
    let response = MessageEvent {
        at_ns: request.at_ns + 200_000,
        previous_bytes: REQUEST.len() as u64,
        message: request.message + 1,
        io_bytes: RESPONSE.len() as u32,
        captured: RESPONSE.len() as u16,
        direction: Direction::SENT,
        ..request
    };
    [
        Record::encode(&request, REQUEST),
        Record::encode(&response, RESPONSE),
    ]
}
