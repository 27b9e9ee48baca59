//! The programs on accept(2) and connect(2): how they are attached.

use std::fmt;

use aya::Ebpf;

use super::{
    Tap,
    attachment::{Attachment, attach, load},
};
use crate::probes::Error;

/// How accept(2) and connect(2) are seen: which process a connection goes to, after how long, and why a connect failed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketCalls {
    /// fexit on the kernel's functions (5.5, x86-64).
    Fexit,
    /// The tracepoints of the system calls. While they are there, each system call of each process takes the kernel's slower way.
    Tracepoints,
}

impl SocketCalls {
    /// The ways for a tap, the best first. Where a tap stands for a kind of kernel, that kind's way goes with it.
    pub(super) const fn of(tap: Tap) -> &'static [Self] {
        match tap {
            Tap::Fentry => &[Self::Fexit],
            Tap::RawTracepoint => &[Self::Fexit, Self::Tracepoints],
            Tap::Kprobe | Tap::Syscall => &[Self::Tracepoints],
        }
    }

    pub(super) const fn programs(self) -> [Attachment; 2] {
        match self {
            Self::Fexit => [
                Attachment::FExit("accept_exit", "inet_csk_accept"),
                Attachment::FExit("connect_exit", "inet_stream_connect"),
            ],
            Self::Tracepoints => [
                Attachment::Tracepoint("sys_exit_accept", &["sys_exit_accept", "sys_exit_accept4"]),
                Attachment::Tracepoint("sys_exit_connect", &["sys_exit_connect"]),
            ],
        }
    }

    /// Loads and attaches its programs.
    pub(super) fn attach(self, ebpf: &mut Ebpf, kernel: &aya::Btf) -> Result<(), Error> {
        for program in self.programs() {
            load(ebpf, program, kernel)?;
        }
        for program in self.programs() {
            attach(ebpf, program)?;
        }
        Ok(())
    }
}

impl fmt::Display for SocketCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fexit => "fexit",
            Self::Tracepoints => "syscall tracepoints",
        })
    }
}
