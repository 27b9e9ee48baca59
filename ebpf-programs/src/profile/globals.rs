//! What the loader knows and the program doesn't. The kernel freezes these before it verifies, so that a branch on one
//! costs nothing.

use aya_ebpf::Global;

/// 1: only the processes in `TARGETS` make samples. 0: all do.
#[unsafe(no_mangle)]
pub static ONLY_TARGETS: Global<u32> = Global::new(0);

/// A process that makes no samples; 0 for none.
#[unsafe(no_mangle)]
pub static EXCLUDED_TGID: Global<u32> = Global::new(0);

/// 1: user stacks are unwound by tables. 0: by frame pointers alone.
#[unsafe(no_mangle)]
pub static UNWIND: Global<u32> = Global::new(0);

/// Bytes in `SAMPLES` past which a record wakes its reader.
#[unsafe(no_mangle)]
pub static WAKE_AT: Global<u64> = Global::new(u64::MAX);

/// Bytes in `SAMPLES` past which no copy of a stack goes there: what is left is for records without one.
#[unsafe(no_mangle)]
pub static COPY_UP_TO: Global<u64> = Global::new(0);
