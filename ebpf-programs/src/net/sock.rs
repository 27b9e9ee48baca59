//! What a `struct sock` says.

use fathom_abi::{Endpoints, message::Direction, offsets::ABSENT};

use aya_ebpf::helpers::bpf_get_current_task;

use crate::{globals::offset, kernel::read};

/// The family of IPv4.
pub const AF_INET: u16 = 2;
/// The family of IPv6.
pub const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const SOCK_DGRAM: u16 = 2;
/// `SOCK_DONE` of `enum sock_flags`: a FIN was taken in.
const SOCK_DONE: u32 = 1;

/// Whether the sock is TCP over IPv4 or IPv6.
#[inline(always)]
pub fn is_tcp(sock: u64) -> bool {
    protocol(sock) == Protocol::Tcp
}

/// What a sock speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
    /// Anything else.
    Other,
}

/// What the sock speaks.
#[inline(always)]
pub fn protocol(sock: u64) -> Protocol {
    let family = read::<u16>(sock, offset!(sk_family));
    if family != AF_INET && family != AF_INET6 {
        return Protocol::Other;
    }
    match read::<u16>(sock, offset!(sk_protocol)) {
        IPPROTO_TCP => Protocol::Tcp,
        // A raw socket may have that number, too.
        IPPROTO_UDP if read::<u16>(sock, offset!(sk_type)) == SOCK_DGRAM => Protocol::Udp,
        _ => Protocol::Other,
    }
}

/// Whether the sock is one of IPv6.
#[inline(always)]
pub fn is_v6(sock: u64) -> bool {
    read::<u16>(sock, offset!(sk_family)) == AF_INET6
}

/// The address and the port that the sock is connected to; leaves both as they are where it is not.
#[inline(always)]
pub fn remote(sock: u64, addr: &mut [u8; 16], port: &mut u16) {
    let connected = remote_port(sock);
    if connected == 0 {
        return;
    }
    *port = connected;
    *addr = if is_v6(sock) && offset!(sk_v6_daddr) != ABSENT {
        read(sock, offset!(sk_v6_daddr))
    } else {
        mapped(read(sock, offset!(sk_daddr)))
    };
}

/// Its two ends; zeros where they can't be read.
#[inline(always)]
pub fn endpoints(sock: u64, into: &mut Endpoints) {
    into.local_port = local_port(sock);
    into.remote_port = remote_port(sock);
    if read::<u16>(sock, offset!(sk_family)) == AF_INET6 && offset!(sk_v6_daddr) != ABSENT {
        into.ip_version = 6;
        into.local_addr = read(sock, offset!(sk_v6_rcv_saddr));
        into.remote_addr = read(sock, offset!(sk_v6_daddr));
    } else {
        into.ip_version = 4;
        into.local_addr = mapped(read(sock, offset!(sk_rcv_saddr)));
        into.remote_addr = mapped(read(sock, offset!(sk_daddr)));
    }
}

/// An IPv4 address as RFC 4291 section 2.5.5.2 maps it.
#[inline(always)]
fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = v4;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// The network namespace, as its address.
#[inline(always)]
pub fn net(sock: u64) -> u64 {
    read(sock, offset!(sk_net))
}

/// The local port.
#[inline(always)]
pub fn local_port(sock: u64) -> u16 {
    read(sock, offset!(sk_num))
}

/// The other end's port.
#[inline(always)]
pub fn remote_port(sock: u64) -> u16 {
    u16::from_be(read(sock, offset!(sk_dport)))
}

/// The error that the socket holds, an errno.
#[inline(always)]
pub fn error(sock: u64) -> u32 {
    read(sock, offset!(sk_err))
}

/// Payload bytes sent, each once.
#[inline(always)]
pub fn bytes_sent(sock: u64) -> u64 {
    let sent: u64 = read(sock, offset!(tp_bytes_sent));
    let again: u64 = read(sock, offset!(tp_bytes_retrans));
    sent.wrapping_sub(again)
}

/// Payload bytes received in order. The kernel counts a FIN as one byte (`tcp_rcv_nxt_update` up to `end_seq`).
#[inline(always)]
pub fn bytes_received(sock: u64) -> u64 {
    let received: u64 = read(sock, offset!(tp_bytes_received));
    let flags: u64 = read(sock, offset!(sk_flags));
    received.wrapping_sub((flags >> SOCK_DONE) & 1)
}

/// How far one direction has come, by the sequence numbers of what was handed to the kernel and what was taken from it.
#[inline(always)]
pub fn progress(sock: u64, direction: Direction) -> u32 {
    if direction == Direction::SENT {
        read(sock, offset!(tp_write_seq))
    } else {
        read(sock, offset!(tp_copied_seq))
    }
}

/// The smoothed round-trip time in microseconds (the kernel keeps it times eight).
#[inline(always)]
pub fn srtt_us(sock: u64) -> u32 {
    read::<u32>(sock, offset!(tp_srtt_us)) >> 3
}

/// Segments sent again.
#[inline(always)]
pub fn retransmits(sock: u64) -> u32 {
    read(sock, offset!(tp_total_retrans))
}

/// The sock behind a file descriptor of the current task; 0 if it is no socket's.
#[inline(always)]
pub fn of_descriptor(fd: u32) -> u64 {
    // SAFETY: has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task, offset!(task_files));
    let table: u64 = read(files, offset!(files_fdt));
    if fd >= read::<u32>(table, offset!(fdt_max_fds)) {
        return 0;
    }
    let array: u64 = read(table, offset!(fdt_fd));
    let file: u64 = read(array.wrapping_add(u64::from(fd) * 8), 0);
    let socket: u64 = read(file, offset!(file_private_data));
    // Any file may have private data; only a socket's points back at its file.
    if socket == 0 || read::<u64>(socket, offset!(socket_file)) != file {
        return 0;
    }
    read(socket, offset!(socket_sk))
}
