//! How fast the whole decoder is, on one core: records of the tap's ring in, exchanges out, on a hundred connections at a time whose records are mixed.
//! `cargo bench -p fathom --bench decoder`; the aim is a million exchanges per second in each gear.

mod streams;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fathom::l7::{Decoder, Limits, record::Record};
use fathom_abi::{
    ConnectionId, Endpoints, Role,
    message::{Direction, MessageEvent, MessageKind},
};

use self::streams::{ANSWERS, Part, REQUESTS, call, get};

/// Connections that are open at a time.
const CONNECTIONS: u64 = 100;

/// Exchanges on each.
const EXCHANGES: u32 = 100;

/// Requests in one write of a client that pipelines.
const DEPTH: u32 = 4;

const REQUEST: &str = "GET /api/v1/users/12345 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: application/json\r\nAccept-Encoding: gzip, br\r\n\r\n";

const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\nContent-Type: application/json\r\n\
    Content-Length: 14\r\nConnection: keep-alive\r\n\r\n{\"name\":\"ann\"}";

/// The records of a connection.
struct Tap {
    event: MessageEvent,
    positions: [u64; 2],
    numbers: [u32; 2],
    records: Vec<Vec<u8>>,
}

impl Tap {
    fn new(number: u64) -> Self {
        let mut address = [0; 16];
        address[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        Self {
            event: MessageEvent {
                id: ConnectionId {
                    sock: 0xffff_8000_0000_0000 + number * 0x1000,
                    born_ns: 1,
                },
                tgid: 10,
                tid: 11,
                role: Role::SERVER,
                endpoints: Endpoints {
                    local_addr: address,
                    remote_addr: address,
                    local_port: 80,
                    remote_port: 40_000,
                    ip_version: 4,
                    reserved: [0; 3],
                },
                ..MessageEvent::default()
            },
            positions: [0; 2],
            numbers: [0; 2],
            records: Vec::new(),
        }
    }

    fn push(&mut self, kind: MessageKind, direction: Direction, data: &[u8]) {
        let event = &mut self.event;
        event.at_ns += 1000;
        event.kind = kind;
        event.direction = direction;
        event.io_bytes = u32::try_from(data.len()).expect("short");
        event.captured = u16::try_from(data.len()).expect("short");
        self.records.push(Record::encode(event, data));
    }

    /// A message in the gear for traffic that takes turns.
    fn head(&mut self, direction: Direction, data: &[u8]) {
        self.event.message += 1;
        self.push(MessageKind::HEAD, direction, data);
        self.event.previous_bytes = data.len() as u64;
        self.event.previous_last_ns = self.event.at_ns;
    }

    /// A piece of a stream, with so many bytes behind it that were not captured.
    fn piece(&mut self, direction: Direction, data: &[u8], hole: u64) {
        let length = data.len() as u64 + hole;
        let which = usize::from(direction == ANSWERS);
        let (position, number) = (&mut self.positions[which], &mut self.numbers[which]);
        *number += 1;
        self.event.message = *number;
        self.event.previous_bytes = *position;
        self.event.previous_last_ns = length;
        *position += length;
        self.push(MessageKind::PIECE, direction, data);
    }
}

fn turns(tap: &mut Tap) {
    for _ in 0..EXCHANGES {
        tap.head(REQUESTS, REQUEST.as_bytes());
        tap.head(ANSWERS, ANSWER.as_bytes());
    }
}

fn pipelines(tap: &mut Tap) {
    let requests = REQUEST.repeat(DEPTH as usize);
    let answers = ANSWER.repeat(DEPTH as usize);
    for _ in 0..EXCHANGES / DEPTH {
        tap.piece(REQUESTS, requests.as_bytes(), 0);
        tap.piece(ANSWERS, answers.as_bytes(), 0);
    }
}

fn frames(tap: &mut Tap, parts: &[Part]) {
    for (direction, data, hole) in parts {
        tap.piece(*direction, data, *hole);
    }
}

/// Records as the ring has them: one behind the other, each at a multiple of eight bytes.
struct Ring {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Ring {
    fn of(records: &[Vec<u8>]) -> Self {
        let mut ring = Self {
            bytes: Vec::new(),
            ends: Vec::new(),
        };
        for record in records {
            // A record's own header.
            ring.bytes.extend([0; 8]);
            ring.bytes.extend(record);
            ring.ends.push(ring.bytes.len());
            ring.bytes.resize(ring.bytes.len().next_multiple_of(8), 0);
        }
        ring
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let record = &self.bytes[start + 8..end];
            start = end.next_multiple_of(8);
            record
        })
    }
}

/// The records of all connections, in turn.
fn records(fill: impl Fn(&mut Tap)) -> Ring {
    let mut connections: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let mut tap = Tap::new(number);
            fill(&mut tap);
            tap.records.into_iter()
        })
        .collect();
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(connections.iter_mut().filter_map(Iterator::next));
        if mixed.len() == before {
            return Ring::of(&mixed);
        }
    }
}

fn decode(records: &Ring) -> u64 {
    let mut decoder = Decoder::new(Limits::default());
    let mut exchanges = 0;
    for record in records.records() {
        decoder.record(record, &mut |exchange| {
            black_box(exchange);
            exchanges += 1;
        });
    }
    exchanges
}

fn bench(criterion: &mut Criterion) {
    let gears = [
        ("turns", records(turns)),
        ("pipelines", records(pipelines)),
        ("http2", records(|tap| frames(tap, &get(EXCHANGES)))),
        ("grpc", records(|tap| frames(tap, &call(EXCHANGES)))),
    ];
    let mut group = criterion.benchmark_group("decoder");
    for (name, records) in gears {
        // The streams that fill the header tables are exchanges, too.
        let exchanges = decode(&records);
        let least = CONNECTIONS * u64::from(EXCHANGES);
        assert!(
            (least..=least + CONNECTIONS).contains(&exchanges),
            "{name}: {exchanges}"
        );
        group.throughput(Throughput::Elements(exchanges));
        group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(&records))));
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
