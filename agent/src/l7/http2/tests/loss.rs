//! Pieces that never arrived.

use std::collections::BTreeSet;

use super::{
    super::{frame::kind, *},
    tape::*,
};

/// Requests with bodies and table entries, several at a time; answers with bodies, trailers, and some resets.
fn tape(streams: u32) -> Tape {
    let mut tape = Tape::new();
    for first in (1..2 * streams).step_by(6) {
        for stream in (first..first + 6).step_by(2) {
            let path = format!("/path/{stream}");
            let block = [
                &[0x83][..],
                &indexed_block(&[(":path", &path), ("content-type", "application/grpc")]),
            ]
            .concat();
            tape.request(&frame(kind::HEADERS, flag::END_HEADERS, stream, &block))
                .request(&data(stream, flag::NONE, b"\0\0\0\x01\x2c0123456789012345"))
                .request(&data(stream, flag::END_STREAM, &[b'x'; 284]));
        }
        for stream in (first..first + 6).step_by(2) {
            if stream % 10 == 1 {
                tape.request(&frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                continue;
            }
            let status = [0x88, 0x5f, 16];
            let block = [&status[..], b"application/grpc"].concat();
            let body = [&b"\0\0\0\x03\xe8"[..], &[b'y'; 1000]].concat();
            tape.answer(&frame(kind::HEADERS, flag::END_HEADERS, stream, &block))
                .answer(&data(stream, flag::NONE, &body))
                .answer(&headers(stream, flag::BOTH, &[("grpc-status", "0")]));
        }
    }
    tape
}

/// What comes out when the pieces in `missing` do not arrive, and the loss is told of when the next one of their direction does.
fn without(pieces: &[Part], missing: impl Fn(usize) -> bool, tell: bool) -> Outcome {
    let mut connection = connection();
    let mut outcome = Outcome::default();
    let mut take = |event| outcome.take(event);
    let mut untold = BTreeSet::new();
    for (number, piece) in pieces.iter().enumerate() {
        if missing(number) {
            untold.insert(piece.direction == REQUESTS);
        } else {
            if untold.remove(&(piece.direction == REQUESTS)) && tell {
                connection.lost(&mut take);
            }
            connection.piece(&piece.piece(), &mut take);
        }
    }
    if !untold.is_empty() && tell {
        connection.lost(&mut take);
    }
    connection.end(1_000_000_000, &mut take);
    assert_eq!(connection.fault(), None);
    outcome
}

#[test]
fn one_piece_less_gives_a_part_of_the_exchanges() {
    let mut tape = tape(30);
    // One more request, which shows of all ids before that they were used.
    tape.request(&get(61, "/last")).answer(&ok(61));
    let whole = decode(&tape.pieces());
    assert_eq!(whole.streams.len(), 31);
    assert_eq!(whole.losses, Losses::new());
    for pieces in [tape.pieces(), tape.pieces_with_holes()] {
        let mut delivered = 0;
        for missing in 0..pieces.len() {
            let outcome = without(&pieces, |number| number == missing, true);
            outcome.check_part_of(&whole, &format!("without {missing}"));
            if missing + 2 < pieces.len() {
                assert_eq!(outcome.all(), whole.all(), "without {missing}: {outcome:?}");
            }
            delivered += outcome.streams.len();
        }
        // Most of the others are decoded nevertheless: the walk finds back.
        assert!(
            delivered > pieces.len() * 12,
            "{delivered} of {}",
            pieces.len() * 31
        );
    }
}

#[test]
fn any_run_of_pieces_less_is_counted_exactly() {
    let mut tape = tape(30);
    tape.request(&get(61, "/last")).answer(&ok(61));
    let whole = decode(&tape.pieces());
    for pieces in [tape.pieces(), tape.pieces_with_holes()] {
        for length in [2, 5, 13, 40, 90] {
            for first in 0..pieces.len().saturating_sub(length + 2) {
                let missing = first..first + length;
                let outcome = without(&pieces, |number| missing.contains(&number), true);
                outcome.check_part_of(&whole, &format!("without {missing:?}"));
                assert_eq!(
                    outcome.all(),
                    whole.all(),
                    "without {missing:?}: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn a_ring_that_is_full_again_and_again_is_counted_exactly() {
    const BATCH: u32 = 8;
    let mut tape = Tape::new();
    let mut random = Random(11);
    let padding = "p".repeat(120);
    for first in (1..2000).step_by(2 * BATCH as usize) {
        let streams = || (first..first + 2 * BATCH).step_by(2);
        let requests: Vec<u8> = streams()
            .flat_map(|id| {
                let path = format!("/users/{id}");
                let padded = [("a", padding.as_str()); 6];
                let fields = [&[(":method", "GET"), (":path", &path)][..], &padded].concat();
                headers(id, flag::BOTH, &fields)
            })
            .collect();
        tape.request(&requests);
        let mut waiting: Vec<u32> = streams().collect();
        while !waiting.is_empty() {
            let next = waiting.swap_remove(random.below(waiting.len()));
            tape.answer(&ok(next));
        }
    }
    let whole = decode(&tape.pieces());
    // The tap cuts at so many bytes, wherever that is.
    let pieces: Vec<Part> = tape
        .pieces()
        .into_iter()
        .flat_map(|part| part.in_parts(2047))
        .collect();
    for round in 0..400 {
        // A full ring has room for what is small, now and then for what is not.
        let mut full = false;
        let missing: Vec<bool> = pieces
            .iter()
            .enumerate()
            .map(|(number, piece)| {
                if random.below(60) == 0 {
                    full = !full;
                }
                let fits = random.below(if piece.length > 100 { 20 } else { 3 }) == 0;
                full && !fits && (10..pieces.len() - 26).contains(&number)
            })
            .collect();
        let outcome = without(&pieces, |number| missing[number], true);
        outcome.check_part_of(&whole, &format!("round {round}"));
        assert_eq!(
            outcome.all(),
            whole.all(),
            "round {round}: {:?}",
            outcome.losses
        );
    }
}

#[test]
fn any_share_of_pieces_less_gives_a_part_of_the_exchanges() {
    let tape = tape(60);
    let whole = decode(&tape.pieces());
    let mut random = Random(7);
    let mut delivered = 0;
    for round in 0..300 {
        let pieces = match round % 3 {
            0 => tape.pieces(),
            1 => tape.pieces_with_holes(),
            _ => cut(&tape.pieces_with_holes(), &mut random, 30),
        };
        let one_in = [5, 20, 100][random.below(3)];
        let missing: Vec<bool> = pieces.iter().map(|_| random.below(one_in) == 0).collect();
        let outcome = without(&pieces, |number| missing[number], true);
        outcome.check_part_of(&whole, &format!("round {round}"));
        delivered += outcome.streams.len();
    }
    assert!(delivered > 300, "{delivered}");
}

#[test]
fn positions_alone_tell_of_a_loss_that_nobody_told_of() {
    let tape = tape(12);
    let whole = decode(&tape.pieces());
    let pieces = tape.pieces();
    let mut noticed = 0_usize;
    for missing in 0..pieces.len() {
        let mut behind = pieces[missing + 1..].iter();
        // What is seen behind it in the same direction shows that it is missing.
        if behind.any(|piece| piece.direction == pieces[missing].direction) {
            let outcome = without(&pieces, |number| number == missing, false);
            outcome.check_part_of(&whole, &format!("without {missing}"));
            noticed += usize::from(!outcome.losses.is_empty());
        }
    }
    assert!(
        noticed * 10 > pieces.len() * 9,
        "{noticed} of {}",
        pieces.len()
    );
}

#[test]
fn a_missing_body_costs_only_the_streams_that_were_open() {
    let mut tape = Tape::new();
    tape.request(&headers(
        1,
        flag::END_HEADERS,
        &[(":method", "PUT"), (":path", "/")],
    ))
    .request(&[&data(1, flag::END_STREAM, &[b'x'; 300])[..200]].concat())
    .request(&data(1, flag::END_STREAM, &[b'x'; 300])[200..])
    .request(&frame(kind::PING, 1, 0, &[0; 8]))
    // Whatever the server sends next shows that nothing of its direction was lost.
    .answer(&frame(kind::PING, 0, 0, &[0; 8]))
    .request(&frame(
        kind::HEADERS,
        flag::BOTH,
        3,
        &[&[0x82][..], &indexed_block(&[(":path", "/kept")])].concat(),
    ))
    .answer(&ok(3))
    .request(&frame(kind::HEADERS, flag::BOTH, 5, &[0x82, 0xbe]))
    .answer(&ok(5));
    let outcome = without(&tape.pieces(), |number| number == 4, true);
    assert_eq!(outcome.losses, [("record_lost", 1)].into());
    let paths: Vec<_> = outcome
        .streams
        .iter()
        .map(|stream| stream.request.path.as_str())
        .collect();
    assert_eq!(paths, ["/kept", "/kept"]);
}

#[test]
fn headers_and_payloads_in_pieces_of_their_own_are_found_again() {
    let mut tape = Tape::new();
    for id in (1..400).step_by(2) {
        let (request, answer) = (get(id, "/"), ok(id));
        tape.request(&request[..9]).request(&request[9..]);
        tape.answer(&answer[..9]).answer(&answer[9..]);
    }
    let whole = decode(&tape.pieces());
    let pieces = tape.pieces();
    for first in 40..80 {
        let missing = first..first + 37;
        let outcome = without(&pieces, |number| missing.contains(&number), true);
        outcome.check_part_of(&whole, &format!("without {missing:?}"));
        assert_eq!(outcome.all(), whole.all(), "{:?}", outcome.losses);
        // Two more in each direction are passed over until it is certain where frames start.
        let lost = outcome.losses["record_lost"];
        assert!(lost <= 37 / 4 + 5, "{lost} without {missing:?}");
    }
}

#[test]
fn the_tap_can_say_where_a_frame_starts() {
    let mut tape = Tape::new();
    let second = get(3, "/");
    tape.request(&get(1, "/"))
        .request(&second[..12])
        .request(&second[12..])
        .answer(&ok(3));
    let pieces = tape.pieces();
    let mut connection = connection();
    let mut outcome = Outcome::default();
    for number in [0, 1, 3, 4, 5] {
        if number == 3 {
            connection.aligned(REQUESTS);
        }
        connection.piece(&pieces[number].piece(), &mut |event| outcome.take(event));
    }
    connection.end(1_000, &mut |event| outcome.take(event));
    assert_eq!(outcome.streams.len(), 1);
    assert_eq!(outcome.losses, [("record_lost", 1)].into());
}

#[test]
fn a_request_that_is_missing_behind_an_upgrade_is_counted() {
    let mut tape = Tape::new();
    tape.answer(&ok(1))
        .request(&get(3, "/3"))
        .answer(&ok(3))
        .request(&get(5, "/5"))
        .answer(&ok(5));
    let pieces = tape.pieces();
    let (preface, third) = (0, 3);
    let mut connection = Connection::new(Some(REQUESTS), Start::Upgraded, Limits::default());
    connection.upgraded(upgrade(), 99);
    let mut outcome = Outcome::default();
    let mut take = |event| outcome.take(event);
    for (number, piece) in pieces.iter().enumerate() {
        if number == preface || number == third {
            continue;
        }
        if number == 5 {
            connection.lost(&mut take);
        }
        connection.piece(&piece.piece(), &mut take);
    }
    connection.end(1_000_000_000, &mut take);
    assert_eq!(outcome.all(), 3, "{outcome:?}");
}

#[test]
fn bytes_that_are_no_frames_are_not_taken_for_some() {
    let mut random = Random(3);
    for round in 0..20_000 {
        let length = 9 + random.below(400);
        let bytes: Vec<u8> = match round % 4 {
            0 => (0..length).map(|_| random.below(256) as u8).collect(),
            // Small numbers, four bytes each, as much of what is binary looks like.
            1 => (0..length)
                .map(|at| {
                    if at % 4 == 3 {
                        random.below(32) as u8
                    } else {
                        0
                    }
                })
                .collect(),
            2 => vec![0; length],
            _ => (0..length)
                .map(|_| b" {}:,\"0123456789abcdef"[random.below(22)])
                .collect(),
        };
        assert_ne!(
            frame::start(&bytes, length as u64, 16_384, 100_000),
            frame::Start::Frame,
            "{bytes:?}"
        );
    }
    // The tail of a DATA frame's header, and a gRPC prefix: an empty frame, which leads to nothing.
    let tail = b"\0\0\0\0\x01\0\0\0\x01\x2c";
    let starts = |bytes: &[u8], length, highest| {
        frame::start(bytes, length, 16_384, highest) == frame::Start::Frame
    };
    assert!(!starts(&tail[..9], 9, 100));
    assert!(!starts(tail, 10, 100));
    let frames = [data(1, 0, b"x"), get(3, "/")].concat();
    let length = frames.len() as u64;
    assert!(starts(&frames, length, 100));
    assert!(starts(&frames[..19], length, 100));
    assert!(!starts(&frames[..10], length, 100));
    assert!(!starts(&frames[1..], length - 1, 100));
    assert!(!starts(&frames, length, 2));
    // A header by itself says where the next one is to be.
    let alone = frame::start(&frames[..9], 9, 16_384, 100);
    assert_eq!(alone, frame::Start::Perhaps(10));
}
