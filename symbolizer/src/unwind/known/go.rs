//! What holds in the functions of Go's runtime that its `.debug_frame` describes wrongly, in place of what that says.

use std::ops::Range;

use super::Known;
use crate::{
    Error,
    unwind::{
        go::Special,
        image::Image,
        rule::{Machine, Rule},
    },
};

/// More than any of them has.
const LONGEST: u64 = 1 << 10;

/// `mov 0x38(%r14),%rsp`: from here on it is the stack of the thread's own goroutine, `g.sched.sp`.
const LEAVE: &[u8] = &[0x49, 0x8b, 0x66, 0x38];
/// `mov %rsp,%r12`, what comes behind it is on the thread's stack where it was not before, and aligned; and the way back.
const MOVE: &[u8] = &[0x49, 0x89, 0xe4];
const RETURN: &[u8] = &[0x4c, 0x89, 0xe4];
/// `add $n,%rsp; ret`, of which n is left out, and `pop %rbp; ret`.
const ADD: &[u8] = &[0x48, 0x83, 0xc4];
const POP: &[u8] = &[0x5d, 0xc3];

/// Their rules.
///
/// # Errors
/// When the code can't be read.
pub(super) fn find(image: &Image<'_>, into: &mut Vec<Known>) -> Result<(), Error> {
    for (addresses, special) in &image.special {
        let code = || {
            let length = addresses.end.saturating_sub(addresses.start);
            image.code(addresses.start, length.min(LONGEST))
        };
        let mut add = |range: Range<u64>, rule| {
            into.push(Known {
                addresses: range,
                rule,
                is_certain: true,
            });
        };
        let at = |offset: usize| addresses.start + offset as u64;
        match special {
            Special::TopFrame => add(addresses.clone(), Rule::End),
            _ if image.machine != Machine::X86_64 => {}
            Special::Leaves => {
                if let Some(left) = behind(&code()?, LEAVE, 0) {
                    add(at(left)..addresses.end, Rule::End);
                }
            }
            Special::Moves => {
                let code = code()?;
                let Some(moved) = behind(&code, MOVE, 0) else {
                    continue;
                };
                let Some(back) = behind(&code, RETURN, moved) else {
                    continue;
                };
                // The frame pointer is set before and stays.
                add(at(moved)..at(back), Rule::FramePointer);
                // Where there is no vDSO the system call stands behind the end.
                let end = behind(&code, POP, back)
                    .or_else(|| behind(&code, ADD, back).map(|add| add + 2));
                if let Some(end) = end.filter(|&end| end < code.len()) {
                    add(at(end)..addresses.end, Rule::FramePointer);
                }
            }
        }
    }
    Ok(())
}

/// The offset behind a pattern's first place from `from` on.
fn behind(code: &[u8], pattern: &[u8], from: usize) -> Option<usize> {
    let found = code
        .get(from..)?
        .windows(pattern.len())
        .position(|at| at == pattern)?;
    Some(from + found + pattern.len())
}
