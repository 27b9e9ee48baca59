//! What about this machine decides what works.

use std::{fs, path::Path};

use crate::{
    net::conntrack,
    probes::{
        btf::{self, Btf},
        namespace,
        offsets::Facts,
        privileges::Privileges,
    },
};

/// Something about this machine that decides what works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub value: String,
    /// What follows, where that is not plain.
    pub remark: Option<String>,
}

/// All that is said of it.
pub(super) fn all(
    kernel: &str,
    btf: &Result<Btf, btf::Error>,
    namespace: &Result<(), namespace::Error>,
    privileges: Option<Privileges>,
) -> Vec<Fact> {
    let mut facts = vec![type_information(btf), namespace_fact(namespace)];
    facts.push(conntrack_fact(conntrack::State::here("/proc".as_ref())));
    facts.extend(privileges.map_or_else(Vec::new, |privileges| {
        privilege_facts(privileges, counts_memlock(kernel))
    }));
    facts.extend(settings(Path::new("/")));
    facts
}

fn type_information(btf: &Result<Btf, btf::Error>) -> Fact {
    let name = "type information (BTF)";
    match btf {
        Err(error) => Fact {
            name,
            value: "none".to_owned(),
            remark: Some(error.to_string()),
        },
        Ok(btf) => {
            let facts = Facts::of(btf);
            Fact {
                name,
                value: btf::KERNEL.to_owned(),
                remark: (facts.recvmsg_arguments == 0)
                    .then(|| "it lacks tcp_recvmsg's shape".to_owned()),
            }
        }
    }
}

fn namespace_fact(entered: &Result<(), namespace::Error>) -> Fact {
    Fact {
        name: "mount namespace of its own",
        value: if entered.is_ok() { "yes" } else { "no" }.to_owned(),
        remark: entered
            .as_ref()
            .err()
            .map(|error| format!("{error}; without it the syscall tap needs a tracefs that is mounted, and CPU samples don't name their request")),
    }
}

fn conntrack_fact(state: conntrack::State) -> Fact {
    let value = match state {
        conntrack::State::Works => "works",
        conntrack::State::Absent => "none",
        conntrack::State::Denied(_) | conntrack::State::Unsupported(_) => "can't be asked",
    };
    Fact {
        name: "conntrack",
        value: value.to_owned(),
        remark: (state != conntrack::State::Works).then(|| state.to_string()),
    }
}

/// Whether the kernel of this release counts maps against `RLIMIT_MEMLOCK` (before 5.11); newer ones count them against
/// the cgroup.
pub(super) fn counts_memlock(release: &str) -> bool {
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) < (Some(5), Some(11))
}

fn privilege_facts(privileges: Privileges, counts_memlock: bool) -> Vec<Fact> {
    let missing: Vec<_> = privileges
        .missing()
        .filter(|privilege| counts_memlock || privilege.name != "CAP_SYS_RESOURCE")
        .collect();
    let mut facts = vec![Fact {
        name: "privileges",
        value: if missing.is_empty() {
            "all that it uses".to_owned()
        } else {
            let names: Vec<_> = missing.iter().map(|privilege| privilege.name).collect();
            format!("without {}", names.join(", "))
        },
        remark: (!missing.is_empty()).then(|| {
            let purposes: Vec<_> = missing
                .iter()
                .map(|privilege| format!("{}: to {}", privilege.name, privilege.purpose))
                .collect();
            purposes.join("; ")
        }),
    }];
    if !privileges.in_initial_user_namespace {
        facts.push(Fact {
            name: "user namespace",
            value: "not the first one".to_owned(),
            remark: Some("the kernel does not count capabilities that are held in it".to_owned()),
        });
    }
    if !privileges.in_initial_pid_namespace {
        facts.push(Fact {
            name: "pid namespace",
            value: "not the host's".to_owned(),
            remark: Some(
                "processes can't be named, and fathom can't leave its own connections out"
                    .to_owned(),
            ),
        });
    }
    facts
}

/// The kernel's settings that decide what works, below `root`.
pub(super) fn settings(root: &Path) -> Vec<Fact> {
    let read = |path: &str| -> Option<String> {
        Some(fs::read_to_string(root.join(path)).ok()?.trim().to_owned())
    };
    let mut facts = Vec::new();
    if let Some(lockdown) = read("sys/kernel/security/lockdown") {
        let confidential = lockdown.contains("[confidentiality]");
        facts.push(Fact {
            name: "lockdown",
            value: lockdown
                .split_once('[')
                .and_then(|(_, rest)| rest.split_once(']'))
                .map_or(lockdown.as_str(), |(mode, _)| mode)
                .to_owned(),
            remark: confidential.then(|| {
                "confidentiality lockdown keeps BPF from reading kernel memory: boot with lockdown=integrity"
                    .to_owned()
            }),
        });
    }
    if let Some(restrict) = read("proc/sys/kernel/kptr_restrict") {
        let remark = match restrict.as_str() {
            "0" | "1" => None,
            _ => Some(
                "kernel functions stay addresses in profiles: sysctl kernel.kptr_restrict=1"
                    .to_owned(),
            ),
        };
        facts.push(Fact {
            name: "kernel.kptr_restrict",
            value: restrict,
            remark,
        });
    }
    if let Some(paranoid) = read("proc/sys/kernel/perf_event_paranoid") {
        facts.push(Fact {
            name: "kernel.perf_event_paranoid",
            value: paranoid,
            // With CAP_PERFMON or CAP_SYS_ADMIN, without which nothing loads, the setting does not bind.
            remark: None,
        });
    }
    facts
}
