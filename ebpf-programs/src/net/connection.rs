//! The kernel's memory of one connection.

use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_ktime_get_ns, generated::bpf_get_current_comm,
};

use fathom_abi::{
    Endpoints, Role,
    counters::NetCounter,
    flow::{Exit, FlowEvent, Owner},
    message::{ConnectionState, Direction, Gear, MessageEvent},
};

use crate::{
    globals::SELF_TGID,
    kernel::{self, Memory},
    maps::{self, CONNECTIONS, LISTENERS, ListenerKey},
    sock,
    task::{self, offset},
};

/// `linux/sched.h`.
const PF_EXITING: u32 = 4;
/// `linux/sched.h`.
const PF_KTHREAD: u32 = 0x0020_0000;
/// The bits of an exit code that are a signal's number (wait(2)).
const SIGNAL: u32 = 0x7f;

/// The state of a sock that was seen before.
#[inline(always)]
pub fn find(sock: u64) -> Option<&'static mut ConnectionState> {
    // SAFETY: the kernel keeps the entry's memory until this program has ended, also when it is deleted meanwhile.
    CONNECTIONS
        .get_ptr_mut(sock)
        .map(|state| unsafe { &mut *state })
}

/// The state of a sock that was not seen before; `None`, and a count, when the table is full.
#[inline(always)]
pub fn make(sock: u64, role: Role) -> Option<&'static mut ConnectionState> {
    if make_connection(sock, u32::from(role.0)) != 0 {
        return None;
    }
    find(sock)
}

/// Makes the state of a sock; returns 1 when the table is full.
///
/// A global function (5.6), which the kernel verifies by itself: it is rarely called, and what it needs of the stack its callers don't.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn make_connection(sock: u64, role: u32) -> u32 {
    u32::from(!insert(sock, sock, Role(role as u8), |_| {}))
}

/// Makes the state of a sock, with what `fill` knows of it; says whether there was room.
#[inline(always)]
pub fn insert(
    key: u64,
    sock: impl Memory,
    role: Role,
    fill: impl FnOnce(&mut ConnectionState),
) -> bool {
    let mut state = MaybeUninit::<ConnectionState>::uninit();
    let at = state.as_mut_ptr();
    // SAFETY: the state is aligned to eight bytes, and so are the two ends in it; all zeros are a valid one.
    let state = unsafe {
        kernel::clear(at);
        (*at).born_ns = bpf_ktime_get_ns();
        (*at).role = role;
        (*at).sent = sock::progress(sock, Direction::SENT);
        (*at).netns = sock::netns(sock);
        (*at).cgroup = sock::cgroup(sock);
        sock::endpoints(sock, &raw mut (*at).endpoints);
        state.assume_init_mut()
    };
    fill(state);
    let is_there = CONNECTIONS.insert(key, &*state, 0).is_ok();
    if !is_there {
        maps::count(NetCounter::ConnectionsFull);
    }
    is_there
}

/// The process that runs now, in the initial pid namespace.
#[inline(always)]
pub fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Whether the process that runs now is the agent.
#[inline(always)]
pub fn is_own(tgid: u32) -> bool {
    tgid == SELF_TGID.load()
}

/// Notes who owns the socket, if that is better than what is known.
#[inline(always)]
pub fn own(state: &mut ConnectionState, tgid: u32, how: Owner) {
    if how.0 <= state.owner.0 {
        return;
    }
    if state.tgid == tgid && state.owner > Owner::LISTENER {
        // Its name is known.
        state.owner = how;
        return;
    }
    if how == Owner::LISTENER || !is_kernel_thread() {
        state.owner = how;
        state.tgid = tgid;
        let comm = &raw mut state.comm;
        // SAFETY: sixteen bytes at a multiple of eight, of the state's own.
        unsafe {
            if how == Owner::LISTENER {
                // The one that listens is not the one that runs now.
                kernel::clear(comm);
            } else {
                // Zeros where there is none.
                bpf_get_current_comm(comm.cast(), size_of_val(&state.comm) as u32);
            }
        }
    }
}

/// Looks up who listens, or did, where the sock's connection came in.
#[inline(always)]
pub fn own_by_listener(state: &mut ConnectionState, sock: impl Memory) {
    let key = listener_key(sock, state.endpoints.local_port);
    if let Some(tgid) = LISTENERS.get_ptr(key) {
        // SAFETY: as in `find`.
        own(state, unsafe { *tgid }, Owner::LISTENER);
    }
}

/// What a listening sock and its children have in common; `port` is their own.
#[inline(always)]
pub fn listener_key(sock: impl Memory, port: u16) -> ListenerKey {
    ListenerKey {
        net: sock::net(sock),
        port: u32::from(port),
        reserved: 0,
    }
}

/// Whether a thread of the kernel runs now: it works for others (MPTCP's workers read and write for the process that has the connection).
#[inline(always)]
fn is_kernel_thread() -> bool {
    task::current().read::<u32>(offset!(task_flags)) & PF_KTHREAD != 0
}

/// How the process that runs now is ending, if it is. It has its exit code before its files are closed (`do_exit`).
#[inline(always)]
pub fn current_exit() -> Exit {
    let task = task::current();
    if task.read::<u32>(offset!(task_flags)) & PF_EXITING == 0 {
        return Exit::NONE;
    }
    let code: u32 = task.read(offset!(task_exit_code));
    Exit(Exit::EXITING | (code & SIGNAL) as u8)
}

/// How long after a time something is, in the microseconds that states keep: at least 1, and the greatest number for all that is later.
#[inline(always)]
pub fn microseconds_after(since_ns: u64, now_ns: u64) -> u32 {
    let us = now_ns.saturating_sub(since_ns) / 1000 + 1;
    if us > u64::from(u32::MAX) {
        u32::MAX
    } else {
        us as u32
    }
}

/// Copies the two ends of a state or an event.
#[inline(always)]
pub fn copy_endpoints(from: &Endpoints, to: *mut Endpoints) {
    const {
        assert!(offset_of!(ConnectionState, endpoints).is_multiple_of(8));
        assert!(offset_of!(MessageEvent, endpoints).is_multiple_of(8));
        assert!(offset_of!(FlowEvent, endpoints).is_multiple_of(8));
    }
    // SAFETY: those of states and events are aligned, as was just asserted.
    unsafe { kernel::copy(from, to) };
}

/// Copies the name of a state's process to an event.
#[inline(always)]
pub fn copy_comm(from: &[u8; 16], to: *mut [u8; 16]) {
    const {
        assert!(offset_of!(ConnectionState, comm).is_multiple_of(8));
        assert!(offset_of!(FlowEvent, comm).is_multiple_of(8));
    }
    // SAFETY: as in `copy_endpoints`.
    unsafe { kernel::copy(from, to) };
}

/// Whether records are made of it.
#[inline(always)]
pub fn is_recorded(state: &ConnectionState) -> bool {
    state.gear != Gear::OWN
}
