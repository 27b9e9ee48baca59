//! What is common to all taps: an I/O call on a TCP socket has returned.

use core::mem::offset_of;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use fathom_abi::{
    Role,
    counters::NetCounter,
    flow::Owner,
    message::{ConnectionState, Direction, Gear, MessageEvent, MessageKind, Overtaken, Told},
};

use crate::{
    connection, flow, goroutine,
    kernel::{self, Memory},
    maps::{self, SCRATCH, Scratch},
    pieces, report,
    sock::{self, Protocol, Sock},
    syscall::Buffer,
    tls, turns, udp,
};

/// An I/O call that moved bytes, with its buffer.
pub struct Call {
    /// The connection's key in `CONNECTIONS`.
    pub key: u64,
    /// Bytes moved; more than zero.
    pub bytes: u64,
    /// Which way.
    pub direction: Direction,
    /// When it returned.
    pub now: u64,
    /// The thread.
    pub pid_tgid: u64,
    /// Where the bytes lie.
    pub buffer: Buffer,
    /// Whether it was seen in its turn.
    pub order: Order,
    /// How far what was sent has come.
    pub sent: u32,
}

/// When a call was seen. Calls are seen when they return, so that one that sends can be seen later than one that receives what answers it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In its turn.
    InTurn,
    /// Before a call that has sent so many bytes already.
    Ahead(u32),
    /// After one that was seen ahead of it, and took it into account.
    Overtaken,
}

/// What the end of what is sent adds to its sequence numbers, without a call that sends.
const FIN: i32 = 1;

/// What the sequence numbers say of a call on a connection that takes turns, and how far what was sent has come.
#[inline(always)]
fn order(state: &mut ConnectionState, sock: impl Memory, direction: Direction) -> (Order, u32) {
    let sent = sock::progress(sock, Direction::SENT);
    let unseen = sent.wrapping_sub(state.sent);
    if direction == Direction::SENT {
        if state.overtaken != Overtaken::NONE && unseen == 0 {
            return (Order::Overtaken, sent);
        }
    } else if unseen as i32 > FIN {
        return (Order::Ahead(unseen), state.sent);
    }
    (Order::InTurn, sent)
}

impl Call {
    /// The parts of a record that every kind has.
    #[inline(always)]
    pub fn fill(&self, state: &ConnectionState, kind: MessageKind, scratch: &mut Scratch) {
        let bytes = if self.bytes > u64::from(u32::MAX) {
            u32::MAX
        } else {
            self.bytes as u32
        };
        // Field by field: a value that is made first and copied then is copied byte by byte, in a call.
        let event = &mut scratch.event;
        event.id.sock = self.key;
        event.id.born_ns = state.born_ns;
        event.at_ns = self.now;
        event.tgid = (self.pid_tgid >> 32) as u32;
        event.tid = self.pid_tgid as u32;
        event.goroutine = goroutine::of(self, state.role);
        event.message = state.message;
        event.io_bytes = bytes;
        event.offset = 0;
        event.captured = 0;
        event.kind = kind;
        event.direction = self.direction;
        connection::copy_endpoints(&state.endpoints, &mut event.endpoints);
        const {
            assert!(
                offset_of!(MessageEvent, previous_last_ns)
                    == offset_of!(MessageEvent, previous_bytes) + 8
            );
            assert!(offset_of!(MessageEvent, role).is_multiple_of(8));
            assert!(offset_of!(MessageEvent, role) + 8 == size_of::<MessageEvent>());
        }
        // SAFETY: these are two words of the event, and its last one, as was just asserted.
        unsafe {
            kernel::clear((&raw mut event.previous_bytes).cast::<[u64; 2]>());
            kernel::clear((&raw mut event.role).cast::<u64>());
        }
        event.role = state.role;
        event.over = u8::from(state.told == Told::OVER);
    }
}

/// When a program of a tap runs, of two on the same event.
///
/// The kernel keeps a program from running on a CPU where the same program was interrupted, by a task that preempted it. A
/// second program on the same event, the spare, takes the calls that this keeps from the other. Each call is taken once: the
/// one with the earlier turn leaves a note, and the other looks for it. Where there is one program, either turn does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Before the other one.
    Earlier,
    /// After it.
    Later,
    /// Alone, when the system call returns: what the kernel hands out lies in user memory by then.
    Returned,
}

/// The entry of `SCRATCH` that is a program's alone.
#[inline(always)]
pub const fn entry(turn: Turn, is_sent: bool) -> u32 {
    is_sent as u32 + 2 * matches!(turn, Turn::Later) as u32
}

