//! Reading kernel memory at the offsets that the loader resolved. Shared by the objects.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel, maps::PerCpuArray};

/// Copies a `T`, of which any bits are valid, out of kernel memory; zeros where that can't be read. The helper fills its
/// target in either case, so that the verifier has one path to walk for each read and not two.
#[inline(always)]
pub fn read<T: Copy>(address: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the target is a `T`, which it fills.
    unsafe {
        read_into(value.as_mut_ptr(), address, offset);
        value.assume_init()
    }
}

/// As [`read`], to where the value is to lie: an array that is returned is copied byte by byte.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub unsafe fn read_into<T: Copy>(to: *mut T, address: u64, offset: u32) {
    let from = address.wrapping_add(u64::from(offset)) as *const c_void;
    // SAFETY: the target has the size that is named; the helper checks the source and fills the target with zeros where it is
    // bad (`bpf_probe_read_kernel_common`).
    unsafe { bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, from) };
}

/// Fills a value with zeros, eight bytes at a time. Volatile, or the compiler makes a memset of it: that is a call here, of a loop that goes
/// byte by byte.
///
/// # Safety
/// `value` is valid for writes, of a type of which zeros are valid, and lies at a multiple of eight.
#[inline(always)]
pub unsafe fn clear<T: Copy>(value: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: the caller's.
        unsafe { value.cast::<u64>().add(word).write_volatile(0) };
    }
}

/// Copies a value eight bytes at a time: by its type's alignment the compiler would copy it byte by byte.
///
/// # Safety
/// Both are valid, of a type whose bytes may be anything, and lie at multiples of eight.
#[inline(always)]
pub unsafe fn copy<T: Copy>(from: *const T, to: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: the caller's.
        unsafe { *to.cast::<u64>().add(word) = *from.cast::<u64>().add(word) };
    }
}

/// Adds one to a counter of a per-CPU array.
#[inline(always)]
pub fn count(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the value is aligned and lives as long as the map. One instruction, although the value is this CPU's own: on a
        // preemptible kernel another program can run on this CPU between a read and a write.
        unsafe { add(counter, 1) };
    }
}

/// Adds to a word in one instruction.
///
/// # Safety
/// The word is aligned, and in a map's value.
#[inline(always)]
pub unsafe fn add(word: *mut u64, value: u64) {
    // SAFETY: the caller's.
    unsafe { asm!("lock *(u64 *)({at} + 0) += {value}", at = in(reg) word, value = in(reg) value) };
}

/// The layout of the records and maps that this object was built with; the loader compares it with its own.
#[unsafe(no_mangle)]
pub static ABI_VERSION: Global<u32> = Global::new(fathom_abi::VERSION);
