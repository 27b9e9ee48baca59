//! Which goroutine makes a call, and for which one.
//!
//! A request of `net/http`'s client is not sent by the goroutine that asks for it: over HTTP/1 each connection has a loop that writes, a goroutine of
//! its own. Two functions of its transport say who is who. `persistConn.roundTrip` asks on a connection, which it has to itself until it returns, with an answer
//! or with the connection closed; and what the goroutine in `persistConn.writeLoop` sends on that connection is sent for the one that has asked last. (Over HTTP/2
//! there is a goroutine for each request, which nothing leads back from.)

use aya_ebpf::{EbpfContext, helpers::bpf_probe_read_kernel};
use fathom_abi::{Role, message::Direction};

use crate::{
    connection,
    io::Call,
    maps::{GO_ASKERS, GO_LOOPS},
    worker,
};

/// Where Go (1.17, register ABI) keeps what is wanted, as words of `struct pt_regs` (`arch/x86/include/asm/ptrace.h`).
#[cfg(bpf_target_arch = "x86_64")]
pub mod go {
    /// RAX: a method's object.
    pub const OBJECT: usize = 10;
    /// RBX.
    pub const ADDRESS: usize = 5;
    /// RCX.
    pub const LENGTH: usize = 11;
    /// RAX.
    pub const RESULT: usize = 10;
    pub use crate::worker::GOROUTINE;
}

/// The same of `struct user_pt_regs` (`arch/arm64/include/uapi/asm/ptrace.h`).
#[cfg(bpf_target_arch = "aarch64")]
pub mod go {
    pub const OBJECT: usize = 0;
    pub const ADDRESS: usize = 1;
    pub const LENGTH: usize = 2;
    pub const RESULT: usize = 0;
    pub use crate::worker::GOROUTINE;
}

/// A register of the program where a probe was hit, by its place in `struct pt_regs`.
#[inline(always)]
pub fn register(ctx: &impl EbpfContext, place: usize) -> u64 {
    // SAFETY: the context is a `struct pt_regs`, which the verifier holds the read to.
    unsafe { bpf_probe_read_kernel(ctx.as_ptr().cast::<u64>().add(place)) }.unwrap_or(0)
}

/// A goroutine asks on a connection. (Where there is no room for that, here and below, it is not known who has asked.)
#[inline(always)]
pub fn asks(ctx: &impl EbpfContext) {
    let connection = register(ctx, go::OBJECT);
    let _ = GO_ASKERS.insert([process(), connection], &register(ctx, go::GOROUTINE), 0);
}

/// A goroutine becomes the loop of a connection.
#[inline(always)]
pub fn writes(ctx: &impl EbpfContext) {
    let goroutine = register(ctx, go::GOROUTINE);
    let _ = GO_LOOPS.insert([process(), goroutine], &register(ctx, go::OBJECT), 0);
}

/// A loop ends, and what it was may be another goroutine next.
#[inline(always)]
pub fn ends(ctx: &impl EbpfContext) {
    let _ = GO_LOOPS.remove([process(), register(ctx, go::GOROUTINE)]);
}

#[inline(always)]
fn process() -> u64 {
    u64::from(connection::current_tgid())
}

/// Whom the bytes of a call are for.
#[inline(always)]
pub fn of(call: &Call, role: Role) -> u64 {
    let is_request = role == Role::CLIENT && call.direction == Direction::SENT;
    goroutine(call.pid_tgid, u32::from(is_request))
}

/// The goroutine of the current task, or the one that it sends a request for; 0 where it is not known which that is.
///
/// A global function, as `record::send_message`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn goroutine(pid_tgid: u64, is_request: u32) -> u64 {
    let own = worker::goroutine();
    if is_request == 0 {
        return own;
    }
    let process = pid_tgid >> 32;
    // SAFETY: a word, which may be any.
    let Some(&connection) = (unsafe { GO_LOOPS.get([process, own]) }) else {
        return own;
    };
    // SAFETY: as above.
    match unsafe { GO_ASKERS.get([process, connection]) } {
        Some(&asker) => asker,
        None => 0,
    }
}
