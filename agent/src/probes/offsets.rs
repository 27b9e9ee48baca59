//! The facts about the running kernel that the objects take as globals.

use fathom_abi::offsets::Offsets;

use super::btf::Btf;

/// Bytes of a task's kernel stack on x86-64 and aarch64 (`THREAD_SIZE`; not those of a kernel built with KASAN).
const THREAD_SIZE: u64 = 16 * 1024;

/// What the `net` object wants to know.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Where struct members lie.
    pub offsets: OffsetTable,
    /// 1 where the helper `bpf_task_pt_regs` exists (5.15).
    pub has_task_pt_regs: u32,
    /// Where the saved user registers lie above `task_struct.stack`.
    pub regs_from_stack: u64,
    /// Arguments of `tcp_recvmsg`.
    pub recvmsg_arguments: u32,
    /// Arguments of `inet_csk_accept`.
    pub accept_arguments: u32,
    /// The value of `ITER_IOVEC`.
    pub iter_iovec: u32,
    /// The value of `ITER_UBUF`, or one that no iterator has.
    pub iter_ubuf: u32,
    /// Whether sendfile goes through `tcp_sendpage` (before 6.5).
    pub has_sendpage: bool,
    /// Whether UDP over IPv6 is a part of the kernel, and not absent or a module.
    pub has_udpv6: bool,
}

/// [`Offsets`] as aya takes it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct OffsetTable(pub Offsets);

// SAFETY: a `#[repr(C)]` struct of `u32`s: no padding, no pointer, any bits are valid.
unsafe impl aya::Pod for OffsetTable {}

impl Facts {
    /// Reads them out of the kernel's type information.
    pub fn of(btf: &Btf) -> Self {
        let registers = u64::from(btf.size("pt_regs").unwrap_or(0));
        Self {
            offsets: OffsetTable(Offsets::resolve(|path| btf.offset(path))),
            has_task_pt_regs: u32::from(
                btf.value("bpf_func_id", "BPF_FUNC_task_pt_regs").is_some(),
            ),
            regs_from_stack: THREAD_SIZE - registers,
            recvmsg_arguments: btf.arguments("tcp_recvmsg").unwrap_or(5),
            accept_arguments: btf.arguments("inet_csk_accept").unwrap_or(2),
            iter_iovec: btf.value("iter_type", "ITER_IOVEC").unwrap_or(u32::MAX),
            iter_ubuf: btf.value("iter_type", "ITER_UBUF").unwrap_or(u32::MAX),
            has_sendpage: btf.arguments("tcp_sendpage").is_some(),
            has_udpv6: btf.arguments("udpv6_sendmsg").is_some(),
        }
    }
}
