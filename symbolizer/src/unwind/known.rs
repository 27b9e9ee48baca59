//! Code that tables don't cover, or wrongly, and whose shape says how it is unwound: the trampolines that signal handlers return to, stubs
//! of procedure linkage tables, the functions that no other one calls, one that rustc makes, and V8's builtins.

use std::ops::Range;

use memchr::memmem::Finder;

use super::{
    image::{Image, Part},
    rule::{Cfa, Frame, Machine, Register, Rule, Saved},
};
use crate::Error;

mod go;
mod rust_main;

/// A rule for some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) addresses: Range<u64>,
    pub(super) rule: Rule,
    /// It counts even where a table says something else.
    pub(super) is_certain: bool,
}

/// More trampolines than any file has.
const MAX_TRAMPOLINES: usize = 64;
/// How much code is read at a time.
const CODE_AT_ONCE: u64 = 1 << 18;
/// The longest pattern less one.
const OVERLAP: u64 = 8;

/// `mov $15, %rax; syscall`: musl's and Go's way to `rt_sigreturn` (glibc's has an entry in `.eh_frame`).
const X86_64_SIGRETURN: &[u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
/// `mov x8, #139; svc #0`: the vDSO's, since Linux 5.8 without an entry of its own, and musl's.
const AARCH64_SIGRETURN: &[u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4];

/// All that is found, by address; none overlaps another.
///
/// # Errors
/// When the code can't be read.
pub(super) fn find(image: &Image<'_>) -> Result<Vec<Known>, Error> {
    let mut known = Vec::new();
    // A trampoline belongs to a C library or to a runtime without one.
    if image.stands_alone || image.is_go {
        trampolines(image, &mut known)?;
    }
    go::find(image, &mut known)?;
    entry(image, &mut known)?;
    rust_main::find(image, &mut known)?;
    known.extend(image.builtins.iter().map(|builtins| Known {
        addresses: builtins.clone(),
        rule: Rule::FramePointer,
        is_certain: false,
    }));
    for part in &image.stubs {
        stubs(image, part, &mut known)?;
    }
    known.sort_by_key(|known| known.addresses.start);
    let mut end = 0;
    known.retain(|known| {
        let is_behind = known.addresses.start >= end && !known.addresses.is_empty();
        if is_behind {
            end = known.addresses.end;
        }
        is_behind
    });
    Ok(known)
}

fn trampolines(image: &Image<'_>, into: &mut Vec<Known>) -> Result<(), Error> {
    let (pattern, alignment) = match image.machine {
        Machine::X86_64 => (X86_64_SIGRETURN, 1),
        Machine::Aarch64 => (AARCH64_SIGRETURN, 4),
    };
    let finder = Finder::new(pattern);
    let mut left = MAX_TRAMPOLINES;
    for text in &image.text {
        let mut at = text.addresses.start;
        while at < text.addresses.end {
            let code = image.code(at, CODE_AT_ONCE + OVERLAP)?;
            for found in finder
                .find_iter(&code)
                .map(|into_code| at + into_code as u64)
            {
                if !found.is_multiple_of(alignment) || found >= at + CODE_AT_ONCE {
                    continue;
                }
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                trampoline(found..found + pattern.len() as u64, into);
            }
            at += CODE_AT_ONCE;
        }
    }
    Ok(())
}

fn trampoline(code: Range<u64>, into: &mut Vec<Known>) {
    // A return address is looked up one byte before, and what is in a system call has its address behind it.
    let before = code.start.saturating_sub(1)..code.start;
    let behind = code.end..code.end + 1;
    for (addresses, is_certain) in [(before, false), (code, true), (behind, false)] {
        into.push(Known {
            addresses,
            rule: Rule::SignalFrame,
            is_certain,
        });
    }
}

/// A program's first instructions, up to the first call, where they begin as musl's do (`crt_arch.h`) and glibc's: they clear the
/// frame pointer. And those of glibc's dynamic linker (`RTLD_START` in sysdeps/x86_64/dl-machine.h), up to the jump to the program's own.
fn entry(image: &Image<'_>, into: &mut Vec<Known>) -> Result<(), Error> {
    const LONGEST: u64 = 128;
    let code = image.code(image.entry, LONGEST)?;
    let length = match image.machine {
        Machine::X86_64 => x86_64_entry(&code).or_else(|| x86_64_linker(&code)),
        Machine::Aarch64 => aarch64_entry(&code),
    };
    if let Some(length) = length {
        into.push(Known {
            addresses: image.entry..image.entry + length,
            rule: Rule::End,
            is_certain: false,
        });
    }
    Ok(())
}

/// `xor %rbp,%rbp; mov %rsp,%rdi; lea _DYNAMIC(%rip),%rsi; and $-16,%rsp; call _start_c`.
fn x86_64_entry(code: &[u8]) -> Option<u64> {
    let (head, tail) = (code.get(..9)?, code.get(13..18)?);
    let is_known = head == [0x48, 0x31, 0xed, 0x48, 0x89, 0xe7, 0x48, 0x8d, 0x35]
        && tail == [0x48, 0x83, 0xe4, 0xf0, 0xe8];
    is_known.then_some(22)
}

/// `mov %rsp,%rdi; call _dl_start; mov %rax,%r12`, and what comes up to `jmp *%r12`.
fn x86_64_linker(code: &[u8]) -> Option<u64> {
    const JUMP: &[u8] = &[0x41, 0xff, 0xe4];
    let (head, tail) = (code.get(..4)?, code.get(8..11)?);
    if head != [0x48, 0x89, 0xe7, 0xe8] || tail != [0x49, 0x89, 0xc4] {
        return None;
    }
    let jump = code.windows(JUMP.len()).position(|at| at == JUMP)?;
    Some((jump + JUMP.len()) as u64)
}

/// `mov x29, #0; mov x30, #0`, and what comes up to a branch, with or without link.
fn aarch64_entry(code: &[u8]) -> Option<u64> {
    let words = code
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()));
    let words: Vec<u32> = words.collect();
    // `bti c` may stand in front.
    let first = usize::from(words.first() == Some(&0xd503_245f));
    if words.get(first..first + 2)? != [0xd280_001d, 0xd280_001e] {
        return None;
    }
    let branch = words
        .iter()
        .position(|word| matches!(word >> 26, 0b00_0101 | 0b10_0101))?;
    Some(4 * (branch as u64 + 1))
}

