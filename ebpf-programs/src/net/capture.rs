//! Copies of the bytes of an I/O call, and what is looked for in them.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use fathom_abi::{counters::NetCounter, message::MAX_CAPTURE};

use crate::maps::{self, ROOM, SCRATCH, Scratch};

/// Copies `len` bytes of user memory into an entry of the scratch, at most its room less one; returns how many, 0 where they can't be read.
///
/// A global function, as `record::send_message`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_bytes(entry: u32, address: u64, len: u32) -> u32 {
    let Some(scratch) = SCRATCH.get_ptr_mut(entry) else {
        return 0;
    };
    // The verifier wants to see the bound next to its use; the compiler, who knows it, may not take the mask away.
    let len = black_box(len) & (ROOM as u32 - 1);
    if len == 0 {
        return 0;
    }
    // SAFETY: the scratch has more room than the mask lets through; the helper checks the user address.
    let failed =
        unsafe { bpf_probe_read_user((&raw mut (*scratch).data).cast(), len, address as *const _) };
    if failed != 0 {
        maps::count(NetCounter::UnreadableBuffer);
        return 0;
    }
    len
}

/// Whether the captured bytes end with an empty line.
#[inline(always)]
pub fn ends_head(scratch: &Scratch, captured: u32) -> bool {
    if captured < 4 {
        return false;
    }
    // As in `copy_bytes`.
    let at = (black_box(captured) as usize).wrapping_sub(4) & (ROOM - 1);
    if at + 3 >= ROOM {
        return false;
    }
    let data = scratch.data.as_ptr();
    // SAFETY: `at + 3` was just checked against the array's length.
    let last = unsafe {
        [
            *data.add(at),
            *data.add(at + 1),
            *data.add(at + 2),
            *data.add(at + 3),
        ]
    };
    last[0] == b'\r' && last[1] == b'\n' && last[2] == b'\r' && last[3] == b'\n'
}

/// Looks for an empty line among the first `len` bytes of an entry of the scratch, of [`MAX_CAPTURE`] at most: a line feed with a
/// carriage return behind it. Eight bytes at a time, as this is done for each of a connection's first requests. Returns where the bytes behind
/// the line start, 0 for none.
///
/// A global function (5.6): the kernel verifies it by itself, once, and not with each of the ways to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn behind_empty_line(entry: u32, len: u32) -> u32 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const LINE_FEEDS: u64 = LOW * b'\n' as u64;
    const RETURNS: u64 = LOW * b'\r' as u64;
    /// A line feed with a carriage return behind it, in memory's order.
    const LINE_END: u64 = u16::from_ne_bytes(*b"\n\r") as u64;
    let Some(scratch) = SCRATCH.get_ptr(entry) else {
        return 0;
    };
    // SAFETY: the caller's own entry.
    let data = unsafe { (*scratch).data.as_ptr() };
    for word in 0..MAX_CAPTURE / 8 {
        // All eight pairs lie among the bytes, so that what an earlier record left behind them is not looked at.
        if word as u32 * 8 + 9 > len {
            break;
        }
        // SAFETY: nine bytes from here on lie in the array, which has twice the room.
        let (bytes, next) = unsafe {
            let at = data.add(word * 8);
            (
                at.cast::<u64>().read_unaligned(),
                at.add(1).cast::<u64>().read_unaligned(),
            )
        };
        // A byte of this is zero where a pair is.
        let pairs = (bytes ^ LINE_FEEDS) | (next ^ RETURNS);
        if pairs.wrapping_sub(LOW) & !pairs & HIGH != 0 {
            let mut at = word as u32 * 8;
            for byte in 0..8 {
                if bytes >> (byte * 8) & 0xffff == LINE_END || byte == 7 {
                    break;
                }
                at += 1;
            }
            return at + 3;
        }
    }
    0
}
