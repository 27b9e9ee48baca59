//! What to do about a refusal.

use crate::probes::{net::Tap, privileges::Privileges};

/// What someone can do so that a refused tap works, by the reason that the kernel gave.
pub fn on_tap(tap: Tap, reason: &str, privileges: Option<Privileges>) -> String {
    if let Some(advice) = privileges.and_then(on_privileges) {
        return advice;
    }
    let missing = reason.contains("os error 2)")
        || reason.contains("No such file")
        || reason.contains("unknown BTF type");
    match tap {
        Tap::Fentry if reason.contains("os error 1)") || reason.contains("os error 524)") => {
            "nothing: this kernel has no BPF trampolines (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS) or does not let them in; the next tap is taken"
        }
        Tap::Fentry => "nothing: the next tap is taken",
        Tap::RawTracepoint if missing => {
            "nothing: sock_send_length and sock_recv_length came with 6.3; the next tap is taken"
        }
        Tap::RawTracepoint => "nothing: the next tap is taken",
        Tap::Kprobe if missing => {
            "nothing: this kernel was built without CONFIG_KPROBE_EVENTS; the next tap is taken"
        }
        Tap::Kprobe => "nothing: the next tap is taken",
        Tap::Syscall if missing => {
            "mount tracefs on /sys/kernel/tracing, or grant CAP_SYS_ADMIN so that fathom mounts its own; the kernel needs CONFIG_FTRACE_SYSCALLS"
        }
        Tap::Syscall => "this tap needs CONFIG_FTRACE_SYSCALLS and the right to open tracepoints (CAP_PERFMON)",
    }
    .to_owned()
}

/// What to do where privileges are missing without which nothing loads.
pub fn on_privileges(privileges: Privileges) -> Option<String> {
    if !privileges.in_initial_user_namespace {
        return Some(
            "run it outside of the user namespace (no rootless container): the kernel does not count capabilities held in one"
                .to_owned(),
        );
    }
    let names: Vec<_> = privileges
        .missing()
        .filter(|privilege| privilege.essential)
        .map(|privilege| privilege.name)
        .collect();
    (!names.is_empty()).then(|| format!("run it as root, or grant {}", names.join(" and ")))
}
