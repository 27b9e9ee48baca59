//! Where the instructions of a function end it, or lead elsewhere.
//!
//! x86-64 is decoded by iced-x86: it is maintained, complete and under the MIT licence, has an instruction's length, kind and branch target at hand, and
//! its decoder alone (no formatter, no encoder) costs the binary about 300 kB. On AArch64 an instruction has four bytes, and no decoder is needed.

use iced_x86::{Code, Decoder, DecoderOptions, Register};
use object::elf;

use super::{Why, image::Image};

/// The largest function that is decoded. The largest of Go's crypto/tls has 5 KiB.
const MAX_FUNCTION: u64 = 256 << 10;
const WHAT: &str = "the code";

/// The file offsets of all return instructions of a function of `size` bytes at a file offset, ascending.
pub(super) fn returns(image: &Image<'_>, entry: u64, size: u64) -> Result<Vec<u64>, Why> {
    let code = read(image, entry, size)?;
    match image.machine {
        elf::EM_X86_64 => {
            let mut returns = Vec::new();
            for instruction in Decoder::with_ip(64, &code, entry, DecoderOptions::NONE) {
                if instruction.is_invalid() {
                    let at = instruction.ip();
                    return Err(Why::malformed(WHAT, format!("no instruction at {at:#x}")));
                }
                if matches!(instruction.code(), Code::Retnq | Code::Retnq_imm16) {
                    returns.push(instruction.ip());
                }
            }
            Ok(returns)
        }
        elf::EM_AARCH64 => {
            /// `RET` by the link register (Arm ARM, C6.2.309).
            const RET: u32 = 0xd65f_03c0;
            let (words, _) = code.as_chunks::<4>();
            let words = words.iter().map(|&word| u32::from_le_bytes(word));
            Ok((entry..)
                .step_by(4)
                .zip(words)
                .filter(|&(_, word)| word == RET)
                .map(|(at, _)| at)
                .collect())
        }
        _ => Err(Why::Unsupported("code for another machine")),
    }
}

/// Whether a function begins as Go's functions do that need room on the stack: by a comparison with the goroutine's limit, at 16 in the `runtime.g` that is in R14 (R28 on
/// AArch64).
pub(super) fn begins_as_go_does(image: &Image<'_>, entry: u64, size: u64) -> Result<bool, Why> {
    let code = read(image, entry, size.min(32))?;
    Ok(match image.machine {
        elf::EM_X86_64 => Decoder::with_ip(64, &code, entry, DecoderOptions::NONE)
            .into_iter()
            .take(3)
            .any(|instruction| {
                instruction.code() == Code::Cmp_r64_rm64
                    && instruction.memory_base() == Register::R14
                    && instruction.memory_displacement64() == 16
            }),
        elf::EM_AARCH64 => {
            /// `LDR X16, [X28, #16]` (Arm ARM, C6.2.207).
            const LOAD_LIMIT: [u8; 4] = 0xf940_0b90_u32.to_le_bytes();
            code.starts_with(&LOAD_LIMIT)
        }
        _ => false,
    })
}

/// Whether a function calls or jumps to one of `targets` (addresses) without a detour over the procedure linkage table. Code that can't be decoded does not.
pub(super) fn branches_to(
    image: &Image<'_>,
    entry: u64,
    address: u64,
    size: u64,
    targets: &[u64],
) -> bool {
    let Ok(code) = read(image, entry, size) else {
        return false;
    };
    match image.machine {
        elf::EM_X86_64 => Decoder::with_ip(64, &code, address, DecoderOptions::NONE)
            .into_iter()
            // 0 where an instruction is no direct branch.
            .any(|instruction| targets.contains(&instruction.near_branch_target())),
        elf::EM_AARCH64 => {
            let (words, _) = code.as_chunks::<4>();
            words.iter().enumerate().any(|(place, &word)| {
                let word = u32::from_le_bytes(word);
                // `B` and `BL`: 26 bits of offset in words, signed (Arm ARM, C6.2.26 and C6.2.34).
                let is_branch = word & 0x7c00_0000 == 0x1400_0000;
                let offset = i64::from((word << 6).cast_signed() >> 6) * 4;
                let from = address.wrapping_add(4 * place as u64);
                is_branch && targets.contains(&from.wrapping_add_signed(offset))
            })
        }
        _ => false,
    }
}

fn read(image: &Image<'_>, entry: u64, size: u64) -> Result<Vec<u8>, Why> {
    if size > MAX_FUNCTION {
        return Err(Why::TooLarge {
            part: WHAT,
            size,
            limit: MAX_FUNCTION,
        });
    }
    image.read(WHAT, entry, size)
}