/// What GNU ld describes in `.eh_frame` for x86-64, and neither it for aarch64 nor lld for any.
fn stubs(image: &Image<'_>, part: &Part, into: &mut Vec<Known>) -> Result<(), Error> {
    let addresses = part.addresses();
    let within = image
        .text_at(addresses.start)
        .is_some_and(|text| addresses.end <= text.addresses.end);
    if !within {
        return Ok(());
    }
    let mut add = |addresses: Range<u64>, cfa, return_address| {
        into.push(Known {
            addresses,
            rule: Rule::Frame(Frame {
                cfa,
                frame_pointer: Saved::Same,
                return_address,
                is_signal: false,
            }),
            is_certain: false,
        });
    };
    let offset = |offset| Cfa::Offset(Register::StackPointer, offset);
    let Range { start, end } = addresses;
    match image.machine {
        Machine::X86_64 if part.name == ".plt" => {
            let code = image.code(start, 32)?;
            if let Some(pushed_at) = x86_64_lazy(&code) {
                let at_cfa = Saved::AtCfa(-8);
                add(start..start + 6, offset(16), at_cfa);
                add(start + 6..start + 16, offset(24), at_cfa);
                add(start + 16..end, Cfa::Plt { pushed_at }, at_cfa);
            }
        }
        Machine::X86_64 => add(start..end, offset(8), Saved::AtCfa(-8)),
        Machine::Aarch64 => {
            // The first stub, in `.plt` alone, saves x16 and x30 for the dynamic linker: `stp x16, x30, [sp, #-16]!`.
            let code = image.code(start, 8)?;
            let saves = [0xf0, 0x7b, 0xbf, 0xa9];
            let pushed = match (
                code.get(..4) == Some(&saves),
                code.get(4..8) == Some(&saves),
            ) {
                (true, _) => Some(start + 4),
                (_, true) => Some(start + 8),
                _ => None,
            };
            match pushed {
                Some(pushed) if end - start >= 32 => {
                    add(start..pushed, offset(0), Saved::Same);
                    add(pushed..start + 32, offset(16), Saved::AtCfa(-8));
                    add(start + 32..end, offset(0), Saved::Same);
                }
                _ => add(start..end, offset(0), Saved::Same),
            }
        }
    }
    Ok(())
}

/// Where the lazy stubs of a `.plt` have pushed the relocation's index, from its first two stubs.
fn x86_64_lazy(code: &[u8]) -> Option<u8> {
    let stub = code.get(16..32)?;
    // pushq GOT+8(%rip); jmpq *GOT+16(%rip)
    if code.get(..2)? != [0xff, 0x35] || code.get(6..8)? != [0xff, 0x25] {
        return None;
    }
    match stub {
        // jmpq *GOT(%rip); pushq $index; jmpq .plt
        [0xff, 0x25, _, _, _, _, 0x68, _, _, _, _, 0xe9, ..] => Some(11),
        // endbr64; pushq $index; jmpq .plt
        [0xf3, 0x0f, 0x1e, 0xfa, 0x68, _, _, _, _, 0xe9 | 0xf2, ..] => Some(9),
        // pushq $index; jmpq .plt
        [0x68, _, _, _, _, 0xe9 | 0xf2, ..] => Some(5),
        _ => None,
    }
}
