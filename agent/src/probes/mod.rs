//! The kernel side from user space: load, attach, features, offsets, budget.

/// The kernel objects, as built by `cargo xtask build-ebpf`. aya wants them aligned.
pub mod objects {
    /// TCP flows and messages.
    pub static NET: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/net"));
    /// CPU stacks.
    pub static PROFILE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profile"));
}
