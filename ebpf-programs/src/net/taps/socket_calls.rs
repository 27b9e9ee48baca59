//! accept(2) and connect(2): fexit (5.5, x86-64) where the kernel takes it, else the tracepoints of the system calls.
//!
//! No kprobe: a return probe of `inet_csk_accept` is held as long as accept(2) sleeps, and the kernel has few of them.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_probe_read_user,
    macros::{fexit, tracepoint},
    programs::{FExitContext, TracePointContext},
};
use fathom_abi::Endpoints;

use crate::{
    calls,
    globals::ACCEPT_ARGUMENTS,
    kernel::{Memory as _, read},
    sock, syscall,
    task::offset,
};

/// `struct sock *inet_csk_accept(sk, flags, err, kern)`; since 6.10 `(sk, arg)`.
#[fexit(function = "inet_csk_accept")]
pub fn accept_exit(ctx: FExitContext) -> i32 {
    // As a number: the verifier knows it as a pointer otherwise, and lets no global function have one.
    let arguments = if ACCEPT_ARGUMENTS.load() == 4 { 4 } else { 2 };
    let sock: u64 = read(ctx.as_ptr() as u64, arguments * 8);
    if sock != 0 {
        calls::accepted(sock);
    }
    0
}

/// `int inet_stream_connect(sock, uaddr, addr_len, flags)`
#[fexit(function = "inet_stream_connect")]
pub fn connect_exit(ctx: FExitContext) -> i32 {
    let result: u64 = ctx.arg(4);
    let socket: u64 = read(ctx.as_ptr() as u64, 0);
    let address: u64 = read(ctx.as_ptr() as u64, 8);
    calls::connected(sock::of_socket(socket), result as i32, |endpoints| {
        remote(&read(address, 0), endpoints);
    });
    0
}

/// Of accept(2) and accept4(2). `struct syscall_trace_exit`: the result at 16.
#[tracepoint]
pub fn sys_exit_accept(ctx: TracePointContext) -> i32 {
    let descriptor = result(&ctx);
    if descriptor >= 0 {
        let sock = sock::of_descriptor(descriptor as u32);
        if sock != 0 {
            calls::accepted(sock);
        }
    }
    0
}

/// Of connect(2).
#[tracepoint]
pub fn sys_exit_connect(ctx: TracePointContext) -> i32 {
    let result = result(&ctx);
    if result >= 0 {
        return 0;
    }
    let registers = syscall::registers();
    let sock = sock::of_descriptor(syscall::descriptor(registers));
    if sock != 0 {
        calls::connected(sock, result as i32, |endpoints| {
            let address: u64 = registers.read(offset!(regs_si));
            // SAFETY: the helper checks the address.
            let bytes = unsafe { bpf_probe_read_user(address as *const SocketAddress) };
            if let Ok(bytes) = bytes {
                remote(&bytes, endpoints);
            }
        });
    }
    0
}

#[inline(always)]
fn result(ctx: &TracePointContext) -> i64 {
    // SAFETY: the record of a sys_exit tracepoint has 24 bytes; the verifier checks the read.
    unsafe { *ctx.as_ptr().cast::<i64>().add(2) }
}

/// `struct sockaddr_in6`, whose first eight bytes `struct sockaddr_in` shares but for its address.
#[derive(Clone, Copy)]
#[repr(C)]
struct SocketAddress {
    family: u16,
    port: [u8; 2],
    /// Of IPv4 the address; of IPv6 the flow.
    v4: [u8; 4],
    v6: [u8; 16],
}

/// Notes the remote end. The sock's own is unset where a connect failed before it began.
#[inline(always)]
fn remote(address: &SocketAddress, endpoints: &mut Endpoints) {
    const AF_INET6: u16 = 10;
    endpoints.remote_port = u16::from_be_bytes(address.port);
    endpoints.remote_addr = if address.family == AF_INET6 {
        address.v6
    } else {
        sock::mapped(address.v4)
    };
}
