//! Whose a socket is: one walk over the descriptors of all processes.

use std::{ffi::OsStr, fs, ops::ControlFlow, path::Path, time::Instant};

/// What a walk came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Processes that were looked at.
    pub processes: u64,
    /// Descriptors that were.
    pub descriptors: u64,
    /// Processes whose descriptors may not be seen (`CAP_SYS_PTRACE`).
    pub denied: u64,
    /// The process at which the time was up, before the end.
    pub cut_short: Option<u32>,
}

/// A descriptor of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descriptor {
    /// The process that has it.
    pub pid: u32,
    /// Its number there.
    pub number: u32,
}

impl Descriptor {
    /// The inode of the socket that it is one of; none where it is of no socket, or of none any more.
    pub fn inode(self, proc: &Path) -> Option<u32> {
        let Self { pid, number } = self;
        let target = fs::read_link(proc.join(format!("{pid}/fd/{number}")));
        inode(target.ok()?.as_os_str())
    }
}

/// Hands each socket's inode to `f`, with a process (as `proc` numbers it) that has a descriptor of it; a socket that several have is handed on for each, the lowest
/// number first. It begins with the process `from`, and ends where `f` says so. `proc` is where procfs is mounted.
///
/// It reads a link for each descriptor on the machine: 100,134 took 0.96 s in a build without optimization.
pub fn each(
    proc: &Path,
    from: u32,
    until: Instant,
    mut f: impl FnMut(Descriptor, u32) -> ControlFlow<()>,
) -> Walked {
    let mut walked = Walked::default();
    let Ok(processes) = fs::read_dir(proc) else {
        return walked;
    };
    let names = processes.flatten().map(|process| process.file_name());
    let mut pids: Vec<u32> = names.filter_map(|name| number(&name)).collect();
    pids.sort_unstable();
    for pid in pids.into_iter().filter(|&pid| pid >= from) {
        let descriptors = match fs::read_dir(proc.join(format!("{pid}/fd"))) {
            Ok(descriptors) => descriptors,
            Err(error) => {
                // Else it has ended.
                walked.denied += u64::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                continue;
            }
        };
        walked.processes += 1;
        for descriptor in descriptors.flatten() {
            // A process may have a million of them.
            if Instant::now() >= until {
                walked.cut_short = Some(pid);
                return walked;
            }
            walked.descriptors += 1;
            let Some(number) = number(&descriptor.file_name()) else {
                continue;
            };
            let target = fs::read_link(descriptor.path());
            if let Some(inode) = target.ok().and_then(|target| inode(target.as_os_str()))
                && f(Descriptor { pid, number }, inode).is_break()
            {
                return walked;
            }
        }
    }
    walked
}

/// `socket:[4711]`.
fn inode(target: &OsStr) -> Option<u32> {
    let name = target.to_str()?.strip_prefix("socket:[")?;
    name.strip_suffix(']')?.parse().ok()
}

fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests;
