//! Pipelines of HTTP/1, from a script: a byte that says whose the next bytes are and how many, and the bytes.

use fathom::l7::{
    exchange::Thread,
    piece::Piece,
    pipeline::{Event, Pipeline},
};
use fathom_abi::message::Direction;

/// However a script is cut, the same exchanges come out, and no more than requests could have been in it.
pub fn pipeline(data: &[u8]) {
    let whole = play(data, usize::MAX);
    assert_eq!(whole, play(data, 1), "in pieces of a byte");
    // The shortest request is `GET /` and a line's end (HTTP/0.9).
    assert!(whole.len() <= data.len() / 6 + 2);
}

fn play(mut script: &[u8], cut: usize) -> Vec<String> {
    let mut pipeline = Pipeline::new();
    let mut told = Vec::new();
    let mut out = |event: Event| match event {
        Event::Open(..) => {}
        Event::Done(done) => told.push(format!(
            "{} {} {:?} {:?} {} {}",
            done.request.method,
            done.request.path,
            done.status,
            done.cut,
            done.request.bytes,
            done.response_bytes
        )),
        // Reasons differ with the cut: a head that is no HTTP in a piece may be cut short in another.
        Event::Lost(_, count) => assert!(count > 0),
    };
    let mut positions = [0_u64; 2];
    let mut number = 0;
    while let Some((&control, rest)) = script.split_first() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(control >> 1)));
        script = rest;
        let is_requests = control & 1 == 1;
        for part in bytes.chunks(cut.min(bytes.len().max(1))) {
            number += 1;
            let position = &mut positions[usize::from(is_requests)];
            let piece = Piece {
                direction: if is_requests {
                    Direction::RECEIVED
                } else {
                    Direction::SENT
                },
                position: *position,
                length: part.len() as u64,
                data: part,
                at_ns: 1,
                thread: Thread::new(1, 1),
            };
            *position += part.len() as u64;
            pipeline.piece(is_requests, &piece, number, &mut out);
        }
    }
    pipeline.end(1, &mut out);
    told
}
