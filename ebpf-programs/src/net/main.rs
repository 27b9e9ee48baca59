//! The `net` object: TCP flows, and the heads of the messages on them.
//!
//! `flow` follows a socket's states. Each file of `taps` finds out in its own way which bytes went through which
//! socket, and calls [`io::on_io`] when the I/O call returns. Everything above a tap is written once.

#![no_std]
#![no_main]
// For one atomic addition, which BPF has from its first instruction set on and rustc has no stable name for.
#![feature(asm_experimental_arch)]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a value that is handed to a map by itself is copied once more, and a stack has 512 bytes"
)]

mod bio;
mod calls;
mod capture;
mod connection;
mod flow;
mod globals;
mod goroutine;
mod io;
#[path = "../kernel.rs"]
mod kernel;
mod layer;
mod maps;
mod own_ports;
mod pieces;
mod record;
mod report;
mod sniff;
mod sock;
#[path = "../straight.rs"]
mod straight;
mod syscall;
mod taps;
#[path = "../task.rs"]
mod task;
mod tls;
mod turns;
mod udp;
#[path = "../worker.rs"]
mod worker;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No program has a panicking path: a check on the built object holds it to that.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
