//! Whose samples are wanted.

mod family;
mod hierarchies;

use std::{
    collections::BTreeSet,
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use lru::LruCache;

pub(super) use self::family::Family;
use self::hierarchies::Hierarchies;
use crate::{identity::container, probes::profile::MAX_TARGETS};

/// Processes of which it is remembered whether they are wanted.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Flags that say whose samples are wanted. Each narrows; of the values of one flag any does.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Only these processes, with all their threads; a list, or given several times
    #[arg(
        short,
        long = "pid",
        value_name = "PID,...",
        value_delimiter = ',',
        conflicts_with = "all"
    )]
    pub pids: Vec<u32>,
    /// Only threads and processes of this name, as the kernel has it (15 bytes); can be given several times
    #[arg(long = "comm", value_name = "NAME", conflicts_with = "all")]
    pub comms: Vec<String>,
    /// Only what is in this cgroup or below it, such as /system.slice/nginx.service; can be given several times
    #[arg(long = "cgroup", value_name = "PATH", conflicts_with = "all")]
    pub cgroups: Vec<PathBuf>,
    /// Only what is in the container whose id begins so; can be given several times
    #[arg(long = "container", value_name = "ID", conflicts_with = "all")]
    pub containers: Vec<String>,
    /// The whole node, as without any of these
    #[arg(short, long)]
    pub all: bool,
}

/// Decides of each sample whether it is wanted.
pub(super) struct Selection {
    proc: PathBuf,
    /// Processes, not threads.
    pids: Vec<u32>,
    comms: Vec<[u8; 16]>,
    /// From the root of their hierarchy on, with a slash before and none behind.
    cgroups: Vec<String>,
    containers: Vec<String>,
    /// A command's process and those that come from it.
    family: Option<Family>,
    /// By process and address space: whether its cgroup and container are wanted, and its name.
    processes: LruCache<(u32, u64), Known>,
    /// Samples of processes that were gone before it was known whether they are wanted.
    pub(super) undecided: u64,
}

/// What was read of a process.
#[derive(Clone, Copy)]
struct Known {
    /// In a cgroup and a container that are wanted; none where it was gone.
    is_within: Option<bool>,
    comm: Option<[u8; 16]>,
}

/// Whom a sample is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    /// The process.
    pub(super) tgid: u32,
    /// Changes when the process executes another program.
    pub(super) space: u64,
    /// The thread's name.
    pub(super) comm: [u8; 16],
}

impl Selection {
    /// Checks what the flags name.
    ///
    /// # Errors
    /// When there is no such process, cgroup or container.
    pub(super) fn new(args: &Args, proc: &Path) -> anyhow::Result<Self> {
        if args.pids.len() > MAX_TARGETS {
            bail!(
                "--pid: {} processes; at most {MAX_TARGETS} can be named",
                args.pids.len()
            );
        }
        let pids: anyhow::Result<_> = args.pids.iter().map(|&pid| process_of(proc, pid)).collect();
        let cgroups = if args.cgroups.is_empty() {
            Vec::new()
        } else {
            let hierarchies = Hierarchies::mounted()?;
            let found = args.cgroups.iter().map(|path| hierarchies.find(path));
            found.collect::<anyhow::Result<_>>()?
        };
        let containers: anyhow::Result<_> = args
            .containers
            .iter()
            .map(|id| container(proc, id))
            .collect();
        Ok(Self {
            proc: proc.to_owned(),
            pids: pids?,
            comms: args
                .comms
                .iter()
                .map(|name| padded(name.as_bytes()))
                .collect(),
            cgroups,
            containers: containers?,
            family: None,
            processes: LruCache::new(PROCESSES),
            undecided: 0,
        })
    }

    /// Only a command's process and those that come from it.
    pub(super) fn of_family(&mut self, family: Family) {
        self.family = Some(family);
    }

    /// The family, if only one is wanted.
    pub(super) fn family(&mut self) -> Option<&mut Family> {
        self.family.as_mut()
    }

    /// The processes that the kernel's program can choose by itself; empty where it can't.
    pub(super) fn targets(&self) -> &[u32] {
        &self.pids
    }

    /// Whether samples of a process are wanted that runs now, by what it runs now.
    pub(super) fn wants_process(&mut self, pid: u32) -> bool {
        let comm = comm(&self.proc.join(pid.to_string())).unwrap_or_default();
        let undecided = self.undecided;
        let wants = self.wants(Subject {
            tgid: pid,
            space: 0,
            comm,
        });
        // That is a count of samples.
        self.undecided = undecided;
        wants
    }

