//! UDP: bytes and packets by process and remote, the packets that start QUIC connections, and the datagrams of DNS clients.
//!
//! A datagram's other end is seen, not guessed: the address that the call names, or the one that the socket is connected to. What was received on
//! a socket that is not connected comes from an unknown end where the tap runs before the kernel has handed the address out.

mod dns;
mod maps;
mod message;
mod quic;

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_ktime_get_ns, generated::bpf_get_current_comm,
};
use fathom_abi::{
    Role,
    counters::NetCounter,
    message::Direction,
    udp::{EPHEMERAL, RemoteClass, UdpFlow, UdpKey, UdpSock},
};

use self::{
    maps::{UDP_FLOWS, UDP_SOCKS},
    message::Message,
};
use crate::{
    connection,
    globals::WATCH_UDP,
    io::Turn,
    kernel,
    maps::count,
    sock,
    syscall::{self, MAX_MESSAGES},
    task::Current,
};

/// What entries start with. They lie where the kernel can take them from: a stack of 512 bytes, which the programs of the taps share with this, has no room
/// for them.
static NEW_SOCK: UdpSock = UdpSock {
    last_addr: [0; 16],
    array: 0,
    taken: [0; 2],
    array_tid: 0,
    index: 0,
    inner_tid: 0,
    last_port: 0,
    local_port: 0,
    role: Role::UNKNOWN,
    reserved: [0; 7],
};

/// See [`NEW_SOCK`].
static NEW_FLOW: UdpFlow = UdpFlow {
    born_ns: 0,
    last_ns: 0,
    bytes: [0; 2],
    packets: [0; 2],
    quic: 0,
    looked: 0,
    comm: [0; 16],
};

/// The other end of a datagram; all zeros where it is not known.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Remote {
    addr: [u8; 16],
    port: u16,
}

impl Remote {
    const UNKNOWN: Self = Self {
        addr: [0; 16],
        port: 0,
    };

    const fn is_known(&self) -> bool {
        self.port != 0
    }
}

/// What a tap knows of a datagram beside its sock and its bytes, in one word: a global function has five arguments at most.
#[derive(Clone, Copy)]
pub struct How(u64);

impl How {
    const SENT: u64 = 1;
    const LATER: u64 = 2;
    const INNER: u64 = 4;
    const RETURNED: u64 = 8;
    const INDEXED: u64 = 16;
    const UNREADABLE: u64 = 32;
    const INDEX_SHIFT: u32 = 32;

    /// The direction, and the turn of the program that sees it.
    #[inline(always)]
    pub fn new(direction: Direction, turn: Turn) -> Self {
        let sent = if direction == Direction::SENT {
            Self::SENT
        } else {
            0
        };
        let turn = match turn {
            Turn::Earlier => 0,
            Turn::Later => Self::LATER,
            Turn::Returned => Self::RETURNED,
        };
        Self(sent | turn)
    }

    /// Seen by the IPv4 function, which the IPv6 one calls for the addresses that are IPv4's.
    #[inline(always)]
    pub const fn inner(self) -> Self {
        Self(self.0 | Self::INNER)
    }

    /// Its bytes can't be found: the result does not say how many were copied.
    #[inline(always)]
    pub const fn unreadable(self) -> Self {
        Self(self.0 | Self::UNREADABLE)
    }

    /// The message of so many before it of the same system call.
    #[inline(always)]
    const fn indexed(self, index: u32) -> Self {
        Self(self.0 | Self::INDEXED | (index as u64) << Self::INDEX_SHIFT)
    }

    const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    fn direction(self) -> Direction {
        if self.has(Self::SENT) {
            Direction::SENT
        } else {
            Direction::RECEIVED
        }
    }
}

/// Takes the messages of a system call that has moved several and returned.
#[inline(always)]
pub fn messages(sock: u64, registers: Current, direction: Direction, moved: u64) {
    if WATCH_UDP.load() == 0 || connection::is_own(connection::current_tgid()) {
        return;
    }
    let array = syscall::second(registers);
    for index in 0..MAX_MESSAGES {
        if u64::from(index) >= moved {
            break;
        }
        let bytes = syscall::message_length(array, index);
        let how = How::new(direction, Turn::Returned).indexed(index);
        udp_moved(sock, bytes, how.0, 0);
    }
}

/// Takes a datagram of `bytes` into account. `msg` is the kernel's `struct msghdr`, or 0 where the system call's registers lead to the message.
#[inline(always)]
pub fn moved(sock: u64, bytes: u64, how: How, msg: u64) {
    if WATCH_UDP.load() != 0 {
        udp_moved(sock, bytes, how.0, msg);
    }
}

