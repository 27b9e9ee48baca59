//! Reading kernel memory at the offsets that the loader resolved. Shared by the objects.

use core::arch::asm;

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel, maps::PerCpuArray};

/// Copies a `T` out of kernel memory.
#[inline(always)]
pub fn read<T>(address: u64, offset: u32) -> Option<T> {
    let from = address.wrapping_add(u64::from(offset)) as *const T;
    // SAFETY: the helper checks the address itself and answers a bad one with an error.
    unsafe { bpf_probe_read_kernel(from) }.ok()
}

/// Adds one to a counter of a per-CPU array.
#[inline(always)]
pub fn count(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the value is aligned and lives as long as the map. One instruction, although the value is this CPU's own: on a
        // preemptible kernel another program can run on this CPU between a read and a write.
        unsafe {
            asm!("lock *(u64 *)({at} + 0) += {one}", at = in(reg) counter, one = in(reg) 1_u64)
        };
    }
}

/// The layout of the records and maps that this object was built with; the loader compares it with its own.
#[unsafe(no_mangle)]
pub static ABI_VERSION: Global<u32> = Global::new(fathom_abi::VERSION);