    /// Whether a sample is wanted.
    pub(super) fn wants(&mut self, subject: Subject) -> bool {
        if !self.pids.is_empty() && !self.pids.contains(&subject.tgid) {
            return false;
        }
        if let Some(family) = &mut self.family
            && !family.has(subject.tgid, &self.proc)
        {
            return false;
        }
        let needs_groups = !self.cgroups.is_empty() || !self.containers.is_empty();
        let named = self.comms.is_empty() || self.comms.contains(&subject.comm);
        if named && !needs_groups {
            return true;
        }
        let known = self.known(subject);
        if !named && !known.comm.is_some_and(|comm| self.comms.contains(&comm)) {
            return false;
        }
        match known.is_within {
            Some(is_within) => is_within,
            None if needs_groups => {
                self.undecided += 1;
                false
            }
            None => true,
        }
    }

    fn known(&mut self, subject: Subject) -> Known {
        let key = (subject.tgid, subject.space);
        if let Some(known) = self.processes.get(&key) {
            return *known;
        }
        let folder = self.proc.join(subject.tgid.to_string());
        let known = Known {
            is_within: text(&folder.join("cgroup"))
                .ok()
                .map(|text| self.is_within(&text)),
            comm: comm(&folder),
        };
        self.processes.put(key, known);
        known
    }

    /// Whether a process's `/proc/PID/cgroup` says that it is where it should be.
    fn is_within(&self, text: &str) -> bool {
        // `hierarchy:controllers:path`
        let mut paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let within = |path: &str| {
            // In a cgroup namespace of fathom's own, what is outside of it is reached by way of its parents.
            let mut path = path;
            while let Some(outer) = path.strip_prefix("/..") {
                path = outer;
            }
            self.cgroups.iter().any(|wanted| {
                path.strip_prefix(wanted.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let contained = || {
            container::id(text).is_some_and(|id| {
                self.containers
                    .iter()
                    .any(|wanted| id.starts_with(wanted.as_str()))
            })
        };
        (self.cgroups.is_empty() || paths.any(within))
            && (self.containers.is_empty() || contained())
    }
}

/// The process that a thread or process id names.
fn process_of(proc: &Path, pid: u32) -> anyhow::Result<u32> {
    let status = text(&proc.join(format!("{pid}/status")))
        .map_err(|error| anyhow!("--pid {pid}: there is no such process ({error})"))?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    tgid.and_then(|tgid| tgid.trim().parse().ok())
        .with_context(|| format!("--pid {pid}: /proc/{pid}/status names no process"))
}

/// The beginning of a container's id, if a process runs in one whose id begins so.
fn container(proc: &Path, id: &str) -> anyhow::Result<String> {
    let wanted = id.to_ascii_lowercase();
    let entries = fs::read_dir(proc).with_context(|| format!("reading {}", proc.display()))?;
    let found: BTreeSet<String> = entries
        .flatten()
        .filter_map(|entry| text(&entry.path().join("cgroup")).ok())
        .filter_map(|text| container::id(&text))
        .filter(|id| !wanted.is_empty() && id.starts_with(&wanted))
        .collect();
    match found.len() {
        0 => bail!(
            "--container {id}: no process runs in a container whose id begins so; a container's name is known to its runtime alone (crictl ps, docker ps --no-trunc)"
        ),
        1 => Ok(wanted),
        _ => {
            let found: Vec<_> = found.into_iter().collect();
            bail!(
                "--container {id}: the ids of several containers begin so: {}; say more of the one that is meant",
                found.join(", ")
            )
        }
    }
}

/// A file of `/proc`. Names that it has may be no text: the kernel cuts that of a process at 15 bytes, within a character or not.
fn text(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// The name of the process that has this folder in `/proc`.
fn comm(folder: &Path) -> Option<[u8; 16]> {
    let name = fs::read(folder.join("comm")).ok()?;
    Some(padded(name.strip_suffix(b"\n").unwrap_or(&name)))
}

/// A name as the kernel keeps it: cut at 15 bytes, padded with zeros.
fn padded(name: &[u8]) -> [u8; 16] {
    let mut comm = [0; 16];
    for (to, &from) in comm[..15].iter_mut().zip(name) {
        *to = from;
    }
    comm
}

#[cfg(test)]
mod tests;
