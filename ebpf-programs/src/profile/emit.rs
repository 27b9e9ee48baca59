//! The record's way into the ring, with a copy of the stack where somebody else is to unwind it further.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::bpf_probe_read_user,
};
use fathom_abi::{
    counters::ProfileCounter,
    sample::{MAX_COPY, REGISTERS, SampleEvent, StoppedFrame, UserEnd},
};

use crate::{
    globals::{COPY_UP_TO, WAKE_AT},
    machine::STACK_POINTER,
    maps::{FRAMES, SAMPLES, SPACES, Scratch, count, scratch},
};

/// What is read at a time: user memory is there or not by pages.
const PAGE: u64 = 4096;

/// Pages that a copy touches: one more than it holds, as it starts anywhere in its first.
const PAGES: u64 = MAX_COPY as u64 / PAGE + 1;

/// How often a process's stack is copied at most because an address is in no mapping: it may be no address at all, but what a broken stack says.
const BETWEEN_COPIES_NS: u64 = 100_000_000;

/// So many copies are made at once all the same: a program that has just begun maps its libraries before anybody has said so here.
const COPIES_AT_ONCE: u32 = 16;

/// Sends the record that is in the scratch.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn emit() -> u32 {
    let Some(scratch) = scratch() else {
        return 0;
    };
    let waiting = SAMPLES.query(u64::from(BPF_RB_AVAIL_DATA));
    // SAFETY: this CPU's own.
    let scratch = unsafe { &mut *scratch };
    let mut length = frames_end(scratch);
    if wants_copy(scratch) {
        if waiting < COPY_UP_TO.load() {
            copy_stack();
            length += copied(scratch);
        } else {
            count(ProfileCounter::CopyRingFull);
        }
    }
    let flags = if waiting > WAKE_AT.load() {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    // SAFETY: header, frames and copy lie in the record, one behind the other.
    let bytes =
        unsafe { core::slice::from_raw_parts((&raw const scratch.record).cast::<u8>(), length) };
    if SAMPLES.output::<[u8]>(bytes, u64::from(flags)).is_err() {
        count(ProfileCounter::SampleRingFull);
    }
    0
}

/// Bytes of the copy that was made. What the function has returned would be any number to the verifier.
#[inline(always)]
fn copied(scratch: &Scratch) -> usize {
    // SAFETY: a reference is valid for reads. Volatile: the compiler knows the bound that the verifier is to see.
    let copied = unsafe { (&raw const scratch.record.header.copied).read_volatile() };
    size_of::<StoppedFrame>() + usize::from(copied).min(MAX_COPY)
}

/// Bytes up to the end of the frames.
#[inline(always)]
fn frames_end(scratch: &Scratch) -> usize {
    let header = &scratch.record.header;
    let frames = usize::from(header.kernel_frames) + usize::from(header.user_frames);
    size_of::<SampleEvent>() + (frames & (FRAMES - 1)) * 8
}

/// Whether somebody who knows more could unwind the stack further, and is to have a copy for it.
#[inline(always)]
fn wants_copy(scratch: &Scratch) -> bool {
    let header = &scratch.record.header;
    let end = header.user_end;
    if end == UserEnd::UnknownProcess.code() || end == UserEnd::WantedTable.code() {
        return true;
    }
    if end != UserEnd::NoMapping.code() {
        return false;
    }
    let Some(space) = SPACES.get_ptr_mut(header.tgid) else {
        return true;
    };
    // SAFETY: a map's value stays there for as long as a program runs. Two CPUs may both find that it is time.
    let space = unsafe { &mut *space };
    let is_soon = header.at_ns.wrapping_sub(space.copied_ns) < BETWEEN_COPIES_NS;
    if is_soon && space.copies >= COPIES_AT_ONCE {
        count(ProfileCounter::CopyLimited);
        return false;
    }
    space.copied_ns = header.at_ns;
    space.copies = space.copies.saturating_add(1);
    true
}

/// Puts the frame where unwinding has stopped and the stack from there on behind the frames.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_stack() -> u32 {
    let Some(scratch) = scratch() else {
        return 0;
    };
    // SAFETY: this CPU's own.
    let scratch = unsafe { &mut *scratch };
    let at = frames_end(scratch);
    let record = (&raw mut scratch.record).cast::<u8>();
    // SAFETY: the record has room for the stopped frame and a whole copy behind all the frames that there can be.
    let stopped = unsafe { record.add(at) };
    put_stopped(scratch, stopped.cast());
    let stack = scratch.walk.registers[STACK_POINTER];
    let mut copied = 0_u64;
    for _ in 0..PAGES {
        if copied > MAX_COPY as u64 - PAGE {
            break;
        }
        let from = stack.wrapping_add(copied);
        let length = PAGE - (from & (PAGE - 1));
        // SAFETY: as above; at most a page behind at most a copy less a page. The helper checks the user address.
        let failed = unsafe {
            let to = stopped.add(size_of::<StoppedFrame>()).add(copied as usize);
            bpf_probe_read_user(to.cast(), length as u32, from as *const c_void)
        };
        if failed != 0 {
            break;
        }
        copied += length;
    }
    scratch.record.header.has_copy = 1;
    scratch.record.header.copied = copied as u16;
    0
}

#[inline(always)]
fn put_stopped(scratch: &Scratch, to: *mut StoppedFrame) {
    let walk = &scratch.walk;
    // SAFETY: the caller gives room for it. Registers one by one, or the compiler makes a memcpy of it.
    unsafe {
        (&raw mut (*to).ip).write_volatile(walk.ip);
        (&raw mut (*to).known).write_volatile(walk.known as u32);
        (&raw mut (*to).is_exact).write_volatile(walk.is_exact as u32);
        for number in 0..REGISTERS {
            let is_known = walk.known >> number & 1;
            let value = walk.registers[number] & is_known.wrapping_neg();
            (&raw mut (*to).registers[number]).write_volatile(value);
        }
    }
}
