//! The four taps on sockets: their names, and which programs each consists of.

use std::{fmt, str::FromStr};

use super::attachment::{Attachment, Walker};

/// One way to see the bytes of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tap {
    /// fexit on the TCP calls.
    Fentry,
    /// The socket tracepoints, raw (6.3).
    RawTracepoint,
    /// kprobe and kretprobe on the TCP calls.
    Kprobe,
    /// The tracepoints of the system calls.
    Syscall,
}

impl Tap {
    /// All of them, the best first: by what they miss, then by what they cost the application. The tracepoints run with
    /// preemption off; an fexit program can be preempted, and the kernel then keeps other tasks' calls from it.
    pub const ALL: [Self; 4] = [
        Self::RawTracepoint,
        Self::Fentry,
        Self::Kprobe,
        Self::Syscall,
    ];

    /// The name that users write and read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::RawTracepoint => "raw-tracepoint",
            Self::Kprobe => "kprobe",
            Self::Syscall => "syscall",
        }
    }

    /// The programs of one kind; those for `tcp_sendpage` only where the kernel has it.
    pub(super) fn programs(
        self,
        kind: Kind,
        has_sendpage: bool,
    ) -> impl Iterator<Item = Attachment> {
        use Attachment::{BtfTracepoint, FExit, KProbe, Tracepoint};
        let (always, sendpage): (&[Attachment], &[Attachment]) = match (self, kind) {
            (Self::RawTracepoint, Kind::First) => (
                &[
                    BtfTracepoint("sock_send", "sock_send_length"),
                    BtfTracepoint("sock_recv", "sock_recv_length"),
                ],
                &[],
            ),
            (Self::RawTracepoint, Kind::Spare) => (
                &[
                    BtfTracepoint("sock_send_spare", "sock_send_length"),
                    BtfTracepoint("sock_recv_spare", "sock_recv_length"),
                ],
                &[],
            ),
            (Self::Fentry, Kind::First) => (
                &[
                    FExit("sendmsg_exit", "tcp_sendmsg"),
                    FExit("recvmsg_exit", "tcp_recvmsg"),
                ],
                &[FExit("sendpage_exit", "tcp_sendpage")],
            ),
            (Self::Fentry, Kind::Spare) => (
                &[
                    FExit("sendmsg_exit_spare", "tcp_sendmsg"),
                    FExit("recvmsg_exit_spare", "tcp_recvmsg"),
                ],
                &[FExit("sendpage_exit_spare", "tcp_sendpage")],
            ),
            (Self::Kprobe, Kind::First) => (
                &[
                    KProbe("sendmsg_called", &["tcp_sendmsg"]),
                    KProbe("send_returned", &["tcp_sendmsg"]),
                    KProbe("recvmsg_called", &["tcp_recvmsg"]),
                    KProbe("recvmsg_returned", &["tcp_recvmsg"]),
                ],
                &[
                    KProbe("sendpage_called", &["tcp_sendpage"]),
                    KProbe("send_returned", &["tcp_sendpage"]),
                ],
            ),
            (Self::Syscall, Kind::First) => (&[Tracepoint("sys_exit", SYSCALLS)], &[]),
            // What the kernel keeps from one of these it keeps from all on that event.
            (Self::Kprobe | Self::Syscall, Kind::Spare) => (&[], &[]),
        };
        let sendpage = if has_sendpage { sendpage } else { &[] };
        always.iter().chain(sendpage).copied()
    }

    /// The programs of one kind that see UDP beside those that see TCP; those for IPv6 only where the kernel has it.
    pub(super) fn udp_programs(
        self,
        kind: Kind,
        has_udpv6: bool,
    ) -> impl Iterator<Item = Attachment> {
        use Attachment::{FExit, KProbe};
        let (v4, v6): (&[Attachment], &[Attachment]) = match (self, kind) {
            (Self::Fentry, Kind::First) => (
                &[
                    FExit("udp_sendmsg_exit", "udp_sendmsg"),
                    FExit("udp_recvmsg_exit", "udp_recvmsg"),
                ],
                &[
                    FExit("udpv6_sendmsg_exit", "udpv6_sendmsg"),
                    FExit("udpv6_recvmsg_exit", "udpv6_recvmsg"),
                ],
            ),
            (Self::Fentry, Kind::Spare) => (
                &[
                    FExit("udp_sendmsg_exit_spare", "udp_sendmsg"),
                    FExit("udp_recvmsg_exit_spare", "udp_recvmsg"),
                ],
                &[
                    FExit("udpv6_sendmsg_exit_spare", "udpv6_sendmsg"),
                    FExit("udpv6_recvmsg_exit_spare", "udpv6_recvmsg"),
                ],
            ),
            (Self::Kprobe, Kind::First) => (
                &[
                    KProbe("udp_sendmsg_called", &["udp_sendmsg"]),
                    KProbe("udp_send_returned", &["udp_sendmsg"]),
                    KProbe("udp_recvmsg_called", &["udp_recvmsg"]),
                    KProbe("udp_recv_returned", &["udp_recvmsg"]),
                ],
                &[
                    KProbe("udpv6_sendmsg_called", &["udpv6_sendmsg"]),
                    KProbe("udp_send_returned", &["udpv6_sendmsg"]),
                    KProbe("udp_recvmsg_called", &["udpv6_recvmsg"]),
                    KProbe("udp_recv_returned", &["udpv6_recvmsg"]),
                ],
            ),
            // These see all sockets.
            (Self::RawTracepoint | Self::Syscall, _) | (Self::Kprobe, Kind::Spare) => (&[], &[]),
        };
        let v6 = if has_udpv6 { v6 } else { &[] };
        v4.iter().chain(v6).copied()
    }

    /// The programs that its programs of one kind go on to, and where they look for them: the array, and the index there.
    pub(super) fn walkers(self, kind: Kind, has_sendpage: bool) -> impl Iterator<Item = Walker> {
        use Attachment::{BtfTracepoint, FExit, KProbe, Tracepoint};
        const fn walker(program: Attachment, array: &'static str, entry: u32) -> Walker {
            Walker {
                program,
                array,
                entry,
            }
        }
        const RAW: &[Walker] = &[
            walker(
                BtfTracepoint("sock_recv_walk", "sock_recv_length"),
                "WALKERS",
                0,
            ),
            walker(
                BtfTracepoint("sock_send_walk", "sock_send_length"),
                "WALKERS",
                1,
            ),
            walker(
                BtfTracepoint("sock_recv_spare_walk", "sock_recv_length"),
                "WALKERS",
                2,
            ),
            walker(
                BtfTracepoint("sock_send_spare_walk", "sock_send_length"),
                "WALKERS",
                3,
            ),
        ];
        const FENTRY: &[Walker] = &[
            walker(
                FExit("recvmsg_exit_spare_walk", "tcp_recvmsg"),
                "RECVMSG_WALKERS",
                0,
            ),
            walker(
                FExit("sendmsg_exit_spare_walk", "tcp_sendmsg"),
                "SENDMSG_WALKERS",
                1,
            ),
            walker(
                FExit("recvmsg_exit_walk", "tcp_recvmsg"),
                "RECVMSG_WALKERS",
                2,
            ),
            walker(
                FExit("sendmsg_exit_walk", "tcp_sendmsg"),
                "SENDMSG_WALKERS",
                3,
            ),
        ];
        const SENDPAGE: &[Walker] = &[
            walker(
                FExit("sendpage_exit_spare_walk", "tcp_sendpage"),
                "SENDPAGE_WALKERS",
                1,
            ),
            walker(
                FExit("sendpage_exit_walk", "tcp_sendpage"),
                "SENDPAGE_WALKERS",
                3,
            ),
        ];
        const KPROBE: &[Walker] = &[
            walker(
                KProbe("recvmsg_returned_walk", &["tcp_recvmsg"]),
                "WALKERS",
                0,
            ),
            walker(KProbe("send_returned_walk", &["tcp_sendmsg"]), "WALKERS", 1),
        ];
        const SYSCALL: &[Walker] = &[
            walker(Tracepoint("sys_exit_recv_walk", SYSCALLS), "WALKERS", 0),
            walker(Tracepoint("sys_exit_send_walk", SYSCALLS), "WALKERS", 1),
        ];
        let (always, sendpage) = match self {
            Self::RawTracepoint => (RAW, &[][..]),
            Self::Fentry => (FENTRY, SENDPAGE),
            Self::Kprobe => (KPROBE, &[][..]),
            Self::Syscall => (SYSCALL, &[][..]),
        };
        let sendpage = if has_sendpage { sendpage } else { &[] };
        always
            .iter()
            .chain(sendpage)
            .copied()
            .filter(move |walker| {
                (kind == Kind::Spare) == walker.program.name().contains("_spare_")
            })
    }

    /// Whether it notes calls between their entry and their return.
    pub(super) const fn has_inflight_calls(self) -> bool {
        matches!(self, Self::Kprobe)
    }
}

impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Tap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|tap| tap.name() == text)
            .ok_or_else(|| {
                format!("no tap {text}; there are raw-tracepoint, fentry, kprobe, syscall")
            })
    }
}

/// The calls that move bytes, as tracepoints name them.
pub(super) const SYSCALLS: &[&str] = &[
    "sys_exit_read",
    "sys_exit_write",
    "sys_exit_readv",
    "sys_exit_writev",
    "sys_exit_sendto",
    "sys_exit_recvfrom",
    "sys_exit_sendmsg",
    "sys_exit_recvmsg",
    "sys_exit_sendmmsg",
    "sys_exit_recvmmsg",
    "sys_exit_sendfile64",
];

/// Which of a tap's programs; see `Turn` in the kernel programs' `io.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Those that see each call.
    First,
    /// Those that see what the kernel keeps from the first.
    Spare,
}

/// What sees the resets that are sent.
pub(super) const FLOW_RESET: Attachment = Attachment::RawTracepoint("flow_reset", "tcp_send_reset");

/// What sees the changes of state, in the order in which it is to be attached; see the kernel programs' `flow.rs`. What a packet changes can interrupt what a
/// process does, once. Where tracepoints can be preempted, more than that can happen, and there is a third.
pub(super) const fn flow_programs(tracepoints_preemptible: bool) -> &'static [Attachment] {
    const ALL: &[Attachment] = &[
        Attachment::BtfTracepoint("flow_state", "inet_sock_set_state"),
        Attachment::BtfTracepoint("flow_state_spare", "inet_sock_set_state"),
        Attachment::BtfTracepoint("flow_state_last", "inet_sock_set_state"),
    ];
    if tracepoints_preemptible {
        ALL
    } else {
        ALL.split_at(2).0
    }
}

/// What user space runs to learn where connections stand. It is never attached.
pub(super) const FLOW_REPORT: Attachment = Attachment::RawTracepoint("flow_report", "");
