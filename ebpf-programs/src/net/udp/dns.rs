//! Datagrams of DNS clients, whole as far as a record carries them. They are read in user space.

use core::hint::black_box;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_comm, bpf_probe_read_user},
    },
};
use fathom_abi::{
    counters::NetCounter,
    message::Direction,
    udp::{DNS_PORT, DnsEvent, MAX_DNS, UdpSock},
};

use super::{Remote, maps::DNS, message::Message};
use crate::maps::count;

/// What most queries and answers fit into, beside the room that all do.
const FEW: usize = 256;

/// A record with room for `ROOM` bytes. It is made where it lies in the ring, so that no program has to share a scratch with another.
#[repr(C)]
struct Record<const ROOM: usize> {
    event: DnsEvent,
    data: [u8; ROOM],
}

/// Makes a record of a datagram to or from port 53 of another end. Where the other end of what was received is not known, it is that of a
/// socket which has sent to such a port last.
#[inline(always)]
pub fn take(
    sock: u64,
    state: &UdpSock,
    remote: &Remote,
    direction: Direction,
    bytes: u64,
    message: &Message,
    now: u64,
) {
    let remembered = !remote.is_known() && direction == Direction::RECEIVED;
    let port = if remembered {
        state.last_port
    } else {
        remote.port
    };
    if port != DNS_PORT {
        return;
    }
    let from = if remembered {
        &state.last_addr
    } else {
        &remote.addr
    };
    let fill = |event: *mut DnsEvent, captured: u16| {
        let pid_tgid = bpf_get_current_pid_tgid();
        // SAFETY: the entry of the ring, with room for an event and a name of 16 bytes in it. Field by field: the stack has no room for one.
        unsafe {
            (*event).sock = sock;
            (*event).at_ns = now;
            (*event).tgid = (pid_tgid >> 32) as u32;
            (*event).tid = pid_tgid as u32;
            (*event).bytes = bytes as u32;
            (*event).captured = captured;
            (*event).remote_port = port;
            (*event).remote_addr = *from;
            (*event).direction = direction;
            (*event).remembered = u8::from(remembered);
            (*event).reserved = [0; 6];
            bpf_get_current_comm((&raw mut (*event).comm).cast(), 16);
        }
    };
    let captured = message.readable(bytes);
    if captured <= FEW as u64 {
        send::<FEW>(message.address, captured, fill);
    } else {
        send::<MAX_DNS>(message.address, captured, fill);
    }
}

#[inline(always)]
fn send<const ROOM: usize>(address: u64, captured: u64, fill: impl FnOnce(*mut DnsEvent, u16)) {
    count(NetCounter::DnsAttempted);
    let Some(mut entry) = DNS.reserve::<Record<ROOM>>(0) else {
        count(NetCounter::DnsRingFull);
        return;
    };
    // The verifier wants to see the bound next to its use; the compiler, who knows it, may not take it away.
    let mut captured = black_box(captured);
    if captured > ROOM as u64 {
        captured = ROOM as u64;
    }
    let record = entry.as_mut_ptr();
    // SAFETY: the target has room for as many bytes; the helper checks the user address. Of none there is nothing to read.
    let failed = captured != 0
        && unsafe {
            bpf_probe_read_user(
                (&raw mut (*record).data).cast(),
                captured as u32,
                address as *const _,
            )
        } != 0;
    if failed {
        count(NetCounter::DnsUnreadable);
        captured = 0;
    }
    // SAFETY: a place within the entry, which is this program's until it is submitted.
    fill(unsafe { &raw mut (*record).event }, captured as u16);
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
}
