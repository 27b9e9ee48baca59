//! What the profiler says of one moment on one CPU.

/// Frames that one stack can hold (the kernel's own default, `kernel.perf_event_max_stack`).
pub const MAX_FRAMES: usize = 127;

/// The fixed part of a record of the `SAMPLES` ring buffer. `kernel_frames` and then `user_frames` instruction
/// addresses (`u64`) follow it, leaf first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SampleEvent {
    /// When it was taken.
    pub at_ns: u64,
    /// The exchange that the thread was serving, as [`crate::message::ConnectionState`]'s connection and message; 0 for none.
    pub exchange: ActiveExchange,
    /// The process in the initial pid namespace; 0 is the idle task.
    pub tgid: u32,
    /// The thread in the initial pid namespace.
    pub tid: u32,
    /// The CPU.
    pub cpu: u32,
    /// Kernel frames behind this header.
    pub kernel_frames: u16,
    /// User frames behind the kernel frames.
    pub user_frames: u16,
    /// The thread's name, padded with zeros.
    pub comm: [u8; 16],
    /// A negative errno where the kernel's own stack could not be read, else 0.
    pub kernel_error: i32,
    /// A negative errno where the user stack could not be read, else 0.
    pub user_error: i32,
}

/// One value of the `ACTIVE` map (key: the thread's `pid_tgid` as `u64`): the exchange that a thread is serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ActiveExchange {
    /// The connection; all zero for none.
    pub id: crate::ConnectionId,
    /// The number of the request's message.
    pub message: u32,
    /// Zero.
    pub reserved: u32,
}