/// Takes an I/O call on any sock into account, which moved `bytes` (more than zero). `locate` finds them in user memory; it
/// is called for the calls that may hold a part of a head, and most don't.
///
/// Returns whether the walker of the program's entry is to go on; see [`pieces::go_on`].
#[inline(always)]
pub fn on_io(
    turn: Turn,
    sock: impl Sock,
    bytes: u64,
    direction: Direction,
    locate: impl FnOnce() -> Buffer,
) -> bool {
    let key = sock.key();
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    if connection::is_own(tgid) {
        // One that it accepted.
        if let Some(state) = connection::find(key) {
            state.gear = Gear::OWN;
        }
        return false;
    }
    let state = match connection::find(key) {
        Some(state) => state,
        None => match sock::protocol(sock.memory()) {
            Protocol::Tcp => match connection::make(key, Role::UNKNOWN) {
                Some(state) => {
                    if u64::from(sock::state(sock.memory())) == flow::CLOSE {
                        state.told = Told::OVER;
                    }
                    state
                }
                None => return false,
            },
            Protocol::Udp => {
                udp::moved(key, bytes, udp::How::new(direction, turn), 0);
                return false;
            }
            Protocol::Other => return false,
        },
    };
    state.resting = 0;
    let taken = &mut state.taken[usize::from(direction == Direction::SENT)];
    if turn != Turn::Later {
        *taken = pid_tgid as u32;
    } else if *taken == pid_tgid as u32 {
        *taken = 0;
        return false;
    }
    maps::count(NetCounter::IoSeen);
    if state.owner != Owner::USER {
        connection::own(state, tgid, Owner::USER);
        report::announce(key, state);
    }
    let is_first = state.first_us[usize::from(direction == Direction::SENT)] == 0;
    let is_counted = state.gear == Gear::COUNT || state.gear == Gear::OWN;
    if is_counted && !is_first {
        return false;
    }
    // SAFETY: has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if is_first {
        state.first_us[usize::from(direction == Direction::SENT)] =
            connection::microseconds_after(state.born_ns, now);
    }
    if is_counted {
        return false;
    }
    if state.gear == Gear::TLS {
        tls::bind(pid_tgid, key, direction);
        return false;
    }
    if turns::interrupts(state) {
        return false;
    }
    let Some(tcp) = sock.tcp() else {
        return false;
    };
    let (order, sent) = order(state, tcp, direction);
    if order == Order::InTurn && turns::goes_on(state, bytes, direction, now) {
        state.sent = sent;
        return false;
    }
    let call = Call {
        key,
        bytes,
        direction,
        now,
        pid_tgid,
        buffer: locate(),
        order,
        sent,
    };
    if order == Order::InTurn && turns::is_strange(state, &call) {
        state.sent = sent;
        let_go(key, state);
        return false;
    }
    let entry = entry(turn, direction == Direction::SENT);
    let Some(scratch) = SCRATCH.get_ptr_mut(entry) else {
        return false;
    };
    // SAFETY: this CPU's own entry of this direction and turn; see `SCRATCH`.
    let scratch = unsafe { &mut *scratch };
    let walks = take(state, &call, scratch, entry);
    if direction == Direction::SENT {
        // Only now: a call that is seen meanwhile knows that this one is not done.
        state.sent = sent;
    }
    if state.gear == Gear::TLS {
        // Its first record.
        tls::bind(pid_tgid, key, direction);
    }
    if !walks {
        let_go(key, state);
    }
    walks
}

/// Keeps no entry of a connection that is over and of which no record was made: nobody would say that it may go. (Where records were made the decoder does, by
/// `report_connection`.)
#[inline(always)]
fn let_go(key: u64, state: &ConnectionState) {
    if state.told == Told::OVER && state.message == 0 && state.gear != Gear::TLS {
        flow::forget(key, state);
    }
}

/// Takes an I/O call into account that moved no bytes: an empty datagram, if the sock is one of datagrams.
#[inline(always)]
pub fn on_nothing(turn: Turn, sock: impl Sock, direction: Direction) {
    if sock::protocol(sock.memory()) == Protocol::Udp
        && !connection::is_own(connection::current_tgid())
    {
        udp::moved(sock.key(), 0, udp::How::new(direction, turn), 0);
    }
}

/// Takes in a call that [`turns::goes_on`] does not. `entry` is that of `SCRATCH` which is the caller's alone. Returns whether its walker is to go on.
#[inline(always)]
pub fn take(state: &mut ConnectionState, call: &Call, scratch: &mut Scratch, entry: u32) -> bool {
    let walks = pieces::travels(state) || turns::take(state, call, scratch, entry);
    if walks {
        pieces::take(state, call, scratch);
    }
    walks
}
