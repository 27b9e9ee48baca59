//! Call chains in Rust: a trait object, a sort with a closure, a thread.
//!
//! `rustc -O --edition 2024 -o chain-rust chains.rs`. Runs until it is ended; its second thread is called chain-rust-t.

use std::{hint::black_box, thread};

fn work(units: u32) {
    let mut value = black_box(1_u64);
    for _ in 0..units * 50_000 {
        value = value
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
    }
    black_box(value);
}

trait Shape {
    fn draw(&self);
}

struct Square;
struct Circle;

impl Shape for Square {
    #[inline(never)]
    fn draw(&self) {
        work(300);
        black_box(self);
    }
}

impl Shape for Circle {
    #[inline(never)]
    fn draw(&self) {
        work(100);
        black_box(self);
    }
}

#[inline(never)]
fn sorted() {
    let mut numbers: Vec<u32> = (0..16).map(|at| at * 7 % 16).collect();
    numbers.sort_by(|one, other| ordered(*one, *other));
    black_box(numbers);
}

#[inline(never)]
fn ordered(one: u32, other: u32) -> std::cmp::Ordering {
    work(1);
    black_box(one).cmp(&other)
}

#[inline(never)]
fn in_thread() {
    work(20);
    black_box(());
}

fn main() {
    thread::Builder::new()
        .name("chain-rust-t".to_owned())
        .spawn(|| {
            loop {
                in_thread();
            }
        })
        .expect("a thread");
    let shapes: [Box<dyn Shape>; 2] = [Box::new(Square), Box::new(Circle)];
    loop {
        for shape in black_box(&shapes) {
            shape.draw();
        }
        sorted();
    }
}
