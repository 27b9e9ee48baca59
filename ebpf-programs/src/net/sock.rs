//! What a `struct sock` says.

use fathom_abi::{Endpoints, message::Direction, offsets::ABSENT};

use aya_ebpf::helpers::bpf_get_current_task;

use crate::{
    kernel::{read, read_into},
    task::offset,
};

/// The family of IPv4.
pub const AF_INET: u16 = 2;
/// The family of IPv6.
pub const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const SOCK_DGRAM: u16 = 2;
/// `SOCK_DONE` of `enum sock_flags`: a FIN was taken in.
const SOCK_DONE: u32 = 1;
/// Of `enum socket_state` (`linux/net.h`).
const SS_UNCONNECTED: u32 = 1;

/// Whether a sock whose state has changed is one of TCP: the tracepoint is for sockets of IPv4 and IPv6 alone (`inet_sk_set_state`).
#[inline(always)]
pub fn changes_as_tcp(sock: u64) -> bool {
    read::<u16>(sock, offset!(sk_protocol)) == IPPROTO_TCP
}

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
///
/// # Safety
/// `into` is valid for writes, and lies at a multiple of eight.
#[inline(always)]
pub unsafe fn endpoints(sock: u64, into: *mut Endpoints) {
    let is_v6 = is_v6(sock) && offset!(sk_v6_daddr) != ABSENT;
    let [local, remote] = if is_v6 {
        [offset!(sk_v6_rcv_saddr), offset!(sk_v6_daddr)]
    } else {
        [offset!(sk_rcv_saddr), offset!(sk_daddr)]
    };
    // SAFETY: the caller's.
    unsafe {
        (*into).local_port = local_port(sock);
        (*into).remote_port = remote_port(sock);
        (*into).ip_version = if is_v6 { 6 } else { 4 };
        address(&raw mut (*into).local_addr, sock, local, is_v6);
        address(&raw mut (*into).remote_addr, sock, remote, is_v6);
    }
}

/// Writes the address at an offset; one of IPv4 as [`mapped`] makes it.
///
/// # Safety
/// As [`endpoints`].
#[inline(always)]
unsafe fn address(to: *mut [u8; 16], sock: u64, offset: u32, is_v6: bool) {
    const PREFIX: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    // SAFETY: the caller's; the number has the address's bytes as they are in memory.
    unsafe {
        if is_v6 {
            read_into(to, sock, offset);
        } else {
            let words = to.cast::<u64>();
            words.write(0);
            words
                .add(1)
                .write(PREFIX | u64::from(read::<u32>(sock, offset)) << 32);
        }
    }
}

/// An IPv4 address as RFC 4291 section 2.5.5.2 maps it.
#[inline(always)]
pub fn mapped(v4: [u8; 4]) -> [u8; 16] {
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

/// The local port; of a sock that has given it up (`inet_put_port`), the one that it had.
#[inline(always)]
pub fn last_port(sock: u64) -> u16 {
    match local_port(sock) {
        0 => u16::from_be(read(sock, offset!(inet_sport))),
        port => port,
    }
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

/// 1 where the other end's FIN was taken in, else 0.
#[inline(always)]
fn fin(sock: u64) -> u64 {
    let flags: u64 = read(sock, offset!(sk_flags));
    (flags >> SOCK_DONE) & 1
}

/// Payload bytes received in order. The kernel counts a FIN as one byte (`tcp_rcv_nxt_update` up to `end_seq`).
#[inline(always)]
pub fn bytes_received(sock: u64) -> u64 {
    let received: u64 = read(sock, offset!(tp_bytes_received));
    received.wrapping_sub(fin(sock))
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

/// The least round-trip time of late in microseconds: the first sample of a `struct minmax`, whose value lies behind its time. Before the first
/// measurement the greatest number.
#[inline(always)]
pub fn min_rtt_us(sock: u64) -> u32 {
    read(
        sock,
        offset!(tp_rtt_min).wrapping_add(size_of::<u32>() as u32),
    )
}

/// Segments received and sent.
#[inline(always)]
pub fn segments(sock: u64) -> [u32; 2] {
    [
        read(sock, offset!(tp_segs_in)),
        read(sock, offset!(tp_segs_out)),
    ]
}

/// Whether the other end still sends, and bytes were received that nobody has read.
#[inline(always)]
pub fn is_cut_short(sock: u64) -> bool {
    let received: u32 = read(sock, offset!(tp_rcv_nxt));
    let taken: u32 = read(sock, offset!(tp_copied_seq));
    fin(sock) == 0 && received.wrapping_sub(taken) as i32 > 0
}

/// The network namespace's inode number.
#[inline(always)]
pub fn netns(sock: u64) -> u32 {
    read(net(sock), offset!(net_inum))
}

/// The cgroup that the sock was made in, by its number; 0 where it is not known.
#[inline(always)]
pub fn cgroup(sock: u64) -> u64 {
    let cgroup: u64 = if offset!(sk_cgroup) != ABSENT {
        read(sock, offset!(sk_cgroup))
    } else if offset!(sk_cgroup_old) != ABSENT {
        // With its lowest bits set the word is none of a cgroup's (`sock_cgroup_ptr`).
        let word: u64 = read(sock, offset!(sk_cgroup_old));
        if word & 3 == 0 { word } else { 0 }
    } else {
        0
    };
    let node: u64 = read(cgroup, offset!(cgroup_kn));
    read(node, offset!(kn_id))
}

/// Whether connect(2) on it has still to return for the first time (`SS_UNCONNECTED`).
#[inline(always)]
pub fn is_unconnected(sock: u64) -> bool {
    let socket: u64 = read(sock, offset!(sk_socket));
    read::<u32>(socket, offset!(socket_state)) == SS_UNCONNECTED
}

/// The sock of a `struct socket`.
#[inline(always)]
pub fn of_socket(socket: u64) -> u64 {
    read(socket, offset!(socket_sk))
}

/// Its state (`TCP_*` of `net/tcp_states.h`).
#[inline(always)]
pub fn state(sock: u64) -> u8 {
    read(sock, offset!(sk_state))
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
