//! What must hold for any bytes: shared by the fuzz targets and by the test that replays their corpus.

#[path = "checks/frames.rs"]
mod frames;
#[path = "checks/dns.rs"]
mod lookups;
#[path = "checks/pipeline.rs"]
mod pipelines;

use std::{net::IpAddr, num::NonZeroUsize};

use fathom::{
    cli::profile::diff::read,
    export::calltree::{CallTree, Side},
    l7::{
        Decoder, ExchangeOutcome, Limits, RecordOutcome, exchange::Exchange, http1, record::Record,
    },
    net::{
        conntrack,
        flows::Flows,
        sockets::{diag, roles::Roles},
    },
    probes::{mappings, tls},
    telemetry::route::{self, BadPattern, Pattern, Patterns},
};
use fathom_abi::{
    ConnectionId, Role,
    flow::FlowEvent,
    message::{ConnectionState, Direction, MAX_CAPTURE, MessageEvent, MessageKind},
};

/// Header blocks of HTTP/2.
pub fn hpack(data: &[u8]) {
    frames::hpack(data);
}

/// Connections of HTTP/2.
pub fn http2(data: &[u8]) {
    frames::http2(data);
}

/// Pipelines of HTTP/1.
pub fn pipeline(data: &[u8]) {
    pipelines::pipeline(data);
}

/// DNS messages and lookups.
pub fn dns(data: &[u8]) {
    lookups::dns(data);
}

/// Files of profiles: what could be read is whole, and its call tree counts what its stacks do.
pub fn profile_file(data: &[u8]) {
    let Ok(stacks) = read::parse(data) else {
        return;
    };
    let mut tree = CallTree::default();
    let mut whole = 0_u64;
    for (frames, count) in &stacks.stacks {
        let frames = frames.iter().map(|&frame| &stacks.frames[frame as usize]);
        tree.add(frames.cloned(), Side::First, *count);
        whole = whole.saturating_add(*count);
    }
    assert_eq!(tree.totals()[0], [whole, 0]);
    assert_eq!(tree.preorder().len(), tree.nodes().len());
}

/// Heads of both kinds.
pub fn http1_head(data: &[u8]) {
    if let Ok(head) = http1::request(data) {
        assert!(head.length.is_none_or(|length| length <= data.len()));
        assert!(!head.method.is_empty() && head.method.len() <= http1::MAX_METHOD);
        let path = http1::path(head.method, head.target);
        assert!(
            path.bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#')
        );
        assert_template(&path);
        // More bytes behind a whole head change nothing of it.
        if head.length.is_some() {
            let longer = [data, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(http1::request(&longer), Ok(head));
        }
    }
    if let Ok(head) = http1::response(data) {
        assert!(head.length.is_none_or(|length| length <= data.len()));
        assert!((100..1000).contains(&head.status));
        assert!(head.total("GET") >= head.total("HEAD") || head.total("GET").is_none());
    }
    assert!(http1::chunked_length(data).is_none_or(|length| length <= data.len()));
    assert!(http1::count_requests(data) <= data.len() as u64);
}

fn assert_template(path: &str) {
    let template = route::template(path);
    assert!(template.len() <= 500, "{template}");
    assert_eq!(route::template(&template), template, "{path}");
}

/// A path, and a pattern behind the first line's end.
pub fn route(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, pattern) = text.split_once('\n').unwrap_or((&text, &text));
    assert_template(path);
    if let Ok(pattern) = Pattern::parse(pattern) {
        let mut patterns = Patterns::default();
        assert_eq!(patterns.push(pattern.clone()), Ok(()));
        assert_eq!(patterns.find(path).is_some(), pattern.matches(path));
        assert_eq!(patterns.push(pattern), Err(BadPattern::Twice));
    }
}

/// A file that may hold TLS functions: what is found lies within it.
pub fn tls(data: &[u8]) {
    if let Ok(targets) = tls::inspect_bytes(data) {
        let within = |offset: u64| usize::try_from(offset).is_ok_and(|offset| offset < data.len());
        assert!(!targets.sites.is_empty());
        for site in &targets.sites {
            assert!(within(site.entry));
            assert!(site.returns.iter().all(|&offset| within(offset)));
            assert!(
                site.returns.is_sorted()
                    && site.returns.first()
                        >= Some(&site.entry).filter(|_| !site.returns.is_empty())
            );
        }
        assert_eq!(targets.go.is_some(), targets.library == tls::Library::GoTls);
        assert!(targets.version.is_none_or(|version| version.len() <= 256));
    }
    // Either answer is right for some bytes.
    let _ = tls::unseen_bytes(data);
}

/// A record of the kernel's perf events.
pub fn perf_record(data: &[u8]) {
    if let Ok(Some(mappings::Event::Mapped(mapped))) = mappings::parse(data) {
        assert!(mapped.inode != 0 && !mapped.path.contains(&0));
    }
}

/// A datagram of sock_diag.
pub fn sock_diag(data: &[u8]) {
    let mut roles = Roles::new("32768 60999");
    let mut count = 0;
    // The sequence number of the seeds.
    for message in diag::messages(data, 1) {
        count += 1;
        if let Ok(diag::Message::Socket(socket, details)) = message {
            roles.listens(&socket);
            assert_eq!(roles.role(socket.local), Role::SERVER);
            // Room for the attribute's header, and for the shortest that is read.
            assert!(details.drops().is_none() || data.len() >= 16 + 72 + 4 + 36);
            assert!(details.tcp_info().is_none() || data.len() >= 16 + 72 + 4 + 104);
        }
    }
    // Each takes a header at least.
    assert!(count <= data.len() / 16 + 1);
}

