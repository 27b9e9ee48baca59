//! Arithmetic without branches. Each branch in a loop is a way that the verifier walks, for each of the loop's turns.

use core::arch::asm;

/// The value, of which the compiler now knows nothing: what it knows it makes branches of.
#[inline(always)]
fn opaque(mut value: u64) -> u64 {
    // SAFETY: a move of a register to itself. (No instruction at all would leave two line entries at one place, which the kernel refuses.)
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
    value
}

/// All ones where `value`, less than 2^63, is not zero; else zero.
#[inline(always)]
pub fn is_some(value: u64) -> u64 {
    opaque(
        value
            .wrapping_neg()
            .cast_signed()
            .wrapping_shr(63)
            .cast_unsigned(),
    )
}

/// All ones where `a < b`, both less than 2^63; else zero.
#[inline(always)]
pub fn is_less(a: u64, b: u64) -> u64 {
    opaque(
        a.wrapping_sub(b)
            .cast_signed()
            .wrapping_shr(63)
            .cast_unsigned(),
    )
}

/// The lesser of two numbers less than 2^63.
#[inline(always)]
pub fn min(a: u64, b: u64) -> u64 {
    b.wrapping_add(a.wrapping_sub(b) & is_less(a, b))
}