/// See [`moved`]. Returns 0.
///
/// A global function (5.6), which the kernel verifies by itself, once, and not with each of the ways to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn udp_moved(sock: u64, bytes: u64, how: u64, msg: u64) -> u32 {
    let how = How(how);
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(state) = state(sock) else {
        return 0;
    };
    if is_taken(state, how, sock, pid_tgid as u32) {
        return 0;
    }
    count(NetCounter::UdpSeen);
    let direction = how.direction();
    let message = if msg == 0 {
        Message::of_call(state, how, pid_tgid as u32)
    } else {
        Message::of_kernel(msg, how, bytes)
    };
    let mut remote = message.remote();
    if !remote.is_known() {
        sock::remote(sock, &mut remote.addr, &mut remote.port);
    }
    if state.role == Role::UNKNOWN {
        state.role = role(state.local_port, remote.port, direction);
    }
    if direction == Direction::SENT && remote.is_known() {
        state.last_addr = remote.addr;
        state.last_port = remote.port;
    }
    // SAFETY: has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    account(state, &remote, direction, bytes, &message, now);
    dns::take(sock, state, &remote, direction, bytes, &message, now);
    0
}

/// The memory of a sock, made where there is none, or where it is another's that had the address before.
#[inline(always)]
fn state(sock: u64) -> Option<&'static mut UdpSock> {
    let local_port = sock::local_port(sock);
    let known = UDP_SOCKS.get_ptr_mut(&sock);
    // SAFETY: the kernel keeps the entry's memory until this program has ended.
    if let Some(state) = known.map(|state| unsafe { &mut *state })
        && state.local_port == local_port
    {
        return Some(state);
    }
    // The oldest make room for it.
    let _ = UDP_SOCKS.insert(&sock, &NEW_SOCK, 0);
    let state = UDP_SOCKS.get_ptr_mut(&sock)?;
    // SAFETY: as above.
    let state = unsafe { &mut *state };
    state.local_port = local_port;
    Some(state)
}

/// Whether another program has taken the call already: see [`Turn`], and the inner function.
#[inline(always)]
fn is_taken(state: &mut UdpSock, how: How, sock: u64, tid: u32) -> bool {
    if how.has(How::INNER) {
        if sock::is_v6(sock) {
            state.inner_tid = tid;
        }
    } else if state.inner_tid == tid {
        state.inner_tid = 0;
        if !how.has(How::LATER) {
            // For the one whose turn is later.
            state.taken[1] = tid;
        }
        return true;
    }
    let taken = &mut state.taken[usize::from(how.has(How::SENT))];
    if !how.has(How::LATER) {
        *taken = tid;
    } else if *taken == tid {
        *taken = 0;
        return true;
    }
    false
}

/// Which end a socket is: where one of the ports is ephemeral, that of the client; else the one that sends first is the client.
#[inline(always)]
fn role(local_port: u16, remote_port: u16, direction: Direction) -> Role {
    let is_server = if remote_port != 0 && (local_port < EPHEMERAL) != (remote_port < EPHEMERAL) {
        local_port < EPHEMERAL
    } else {
        direction == Direction::RECEIVED
    };
    if is_server {
        Role::SERVER
    } else {
        Role::CLIENT
    }
}

/// Adds a datagram to its entry of `UDP_FLOWS`.
#[inline(always)]
fn account(
    state: &UdpSock,
    remote: &Remote,
    direction: Direction,
    bytes: u64,
    message: &Message,
    now: u64,
) {
    let mut key = UdpKey {
        tgid: connection::current_tgid(),
        role: state.role,
        ..UdpKey::default()
    };
    if state.role == Role::SERVER {
        key.local_port = state.local_port;
        if remote.is_known() {
            key.class = RemoteClass::of(&remote.addr);
        }
    } else {
        key.remote_addr = remote.addr;
        if remote.port < EPHEMERAL {
            key.remote_port = remote.port;
        }
    }
    let Some(flow) = flow(&key, now) else {
        count(NetCounter::UdpFlowsFull);
        return;
    };
    let way = usize::from(direction == Direction::SENT);
    flow.last_ns = now;
    // SAFETY: aligned words of a map's value.
    unsafe {
        kernel::add(&raw mut flow.bytes[way], bytes);
        kernel::add(&raw mut flow.packets[way], 1);
    }
    quic::look(flow, bytes, message);
}

/// The entry of a key, made where there is none; none when the table is full.
#[inline(always)]
fn flow(key: &UdpKey, now: u64) -> Option<&'static mut UdpFlow> {
    if let Some(flow) = UDP_FLOWS.get_ptr_mut(key) {
        // SAFETY: as in `state`.
        return Some(unsafe { &mut *flow });
    }
    // Another thread may have been first (BPF_NOEXIST): then its entry is there, and is that thread's to begin.
    let is_first = UDP_FLOWS.insert(key, &NEW_FLOW, 1).is_ok();
    let flow = UDP_FLOWS.get_ptr_mut(key)?;
    // SAFETY: as in `state`.
    let flow = unsafe { &mut *flow };
    if is_first {
        flow.born_ns = now;
        // SAFETY: the name has the room that is named.
        unsafe { bpf_get_current_comm((&raw mut flow.comm).cast(), 16) };
    }
    Some(flow)
}