/// A datagram of conntrack.
pub fn conntrack(data: &[u8]) {
    let mut count = 0;
    for (_, answer) in conntrack::answers(data) {
        count += 1;
        if let Ok(conntrack::Answer::Entry(entry)) = answer {
            // Each of its addresses is in the bytes.
            let within = |octets: &[u8]| data.windows(octets.len()).any(|part| part == octets);
            for end in [
                entry.original.source,
                entry.original.destination,
                entry.reply.source,
                entry.reply.destination,
            ] {
                assert!(within(&end.port().to_be_bytes()));
                match end.ip() {
                    IpAddr::V4(ip) => assert!(within(&ip.octets())),
                    IpAddr::V6(ip) => assert!(within(&ip.octets())),
                }
            }
        }
    }
    // Each takes a header at least.
    assert!(count <= data.len() / 16);
}

/// The flow decoder: each record is delivered or counted.
pub fn flows(data: &[u8]) {
    let mut flows = Flows::default();
    let mut delivered = 0;
    for record in data.chunks(size_of::<FlowEvent>()) {
        flows.record(record, &mut |_| delivered += 1);
    }
    let counts = flows.counts();
    assert_eq!(counts.delivered(), delivered);
    assert_eq!(
        counts.delivered() + counts.malformed(),
        data.chunks(size_of::<FlowEvent>()).count() as u64
    );
}

/// The message decoder, under a script of I/O calls, losses, closes and looks: `data` is a list of an operation, a length (two
/// bytes, little endian) and so many bytes of payload. The lowest bits of an operation say what it is, the highest which of four
/// connections it is on.
pub fn messages(data: &[u8]) {
    let mut decoder = Decoder::new(Limits {
        connections: const { NonZeroUsize::new(3).unwrap() },
    });
    let mut connections: [Connection; 4] =
        std::array::from_fn(|number| Connection::new(number as u64));
    let mut exchanges = Vec::new();
    let mut records = 0_u64;
    let mut now_ns = 0;
    let mut rest = data;
    while let Some((&[operation, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (payload, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        now_ns += 50_000_000;
        let mut give = |record: &[u8]| {
            records += 1;
            decoder.record(record, &mut |exchange: Exchange| exchanges.push(exchange));
        };
        let connection = &mut connections[usize::from(operation >> 6)];
        match operation & 7 {
            // Raw bytes, as a broken kernel program might write them.
            0 => give(payload),
            1 | 2 => give(&connection.io(Direction(operation & 3), payload, now_ns)),
            // The ring has no room for it.
            3 | 4 => drop(connection.io(Direction(operation & 7).minus(2), payload, now_ns)),
            5 => {
                give(&connection.end(now_ns));
                *connection = Connection::new(now_ns);
            }
            _ => {
                let mut lookup = |sock: u64| {
                    connections
                        .iter()
                        .find(|other| other.event.id.sock == sock)
                        .map(Connection::state)
                };
                decoder.poll_idle(now_ns, &mut lookup, &mut |exchange: Exchange| {
                    exchanges.push(exchange)
                });
            }
        }
    }
    check(&decoder, &exchanges, records);
}

fn check(decoder: &Decoder, exchanges: &[Exchange], records: u64) {
    let counts = decoder.counts();
    assert_eq!(
        RecordOutcome::ALL
            .iter()
            .map(|&outcome| counts.records(outcome))
            .sum::<u64>(),
        records
    );
    assert_eq!(
        counts.exchanges(ExchangeOutcome::Delivered),
        exchanges.len() as u64
    );
    assert!(decoder.connections() <= 3);
    for exchange in exchanges {
        assert!(exchange.method.len() <= http1::MAX_METHOD);
        assert!(
            exchange
                .path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'?')
        );
    }
}

trait Minus {
    fn minus(self, less: u8) -> Self;
}

impl Minus for Direction {
    fn minus(self, less: u8) -> Self {
        Self(self.0 - less)
    }
}

/// As much of the kernel tap as it takes to make records that fit together.
struct Connection {
    event: MessageEvent,
    bytes: u64,
    last_ns: u64,
}

impl Connection {
    fn new(number: u64) -> Self {
        Self {
            event: MessageEvent {
                id: ConnectionId {
                    sock: number % 8,
                    born_ns: number,
                },
                role: Role((number % 3) as u8),
                ..MessageEvent::default()
            },
            bytes: 0,
            last_ns: 0,
        }
    }

    fn io(&mut self, direction: Direction, payload: &[u8], at_ns: u64) -> Vec<u8> {
        let flips = direction != self.event.direction;
        let captured = &payload[..payload.len().min(MAX_CAPTURE)];
        self.event = MessageEvent {
            at_ns,
            previous_bytes: self.bytes,
            previous_last_ns: self.last_ns,
            message: self.event.message + u32::from(flips),
            io_bytes: payload.len() as u32,
            offset: if flips { 0 } else { self.bytes as u32 },
            captured: captured.len() as u16,
            kind: if flips {
                MessageKind::HEAD
            } else {
                MessageKind::MORE
            },
            direction,
            ..self.event
        };
        self.bytes = payload.len() as u64 + if flips { 0 } else { self.bytes };
        self.last_ns = at_ns;
        Record::encode(&self.event, captured)
    }

    fn end(&self, at_ns: u64) -> Vec<u8> {
        let event = MessageEvent {
            at_ns,
            previous_bytes: self.bytes,
            previous_last_ns: self.last_ns,
            kind: MessageKind::END,
            captured: 0,
            ..self.event
        };
        Record::encode(&event, &[])
    }

    fn state(&self) -> ConnectionState {
        ConnectionState {
            born_ns: self.event.id.born_ns,
            bytes: self.bytes,
            last_ns: self.last_ns,
            message: self.event.message,
            direction: self.event.direction,
            ..ConnectionState::default()
        }
    }
}
