//! What this process may do, by the names of capabilities(7).

use std::{fs, io};

/// A privilege that some part of fathom needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// Its number in `linux/capability.h`.
    bit: u32,
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether nothing works without it.
    pub essential: bool,
}

/// The privileges that fathom uses. Kernels before 5.8 knew `CAP_SYS_ADMIN` only; fathom starts at 5.10.
pub const WANTED: [Privilege; 7] = [
    privilege(39, "CAP_BPF", "load programs and maps", true),
    privilege(
        38,
        "CAP_PERFMON",
        "attach them and read kernel memory",
        true,
    ),
    privilege(
        21,
        "CAP_SYS_ADMIN",
        "mount tracefs and bpffs in a mount namespace of its own, and list connections in other network namespaces",
        false,
    ),
    privilege(
        19,
        "CAP_SYS_PTRACE",
        "read other users' processes in /proc",
        false,
    ),
    privilege(
        2,
        "CAP_DAC_READ_SEARCH",
        "read executables for their symbols",
        false,
    ),
    privilege(
        34,
        "CAP_SYSLOG",
        "see the addresses of /proc/kallsyms",
        false,
    ),
    privilege(
        24,
        "CAP_SYS_RESOURCE",
        "lift RLIMIT_MEMLOCK, which maps count against before 5.11",
        false,
    ),
];

const fn privilege(
    bit: u32,
    name: &'static str,
    purpose: &'static str,
    essential: bool,
) -> Privilege {
    Privilege {
        bit,
        name,
        purpose,
        essential,
    }
}

/// The inode of the first pid namespace (`PROC_PID_INIT_INO` of `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// What this process has of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privileges {
    effective: u64,
    /// Whether it is in the first user namespace: the kernel asks for its capabilities there.
    pub in_initial_user_namespace: bool,
    /// Whether it is in the first pid namespace: the kernel programs name processes as seen from there.
    pub in_initial_pid_namespace: bool,
}

impl Privileges {
    /// This process's.
    ///
    /// # Errors
    /// Without /proc.
    pub fn of_this_process() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let effective = effective(&status).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status: no CapEff")
        })?;
        Ok(Self {
            effective,
            in_initial_user_namespace: maps_all_users(&fs::read_to_string("/proc/self/uid_map")?),
            in_initial_pid_namespace: fs::read_link("/proc/self/ns/pid")?.as_os_str()
                == INITIAL_PID_NAMESPACE,
        })
    }

    /// Those of [`WANTED`] that are missing.
    pub fn missing(self) -> impl Iterator<Item = Privilege> {
        // CAP_SYS_ADMIN still stands for the two that were split off from it (capabilities(7)).
        let includes = move |bit: u32| {
            self.effective >> bit & 1 == 1
                || (matches!(bit, 38 | 39) && self.effective >> 21 & 1 == 1)
        };
        WANTED
            .into_iter()
            .filter(move |privilege| !includes(privilege.bit))
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Only the first user namespace maps all user ids to themselves.
fn maps_all_users(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(effective: u64) -> Vec<&'static str> {
        Privileges {
            effective,
            in_initial_user_namespace: true,
            in_initial_pid_namespace: true,
        }
        .missing()
        .map(|privilege| privilege.name)
        .collect()
    }

    #[test]
    fn missing_privileges_go_by_their_names() {
        assert_eq!(with(0x1ff_ffff_ffff), [""; 0]);
        assert_eq!(with(0).len(), WANTED.len());
        assert_eq!(
            with(1 << 39 | 1 << 38 | 1 << 21 | 1 << 24),
            ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYSLOG"]
        );
        // CAP_SYS_ADMIN alone lets programs load and attach.
        assert!(!with(1 << 21).contains(&"CAP_BPF") && !with(1 << 21).contains(&"CAP_PERFMON"));
        assert!(with(1 << 39).contains(&"CAP_PERFMON"));
    }

    #[test]
    fn the_kernels_files_are_read_as_it_writes_them() {
        let status = "Name:\tfathom\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("CapEff:\tnothing\n"), None);
        assert!(maps_all_users("         0          0 4294967295\n"));
        assert!(!maps_all_users("         0       1000          1\n"));
    }
}
