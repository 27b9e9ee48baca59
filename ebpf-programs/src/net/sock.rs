//! What a `struct sock` says.

use fathom_abi::{Endpoints, message::Direction, offsets::ABSENT};

use aya_ebpf::{cty::c_void, helpers::generated::bpf_skc_to_tcp_sock};

use crate::{
    kernel::{Memory, Typed, read},
    task::{self, offset},
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

/// A sock that a tap has seen.
pub trait Sock: Copy {
    /// How it is read.
    type Memory: Memory;

    /// Where it lies: its connection's key.
    fn key(self) -> u64;

    /// What there is to read of any sock.
    fn memory(self) -> Self::Memory;

    /// The same as a `struct tcp_sock`; `None` where a typed one is none.
    fn tcp(self) -> Option<Self::Memory>;
}

impl Sock for u64 {
    type Memory = Self;

    #[inline(always)]
    fn key(self) -> u64 {
        self
    }

    #[inline(always)]
    fn memory(self) -> Self {
        self
    }

    #[inline(always)]
    fn tcp(self) -> Option<Self::Memory> {
        Some(self)
    }
}

/// A typed pointer to a sock, and its address as a number.
#[derive(Clone, Copy)]
pub struct TypedSock {
    key: u64,
    pointer: Typed,
}

impl TypedSock {
    /// The pointer is a program's typed argument. `word` is the program's own on this CPU, see [`crate::maps::Taken`].
    ///
    /// The word is left as it was found: older kernels (5.10) run a program also in an interrupt that has found the same one at work, perhaps between two of the
    /// accesses here.
    #[inline(always)]
    pub fn new(pointer: *const c_void, word: *mut u64) -> Self {
        // SAFETY: the caller's own word; volatile, or the compiler would hand on the pointer.
        let key = unsafe {
            let found = word.read_volatile();
            word.write_volatile(pointer as u64);
            let key = word.read_volatile();
            word.write_volatile(found);
            key
        };
        Self {
            key,
            pointer: Typed::new(pointer),
        }
    }
}

impl Sock for TypedSock {
    type Memory = Typed;

    #[inline(always)]
    fn key(self) -> u64 {
        self.key
    }

    #[inline(always)]
    fn memory(self) -> Typed {
        self.pointer
    }

    #[inline(always)]
    fn tcp(self) -> Option<Self::Memory> {
        typed_tcp(self.pointer)
    }
}

/// A sock as the `struct tcp_sock` that it is; `None` of one of another protocol. The pointer is a program's typed argument.
#[inline(always)]
fn typed_tcp(sock: Typed) -> Option<Typed> {
    // SAFETY: the helper (5.9) looks what the sock is.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock.pointer().cast_mut()) };
    (!tcp.is_null()).then(|| Typed::new(tcp.cast()))
}

/// Whether the sock is TCP over IPv4 or IPv6.
#[inline(always)]
pub fn is_tcp(sock: impl Memory) -> bool {
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
pub fn protocol(sock: impl Memory) -> Protocol {
    let family = sock.read::<u16>(offset!(sk_family));
    if family != AF_INET && family != AF_INET6 {
        return Protocol::Other;
    }
    match sock.read::<u16>(offset!(sk_protocol)) {
        IPPROTO_TCP => Protocol::Tcp,
        // A raw socket may have that number, too.
        IPPROTO_UDP if sock.read::<u16>(offset!(sk_type)) == SOCK_DGRAM => Protocol::Udp,
        _ => Protocol::Other,
    }
}

/// Whether the sock is one of IPv6.
#[inline(always)]
pub fn is_v6(sock: impl Memory) -> bool {
    sock.read::<u16>(offset!(sk_family)) == AF_INET6
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
pub unsafe fn endpoints(sock: impl Memory, into: *mut Endpoints) {
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
unsafe fn address(to: *mut [u8; 16], sock: impl Memory, offset: u32, is_v6: bool) {
    const PREFIX: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    // SAFETY: the caller's; the number has the address's bytes as they are in memory.
    unsafe {
        let words = to.cast::<u64>();
        if is_v6 {
            words.write(sock.read(offset));
            words.add(1).write(sock.read(offset.wrapping_add(8)));
        } else {
            words.write(0);
            words
                .add(1)
                .write(PREFIX | u64::from(sock.read::<u32>(offset)) << 32);
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
pub fn net(sock: impl Memory) -> u64 {
    sock.read(offset!(sk_net))
}

/// The local port.
#[inline(always)]
pub fn local_port(sock: impl Memory) -> u16 {
    sock.read(offset!(sk_num))
}

/// The local port; of a sock that has given it up (`inet_put_port`), the one that it had.
#[inline(always)]
pub fn last_port(sock: impl Memory) -> u16 {
    match local_port(sock) {
        0 => u16::from_be(sock.read(offset!(inet_sport))),
        port => port,
    }
}

/// The other end's port.
#[inline(always)]
pub fn remote_port(sock: impl Memory) -> u16 {
    u16::from_be(sock.read(offset!(sk_dport)))
}

/// The error that the socket holds, an errno.
#[inline(always)]
pub fn error(sock: impl Memory) -> u32 {
    sock.read(offset!(sk_err))
}

/// Payload bytes sent, each once.
#[inline(always)]
pub fn bytes_sent(sock: impl Memory) -> u64 {
    let sent: u64 = sock.read(offset!(tp_bytes_sent));
    let again: u64 = sock.read(offset!(tp_bytes_retrans));
    sent.wrapping_sub(again)
}

/// 1 where the other end's FIN was taken in, else 0.
#[inline(always)]
fn fin(sock: impl Memory) -> u64 {
    let flags: u64 = sock.read(offset!(sk_flags));
    (flags >> SOCK_DONE) & 1
}

/// Payload bytes received in order. The kernel counts a FIN as one byte (`tcp_rcv_nxt_update` up to `end_seq`).
#[inline(always)]
pub fn bytes_received(sock: impl Memory) -> u64 {
    let received: u64 = sock.read(offset!(tp_bytes_received));
    received.wrapping_sub(fin(sock))
}

/// How far one direction has come, by the sequence numbers of what was handed to the kernel and what was taken from it.
#[inline(always)]
pub fn progress(sock: impl Memory, direction: Direction) -> u32 {
    if direction == Direction::SENT {
        sock.read(offset!(tp_write_seq))
    } else {
        sock.read(offset!(tp_copied_seq))
    }
}

/// The smoothed round-trip time in microseconds (the kernel keeps it times eight).
#[inline(always)]
pub fn srtt_us(sock: impl Memory) -> u32 {
    sock.read::<u32>(offset!(tp_srtt_us)) >> 3
}

/// Segments sent again.
#[inline(always)]
pub fn retransmits(sock: impl Memory) -> u32 {
    sock.read(offset!(tp_total_retrans))
}

/// The least round-trip time of late in microseconds: the first sample of a `struct minmax`, whose value lies behind its time. Before the first
/// measurement the greatest number.
#[inline(always)]
pub fn min_rtt_us(sock: impl Memory) -> u32 {
    sock.read(offset!(tp_rtt_min).wrapping_add(size_of::<u32>() as u32))
}

/// Segments received and sent.
#[inline(always)]
pub fn segments(sock: impl Memory) -> [u32; 2] {
    [
        sock.read(offset!(tp_segs_in)),
        sock.read(offset!(tp_segs_out)),
    ]
}

/// Whether the other end still sends, and bytes were received that nobody has read.
#[inline(always)]
pub fn is_cut_short(sock: impl Memory) -> bool {
    let received: u32 = sock.read(offset!(tp_rcv_nxt));
    let taken: u32 = sock.read(offset!(tp_copied_seq));
    fin(sock) == 0 && received.wrapping_sub(taken) as i32 > 0
}

/// The network namespace's inode number.
#[inline(always)]
pub fn netns(sock: impl Memory) -> u32 {
    sock.follow(offset!(sk_net)).read(offset!(net_inum))
}

/// The cgroup that the sock was made in, by its number; 0 where it is not known.
#[inline(always)]
pub fn cgroup(sock: impl Memory) -> u64 {
    if offset!(sk_cgroup) != ABSENT {
        let cgroup = sock.follow(offset!(sk_cgroup));
        return cgroup.follow(offset!(cgroup_kn)).read(offset!(kn_id));
    }
    if offset!(sk_cgroup_old) == ABSENT {
        return 0;
    }
    // With its lowest bits set the word is none of a cgroup's (`sock_cgroup_ptr`).
    let word: u64 = sock.read(offset!(sk_cgroup_old));
    let cgroup = if word & 3 == 0 { word } else { 0 };
    cgroup.follow(offset!(cgroup_kn)).read(offset!(kn_id))
}

/// Whether connect(2) on it has still to return for the first time (`SS_UNCONNECTED`).
#[inline(always)]
pub fn is_unconnected(sock: impl Memory) -> bool {
    let socket = sock.follow(offset!(sk_socket));
    socket.read::<u32>(offset!(socket_state)) == SS_UNCONNECTED
}

/// The sock of a `struct socket`.
#[inline(always)]
pub fn of_socket(socket: u64) -> u64 {
    read(socket, offset!(socket_sk))
}

/// Its state (`TCP_*` of `net/tcp_states.h`).
#[inline(always)]
pub fn state(sock: impl Memory) -> u8 {
    sock.read(offset!(sk_state))
}

/// The sock behind a file descriptor of the current task; 0 if it is no socket's.
#[inline(always)]
pub fn of_descriptor(fd: u32) -> u64 {
    let files = task::current().follow(offset!(task_files));
    let table = files.follow(offset!(files_fdt));
    if fd >= table.read::<u32>(offset!(fdt_max_fds)) {
        return 0;
    }
    let array: u64 = table.read(offset!(fdt_fd));
    let file: u64 = read(array.wrapping_add(u64::from(fd) * 8), 0);
    let socket: u64 = read(file, offset!(file_private_data));
    // Any file may have private data; only a socket's points back at its file.
    if socket == 0 {
        return 0;
    }
    // The two lie side by side (`linux/net.h`), and a read costs as much as its call.
    if offset!(socket_sk) == offset!(socket_file).wrapping_add(8) {
        let [back, sock]: [u64; 2] = read(socket, offset!(socket_file));
        return if back == file { sock } else { 0 };
    }
    if read::<u64>(socket, offset!(socket_file)) != file {
        return 0;
    }
    read(socket, offset!(socket_sk))
}
