//! Sending records to user space. A record never wakes its reader, who drains on a timer, unless the ring fills up.

use core::hint::black_box;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::bpf_ringbuf_output,
};
use fathom_abi::{counters::NetCounter, flow::FlowEvent, message::MessageEvent};

use crate::{
    globals::{WAKE_AT, WAKE_FOR_FLOWS_AT},
    maps::{self, FLOWS, MESSAGES, ROOM, SCRATCH},
};

/// Records of one CPU, one of which looks whether the reader is to be woken.
const LOOKS_EACH: u64 = 4;

/// Sends a flow record, which `fill` writes where it lies: a stack of 512 bytes has no room for it. Where `fill` says that it does not hold it is given up,
/// and was none. Returns whether it was sent.
#[inline(always)]
pub fn flow(fill: impl FnOnce(*mut FlowEvent) -> bool) -> bool {
    let Some(mut entry) = FLOWS.reserve::<FlowEvent>(0) else {
        maps::count(NetCounter::FlowAttempted);
        maps::count(NetCounter::FlowRingFull);
        return false;
    };
    if !fill(entry.as_mut_ptr()) {
        entry.discard(u64::from(BPF_RB_NO_WAKEUP));
        return false;
    }
    let attempted = maps::counted(NetCounter::FlowAttempted);
    // Not each looks how full the ring is: it wakes its reader at a quarter.
    let flags = if attempted.is_multiple_of(LOOKS_EACH)
        && FLOWS.query(u64::from(BPF_RB_AVAIL_DATA)) >= WAKE_FOR_FLOWS_AT.load()
    {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    entry.submit(u64::from(flags));
    true
}

/// Sends a message record without bytes.
#[inline(always)]
pub fn message_end(event: &MessageEvent) {
    maps::count(NetCounter::MessageAttempted);
    match MESSAGES.reserve::<MessageEvent>(0) {
        Some(mut entry) => {
            entry.write(*event);
            entry.submit(u64::from(BPF_RB_NO_WAKEUP));
        }
        None => maps::count(NetCounter::MessageRingFull),
    }
}

/// Sends the message record in an entry of the scratch, with its first `captured` bytes behind it. Returns 0.
///
/// A global function (5.6): the kernel verifies it by itself, once, and not with each of the ways to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_message(entry: u32, captured: u32) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(entry) else {
        return 0;
    };
    maps::count(NetCounter::MessageAttempted);
    let flags = if MESSAGES.query(u64::from(BPF_RB_AVAIL_DATA)) >= WAKE_AT.load() {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    // The verifier wants to see the bound next to its use; the compiler, who knows it, may not take the mask away.
    let captured = black_box(captured) & (ROOM as u32 - 1);
    let len = size_of::<MessageEvent>() as u64 + u64::from(captured);
    // SAFETY: the scratch holds the header and more bytes than `captured` can name.
    let sent = unsafe {
        bpf_ringbuf_output(
            (&raw const MESSAGES).cast_mut().cast(),
            scratch.cast(),
            len,
            u64::from(flags),
        )
    };
    if sent != 0 {
        maps::count(NetCounter::MessageRingFull);
    }
    0
}
