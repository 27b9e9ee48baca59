//! The `sys_exit_*` tracepoints of the calls that move bytes: on every kernel, and the dearest, since each system call
//! of each process pays. One program serves them all.

use aya_ebpf::{EbpfContext as _, macros::tracepoint, programs::TracePointContext};
use fathom_abi::message::Direction;

use crate::{
    io::{self, Turn, entry},
    maps::WALKERS,
    pieces,
    sock::{self, Protocol},
    syscall, udp,
};

/// `struct syscall_trace_exit`: the number at 8, the result at 16.
#[tracepoint]
pub fn sys_exit(ctx: TracePointContext) -> i32 {
    let fields = ctx.as_ptr().cast::<u64>();
    // SAFETY: the record of a sys_exit tracepoint has 24 bytes; the verifier checks the reads.
    let (nr, result) = unsafe { (u64::from(*fields.add(1).cast::<u32>()), *fields.add(2)) };
    if (result as i64) < 0 {
        return 0;
    }
    let direction = syscall::direction(nr);
    if direction == Direction::NONE {
        return 0;
    }
    let registers = syscall::registers();
    let sock = sock::of_descriptor(syscall::descriptor(registers));
    if sock == 0 {
        return 0;
    }
    if syscall::peeks(registers, nr) {
        return 0;
    }
    if result == 0 {
        io::on_nothing(Turn::Returned, sock, direction);
        return 0;
    }
    // Of several messages, TCP has one stream: the first one's length is what can be known here.
    let bytes = if syscall::counts_messages(nr) {
        if sock::protocol(sock) == Protocol::Udp {
            udp::messages(sock, registers, direction, result);
            return 0;
        }
        syscall::buffer(registers, nr).len
    } else {
        result
    };
    let walks = bytes != 0
        && io::on_io(Turn::Returned, sock, bytes, direction, || {
            syscall::buffer(registers, nr)
        });
    if walks {
        let entry = entry(Turn::Earlier, direction == Direction::SENT);
        pieces::go_on(&ctx, &WALKERS, entry);
    }
    0
}

/// Goes on with a call that receives.
#[tracepoint]
pub fn sys_exit_recv_walk(ctx: TracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Earlier, false) });
    0
}

/// Goes on with a call that sends.
#[tracepoint]
pub fn sys_exit_send_walk(ctx: TracePointContext) -> i32 {
    pieces::walk(&ctx, &WALKERS, const { entry(Turn::Earlier, true) });
    0
}
