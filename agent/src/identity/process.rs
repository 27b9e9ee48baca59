//! One process, as `/proc` shows it.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use super::{container, environ};

/// How much of a process's environment is looked at.
const MAX_ENVIRON: u64 = 256 * 1024;

/// What is known of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number in the initial pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`); 0 where it is not known.
    pub start_ticks: u64,
    /// `service.name`: its `OTEL_SERVICE_NAME`, else `service.name` of its `OTEL_RESOURCE_ATTRIBUTES`, else its executable's name.
    pub service: Arc<str>,
    /// The executable, as it sees it; none for a kernel thread.
    pub executable: Option<PathBuf>,
    /// Its name (`/proc/PID/comm`).
    pub comm: String,
    /// The container that it runs in.
    pub container: Option<String>,
}

impl Process {
    /// Reads what `/proc/PID` says; `None` where the process is gone.
    pub(super) fn read(proc: &Path, pid: u32) -> Option<Self> {
        let folder = proc.join(pid.to_string());
        let stat = fs::read(folder.join("stat")).ok()?;
        let (comm, start_ticks) = stat_fields(&stat)?;
        let executable = fs::read_link(folder.join("exe")).ok().map(undeleted);
        let name = executable
            .as_deref()
            .and_then(Path::file_name)
            .map(|name| name.to_string_lossy().into_owned());
        let environ = File::open(folder.join("environ")).and_then(|file| {
            let mut environ = Vec::new();
            file.take(MAX_ENVIRON).read_to_end(&mut environ)?;
            Ok(environ)
        });
        let service = environ
            .ok()
            .and_then(|environ| environ::service_name(&environ))
            .or(name)
            .unwrap_or_else(|| comm.clone());
        let container = fs::read_to_string(folder.join("cgroup"))
            .ok()
            .and_then(|cgroup| container::id(&cgroup));
        Some(Self {
            pid,
            start_ticks,
            service: service.into(),
            executable,
            comm,
            container,
        })
    }

    /// A process that is gone, and of which only the kernel's name for it is known.
    pub(super) fn gone(pid: u32, comm: &[u8; 16]) -> Self {
        let end = comm.iter().position(|&byte| byte == 0);
        let name = String::from_utf8_lossy(&comm[..end.unwrap_or(comm.len())]);
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        Self {
            pid,
            start_ticks: 0,
            service: name.as_str().into(),
            executable: None,
            comm: name,
            container: None,
        }
    }

    /// A process of which nothing is known but its number.
    pub(super) fn unknown(pid: u32) -> Arc<Self> {
        static NAME: LazyLock<Arc<str>> = LazyLock::new(|| "unknown".into());
        Arc::new(Self {
            pid,
            start_ticks: 0,
            service: Arc::clone(&NAME),
            executable: None,
            comm: String::new(),
            container: None,
        })
    }

    /// The executable's file name.
    pub fn executable_name(&self) -> Option<String> {
        Some(
            self.executable
                .as_deref()?
                .file_name()?
                .to_string_lossy()
                .into_owned(),
        )
    }

    /// Whether it goes on, and executes what it did; `proc` is the procfs of the initial pid namespace.
    pub fn is_still(&self, proc: &Path) -> bool {
        is_same(proc, self)
    }

    /// Whether another process has its number now, so that nothing that `/proc` says of the number is about this one.
    pub fn is_replaced(&self) -> bool {
        is_replaced(Path::new("/proc"), self)
    }
}

/// Whether no process has this number now, or another one.
pub(super) fn is_gone(proc: &Path, process: &Process) -> bool {
    !proc.join(process.pid.to_string()).exists() || is_replaced(proc, process)
}

/// Whether another process has this number now.
fn is_replaced(proc: &Path, process: &Process) -> bool {
    let stat = fs::read(proc.join(process.pid.to_string()).join("stat"));
    stat.ok()
        .as_deref()
        .and_then(stat_fields)
        .is_some_and(|(_, start_ticks)| start_ticks != process.start_ticks)
}

/// Whether the process that has this number now is the same, with the same executable.
pub(super) fn is_same(proc: &Path, process: &Process) -> bool {
    let folder = proc.join(process.pid.to_string());
    let Some((_, start_ticks)) = fs::read(folder.join("stat"))
        .ok()
        .as_deref()
        .and_then(stat_fields)
    else {
        return false;
    };
    // A process that is ending has no executable any more; what was seen before is better.
    let executable = fs::read_link(folder.join("exe")).ok().map(undeleted);
    start_ticks == process.start_ticks && (executable.is_none() || executable == process.executable)
}

/// The name and the start time from `/proc/PID/stat`. The name is in brackets and may hold brackets and spaces itself, so that the
/// last closing one counts (proc_pid_stat(5)).
fn stat_fields(stat: &[u8]) -> Option<(String, u64)> {
    let open = stat.iter().position(|&byte| byte == b'(')?;
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let comm = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    // The state is field 3; the start time field 22.
    let start_ticks = rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()?;
    Some((comm, start_ticks))
}

/// The kernel marks an executable whose file is gone, as after an upgrade of a running service.
fn undeleted(path: PathBuf) -> PathBuf {
    match path
        .to_str()
        .and_then(|text| text.strip_suffix(" (deleted)"))
    {
        Some(text) => PathBuf::from(text),
        None => path,
    }
}
