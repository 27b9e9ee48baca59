//! Reading kernel memory at the offsets that the loader resolved. Shared by the objects.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel, maps::PerCpuArray};

/// Copies a `T`, of which any bits are valid, out of kernel memory; zeros where that can't be read. The helper fills its
/// target in either case, so that the verifier has one path to walk for each read and not two.
#[inline(always)]
pub fn read<T: Copy>(address: u64, offset: u32) -> T {
    let from = address.wrapping_add(u64::from(offset)) as *const c_void;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the target has the size that is named; the helper checks the source and fills the target with zeros where it is
    // bad (`bpf_probe_read_kernel_common`).
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
        value.assume_init()
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
