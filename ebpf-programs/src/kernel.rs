//! Reading kernel memory at the offsets that the loader resolved. Shared by the objects.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel, maps::PerCpuArray};
use fathom_abi::offsets::ABSENT;

/// Something in kernel memory, and how it is read: an address (`u64`) by a helper, a [`Typed`] pointer by plain loads.
pub trait Memory: Copy {
    /// The number at an offset; 0 where it can't be read.
    fn read<T: Number>(self, offset: u32) -> T;

    /// What a pointer at an offset points at.
    fn follow(self, offset: u32) -> Self;
}

/// A number as the kernel's structs have them, of which any bits are valid.
pub trait Number: Copy {
    /// None, or not known.
    const ZERO: Self;
}

macro_rules! numbers {
    ($($number:ty),+) => { $(impl Number for $number { const ZERO: Self = 0; })+ };
}

numbers!(u8, u16, u32, u64);

impl Memory for u64 {
    #[inline(always)]
    fn read<T: Number>(self, offset: u32) -> T {
        read(self, offset)
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        read(self, offset)
    }
}

/// A pointer of which the verifier knows what it points at, from the kernel's type information (`PTR_TO_BTF_ID`, 5.5). It lets plain loads
/// through it, of members as they are, and at an address that is bad they read zeros (`BPF_PROBE_MEM`). A load is one instruction, where
/// the helper takes tens of nanoseconds.
#[derive(Clone, Copy)]
pub struct Typed(*const u8);

impl Typed {
    /// The pointer itself.
    #[inline(always)]
    pub const fn pointer(self) -> *const c_void {
        self.0.cast()
    }

    /// A pointer that a helper or a program's context gave.
    #[inline(always)]
    pub const fn new(pointer: *const c_void) -> Self {
        Self(pointer.cast())
    }
}

impl Memory for Typed {
    #[inline(always)]
    fn read<T: Number>(self, offset: u32) -> T {
        // The verifier knows of some that they can be none, and takes no load of a member that there isn't.
        if self.0.is_null() || offset == ABSENT {
            return T::ZERO;
        }
        // SAFETY: the verifier holds the load to the type; volatile, as a part of a member can't be loaded with a part of the next one.
        unsafe { self.0.add(offset as usize).cast::<T>().read_volatile() }
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        if self.0.is_null() || offset == ABSENT {
            return Self(core::ptr::null());
        }
        // SAFETY: as in `read`.
        Self(unsafe {
            self.0
                .add(offset as usize)
                .cast::<*const u8>()
                .read_volatile()
        })
    }
}

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

/// Adds one to a counter of a per-CPU array; returns what it is then.
#[inline(always)]
pub fn count(counters: &PerCpuArray<u64>, index: u32) -> u64 {
    let Some(counter) = counters.get_ptr_mut(index) else {
        return 0;
    };
    // SAFETY: the value is aligned and lives as long as the map. One instruction, although the value is this CPU's own: on a
    // preemptible kernel another program can run on this CPU between a read and a write.
    unsafe {
        add(counter, 1);
        counter.read_volatile()
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
