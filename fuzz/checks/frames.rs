//! Header blocks, and connections of HTTP/2.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
};

use fathom::l7::{
    exchange::Thread,
    hpack::{Decoder, MAX_VALUE, Name},
    http1,
    http2::{Connection, Event, Limits, Request, Start, Stream},
    piece::Piece,
};
use fathom_abi::message::Direction;

/// Header blocks of one direction, each behind its length; the first byte says whether the observer came late. A block that comes
/// in two parts reads as it does whole.
pub fn hpack(data: &[u8]) {
    let Some((&late, mut rest)) = data.split_first() else {
        return;
    };
    let decoder = || {
        if late & 1 == 0 {
            Decoder::new()
        } else {
            Decoder::joined()
        }
    };
    let (mut whole, mut parts) = (decoder(), decoder());
    while let Some((&length, behind)) = rest.split_first() {
        let (block, behind) = behind.split_at(usize::from(length).min(behind.len()));
        rest = behind;
        let expected = read(&mut whole, &[block]);
        let (first, second) = block.split_at(usize::from(late) % (block.len() + 1));
        assert_eq!(read(&mut parts, &[first, second]), expected);
        if expected.is_err() {
            return;
        }
    }
}

type Field = (Name, Option<Vec<u8>>);

fn read(decoder: &mut Decoder, parts: &[&[u8]]) -> Result<Vec<Field>, ()> {
    let mut fields = Vec::new();
    let mut unused = Vec::new();
    decoder.begin();
    for part in parts {
        unused.extend_from_slice(part);
        let used = decoder
            .decode(&unused, &mut |name, value| {
                // Eight bits of the Huffman code hold at most one symbol and three fifths.
                assert!(value.is_none_or(|value| value.len() <= MAX_VALUE * 8 / 5));
                assert!(value.is_none() || !matches!(name, Name::Other | Name::Unknown));
                fields.push((name, value.map(<[u8]>::to_vec)));
            })
            .map_err(|_| ())?;
        unused.drain(..used);
    }
    decoder.end(unused.len()).map_err(|_| ())?;
    Ok(fields)
}

const STREAMS: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// What happens on a connection, in order: a byte that says what, the length of what follows, and that. Whatever it is, no
/// stream comes out twice, no more are held than may be, and where nothing is missing no cut changes anything.
pub fn http2(data: &[u8]) {
    let Some((&setup, actions)) = data.split_first() else {
        return;
    };
    let (whole, clean) = run(setup, actions, false);
    if clean {
        assert_eq!(run(setup, actions, true).0, whole);
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    streams: Vec<Stream>,
    losses: BTreeMap<&'static str, u64>,
}

impl Outcome {
    fn take(&mut self, event: Event) {
        match event {
            Event::Open(..) => {}
            Event::Done(stream) => {
                check(&stream);
                self.streams.push(stream);
            }
            Event::Lost(reason, count) => {
                assert!(count > 0);
                *self.losses.entry(reason.name()).or_default() += count;
            }
        }
    }
}

fn check(stream: &Stream) {
    let request = &stream.request;
    assert!(stream.id % 2 == 1);
    assert!((1..=http1::MAX_METHOD).contains(&request.method.len()));
    assert!(
        request
            .path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#')
    );
    assert!(request.start_ns <= stream.end_ns);
    assert!(
        stream
            .status
            .is_ok_and(|status| (200..1000).contains(&status))
            || stream.cut.is_some()
    );
    assert!(request.trace_state.is_none() || request.parent.is_some());
    if let Some(call) = &stream.rpc {
        for (messages, bytes) in [
            (call.request, stream.request_bytes),
            (call.response, stream.response_bytes),
        ] {
            assert!(messages.bytes <= bytes);
            assert!(
                messages
                    .count
                    .is_none_or(|count| count * 5 <= messages.bytes)
            );
        }
    }
}

/// What came out, and whether nothing was missing.
fn run(setup: u8, mut actions: &[u8], cut: bool) -> (Outcome, bool) {
    let requests = match setup & 3 {
        0 => None,
        1 => Some(Direction::SENT),
        _ => Some(Direction::RECEIVED),
    };
    let start = match setup >> 2 & 3 {
        0 => Start::Joined,
        1 => Start::Upgraded,
        _ => Start::Preface,
    };
    let mut connection = Connection::new(requests, start, Limits { streams: STREAMS });
    let mut outcome = Outcome::default();
    if start == Start::Upgraded {
        let request = Request {
            thread: Thread::new(1, 1),
            method: "GET".into(),
            path: "/".into(),
            start_ns: 0,
            parent: None,
            trace_state: None,
        };
        connection.upgraded(request, 1);
    }
    let mut positions = [0_u64; 2];
    let mut clean = true;
    let mut at_ns = 0;
    while let Some((&[action, low, high], behind)) = actions.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (data, behind) = behind.split_at(length.min(behind.len()));
        actions = behind;
        at_ns += 1;
        let sent = action >> 7;
        let direction = Direction(1 + sent);
        let position = &mut positions[usize::from(sent)];
        let hole = u64::from(action >> 3 & 0xf) * 16;
        let mut take = |event| outcome.take(event);
        match action & 7 {
            0..=3 => {
                clean &= hole == 0;
                let halves = data.split_at(if cut { data.len() / 2 } else { 0 });
                for (data, hole) in [(halves.0, 0), (halves.1, hole)] {
                    let piece = Piece {
                        direction,
                        position: *position,
                        length: data.len() as u64 + hole,
                        data,
                        at_ns,
                        thread: Thread::new(1, 1),
                    };
                    *position += piece.length;
                    connection.piece(&piece, &mut take);
                    assert!(connection.open() <= STREAMS.get());
                }
            }
            4 => {
                clean = false;
                *position += data.len() as u64 + hole;
                connection.lost(&mut take);
            }
            5 => {
                clean = false;
                connection.lost(&mut take);
            }
            6 => connection.aligned(direction),
            _ => {
                clean = false;
                *position += data.len() as u64 + hole;
            }
        }
    }
    connection.end(at_ns, &mut |event| outcome.take(event));
    assert_eq!(connection.open(), 0);
    let ids: BTreeSet<_> = outcome.streams.iter().map(|stream| stream.id).collect();
    assert_eq!(ids.len(), outcome.streams.len());
    (outcome, clean)
}
