//! Long connections over HTTP/2, as the tap makes pieces of them. Their header tables are filled, and they hold what servers mostly see.

use fathom_abi::message::Direction;

pub const REQUESTS: Direction = Direction::RECEIVED;
pub const ANSWERS: Direction = Direction::SENT;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One piece: what was captured, and how many bytes behind it were not.
pub type Part = (Direction, Vec<u8>, u64);

fn frame(kind: u8, flags: u8, stream: u32, length: usize, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).expect("small").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0x40];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).expect("short"));
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, block.len(), block)
}

/// The preface, and a first stream that fills the header tables.
fn start(request: &[(&str, &str)], answer: &[(&str, &str)]) -> Vec<Part> {
    let block = |fields: &[(&str, &str)]| -> Vec<u8> {
        fields
            .iter()
            .flat_map(|(name, value)| literal(name, value))
            .collect()
    };
    let settings = frame(SETTINGS, 0, 0, 0, &[]);
    let request = headers(
        END_STREAM,
        1,
        &[&[0x82, 0x84][..], &block(request)].concat(),
    );
    let answer = headers(END_STREAM, 1, &[&[0x88][..], &block(answer)].concat());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    vec![
        (REQUESTS, [&preface[..], &settings, &request].concat(), 0),
        (ANSWERS, [settings, answer].concat(), 0),
    ]
}

/// `GET /api/v1/users/12345`, as curl and browsers write it, and an answer of 2 KiB.
pub fn get(streams: u32) -> Vec<Part> {
    let mut parts = start(
        &[
            (":authority", "api.example.com"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip, br"),
        ],
        &[
            ("content-type", "application/json"),
            ("server", "nginx"),
            ("date", "Sat, 21 Nov 2026 08:00:00 GMT"),
        ],
    );
    // The path is a literal that goes into no table, in the Huffman code.
    let path = b"\x04\x8e\x60\x75\x99\x8e\xe1\x62\xd4\x16\xc4\x30\x11\x32\xd3\x7f";
    let request = [&[0x82, 0x87][..], path, &[0xc1, 0xc0, 0xbf, 0xbe]].concat();
    let answer = [&[0x88, 0xc0, 0xbf, 0xbe][..], b"\x0f\x0d\x042048"].concat();
    for stream in (3..).step_by(2).take(streams as usize) {
        parts.push((REQUESTS, headers(END_STREAM, stream, &request), 0));
        let body = frame(DATA, END_STREAM, stream, 2048, &[b'x'; 16]);
        let answer = [headers(0, stream, &answer), body].concat();
        parts.push((ANSWERS, answer, 2048 - 16));
    }
    parts
}

/// A unary call of a few bytes each way.
pub fn call(streams: u32) -> Vec<Part> {
    let mut parts = start(
        &[
            (":authority", "greeter:50051"),
            (":path", "/helloworld.Greeter/SayHello"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ],
        &[("content-type", "application/grpc"), ("grpc-status", "0")],
    );
    // The first stream was none: it names its path twice.
    for stream in (3..).step_by(2).take(streams as usize) {
        let message = b"\0\0\0\0\x07\x0a\x05world";
        let body = frame(DATA, END_STREAM, stream, message.len(), message);
        let request = headers(0, stream, &[0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]);
        parts.push((REQUESTS, [request, body].concat(), 0));
        let answer = headers(0, stream, &[0x88, 0xbf]);
        let body = frame(DATA, 0, stream, message.len(), message);
        let trailers = headers(END_STREAM, stream, &[0xbe]);
        parts.push((ANSWERS, [answer, body, trailers].concat(), 0));
    }
    parts
}
