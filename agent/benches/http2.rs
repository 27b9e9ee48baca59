//! How fast the HTTP/2 decoder is: exchanges per second on one core, from pieces as the tap makes them. They hold
//! a GET with a path of its own and a body of 2 KiB in answer,
//! and a unary gRPC call. `cargo bench -p fathom --bench http2`.

mod streams;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use fathom::l7::{
    exchange::Thread,
    http2::{Connection, Event, Limits, Start},
    piece::Piece,
};

use self::streams::{ANSWERS, Part, REQUESTS, call, get};

fn decode(parts: &[Part]) -> u32 {
    let mut connection = Connection::new(Some(REQUESTS), Start::Preface, Limits::default());
    let mut positions = [0, 0];
    let mut done = 0;
    for (direction, data, hole) in parts {
        let position = &mut positions[usize::from(*direction == ANSWERS)];
        let piece = Piece {
            direction: *direction,
            position: *position,
            length: data.len() as u64 + hole,
            data,
            at_ns: 1,
            thread: Thread::new(1, 1),
        };
        *position += piece.length;
        connection.piece(&piece, &mut |event| {
            done += u32::from(matches!(black_box(event), Event::Done(_)));
        });
    }
    assert!(!connection.is_broken());
    done
}

fn bench(criterion: &mut Criterion) {
    const STREAMS: u32 = 10_000;
    let mut group = criterion.benchmark_group("http2");
    group.throughput(Throughput::Elements(u64::from(STREAMS)));
    for (name, parts) in [("get", get(STREAMS)), ("grpc", call(STREAMS))] {
        assert!(decode(&parts) >= STREAMS);
        group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(&parts))));
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
