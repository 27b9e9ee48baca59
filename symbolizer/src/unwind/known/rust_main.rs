//! `main` of Rust programs that end where they panic: rustc gives that function, which it makes itself, no entry in `.eh_frame` when `panic = "abort"` is in
//! use, whatever `force-unwind-tables` says (1.95). All others have theirs, so that each stack of the first thread would end there.

use std::ops::Range;

use super::Known;
use crate::{
    Error,
    unwind::{
        image::Image,
        rule::{Cfa, Frame, Machine, Register, Rule, Saved},
    },
};

/// More than the function has.
const LONGEST: u64 = 64;
/// How much of a program's first instructions is looked at, up to the call that is given `main`.
const ENTRY: u64 = 64;

/// `main`'s rules, where the file begins as glibc's programs do and its `main` is one of rustc's.
///
/// # Errors
/// When the code can't be read.
pub(super) fn find(image: &Image<'_>, into: &mut Vec<Known>) -> Result<(), Error> {
    if image.machine != Machine::X86_64 {
        return Ok(());
    }
    let entry = image.code(image.entry, ENTRY)?;
    let Some(main) = main_of(image.entry, &entry) else {
        return Ok(());
    };
    let Some(end) = frame_end(&image.code(main, LONGEST)?) else {
        return Ok(());
    };
    let mut add = |addresses: Range<u64>, offset| {
        into.push(Known {
            addresses,
            rule: Rule::Frame(Frame {
                cfa: Cfa::Offset(Register::StackPointer, offset),
                frame_pointer: Saved::Same,
                return_address: Saved::AtCfa(-8),
                is_signal: false,
            }),
            is_certain: false,
        });
    };
    add(main..main + 1, 8);
    add(main + 1..main + end, 16);
    add(main + end..main + end + 1, 8);
    Ok(())
}

/// The address that a program's first instructions give to `__libc_start_main` (sysdeps/x86_64/start.S): `lea main(%rip),%rdi` or `mov $main,%rdi`, and then
/// the call.
fn main_of(start: u64, code: &[u8]) -> Option<u64> {
    (0..code.len()).find_map(|at| {
        let code = code.get(at..at + 9)?;
        let operand = i64::from(i32::from_le_bytes(code[3..7].try_into().ok()?));
        let is_call = matches!(code[7..9], [0xff, 0x15] | [0xe8, _] | [0x67, 0xe8]);
        match code[..3] {
            [0x48, 0x8d, 0x3d] if is_call => Some(
                start
                    .wrapping_add(at as u64 + 7)
                    .wrapping_add_signed(operand),
            ),
            [0x48, 0xc7, 0xc7] if is_call => u64::try_from(operand).ok(),
            _ => None,
        }
    })
}

/// Where the function that rustc makes takes its frame down, in bytes from its start: it pushes eight bytes, hands `argc` and `argv` on to the runtime
/// with the program's own `main` (`lang_start`, or what became of it inlined), and returns what that says.
fn frame_end(code: &[u8]) -> Option<u64> {
    const TAIL: [u8; 2] = [0x59, 0xc3]; // pop %rcx; ret
    // push %rax; mov %rsi,%rcx; movslq %edi,%rdx, or the same into %rdx and %rsi.
    let is_rustc = [
        [0x50, 0x48, 0x89, 0xf1, 0x48, 0x63, 0xd7],
        [0x50, 0x48, 0x89, 0xf2, 0x48, 0x63, 0xf7],
    ]
    .iter()
    .any(|head| code.starts_with(head));
    let tail = code.windows(2).position(|at| at == TAIL)?;
    let calls = |length, opcode: &[u8]| {
        let call = tail.checked_sub(length).and_then(|at| code.get(at..tail));
        call.is_some_and(|call| call.starts_with(opcode))
    };
    let is_call = calls(5, &[0xe8]) || calls(6, &[0xff, 0x15]);
    (is_rustc && is_call).then_some(tail as u64 + 1)
}
