//! The two searches: for the mapping that holds an address, and for the rule that holds there.
//!
//! Both halve what is left until one entry is, and decide with arithmetic instead of branches: the verifier walks one way through them.

use fathom_abi::unwind::{CHUNK_ROWS, MAX_SEGMENTS, PART_BITS};

use crate::{
    maps::{ROWS, SEGMENTS},
    straight::is_less,
};

/// Halvings that leave one of a process's segments.
const SEGMENT_STEPS: u32 = 16;

/// Halvings that leave one of a part's rows: one for each address, and the one that holds from before it.
const ROW_STEPS: u32 = PART_BITS + 1;

const _: () = assert!(MAX_SEGMENTS == 1 << SEGMENT_STEPS && CHUNK_ROWS.is_power_of_two());

/// Addresses of user memory are less than 2^57, which [`is_less`] relies on.
const USER: u64 = u64::MAX >> 1;

/// What [`find_segment`] returns for none.
pub const NO_SEGMENT: u64 = u64::MAX;

/// Which of the `count` entries of `SEGMENTS` from `first` on is the last that does not start above an address.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_segment(first: u32, count: u32, address: u64) -> u64 {
    let address = address & USER;
    let (mut at, mut left) = (0, u64::from(count));
    for _ in 0..SEGMENT_STEPS {
        if left <= 1 {
            break;
        }
        let half = left >> 1;
        let Some(segment) = SEGMENTS.get_ptr(first.wrapping_add((at + half) as u32)) else {
            return NO_SEGMENT;
        };
        // SAFETY: a map's value stays readable for as long as a program runs.
        let start = unsafe { (&raw const (*segment).start).read_volatile() } & USER;
        at += half & !is_less(address, start);
        left -= half;
    }
    if count == 0 {
        return NO_SEGMENT;
    }
    u64::from(first.wrapping_add(at as u32))
}

/// The number of the rule that the last row names which is not above `low`: one of the rows `from` up to `to`, both included, behind the start of the chunk `first`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_rule(first: u32, from: u32, to: u32, low: u32) -> u32 {
    let (mut at, mut left) = (u64::from(from), u64::from(to.wrapping_sub(from)) + 1);
    for _ in 0..ROW_STEPS {
        if left <= 1 {
            break;
        }
        let half = left >> 1;
        let row = row(first, at + half);
        at += half & !is_less(u64::from(low), u64::from(row & 0xffff));
        left -= half;
    }
    row(first, at) >> 16
}

/// A row as one word: the address's bits in the lower half, the rule in the upper; zeros where there is none.
#[inline(always)]
fn row(first: u32, index: u64) -> u32 {
    let place = first.wrapping_add((index / CHUNK_ROWS as u64) as u32);
    let Some(chunk) = ROWS.get_ptr(place) else {
        return 0;
    };
    let rows = chunk.cast::<u32>();
    // SAFETY: a chunk has this many rows of four bytes, which lie in little endian; volatile, so that it is read once.
    u32::from_le(unsafe {
        rows.add((index % CHUNK_ROWS as u64) as usize)
            .read_volatile()
    })
}
