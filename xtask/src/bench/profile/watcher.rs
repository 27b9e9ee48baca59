//! What watches: fathom's command, and perf with frame pointers and over DWARF; each writes a profile of the whole machine to a file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use fathom_scenarios::{pairs::AgentSample, process};
use wait4::Wait4 as _;

use crate::shell;

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `fathom profile`.
    Fathom,
    /// `perf record -g`: frame pointers, which most programs lack.
    PerfFramePointers,
    /// `perf record --call-graph dwarf`: a copy of each stack.
    PerfDwarf,
}

/// How long a watcher may take until it samples.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to write its file.
const END_LIMIT: Duration = Duration::from_secs(120);

impl Kind {
    /// All.
    pub const ALL: [Self; 3] = [Self::Fathom, Self::PerfFramePointers, Self::PerfDwarf];

    /// What its row is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fathom => "fathom profile",
            Self::PerfFramePointers => "perf record -g",
            Self::PerfDwarf => "perf record --call-graph dwarf",
        }
    }

    /// Why it is not here.
    pub fn missing(self) -> Option<String> {
        let needs_perf = self != Self::Fathom;
        (needs_perf && shell::find("perf").is_none())
            .then(|| "no perf: run `cargo xtask setup`".to_owned())
    }

    /// What it has open as soon as it samples. fathom opens clocks of another kind before, which tell of mappings: its own have programs, by links (5.15).
    const fn clock(self) -> &'static [&'static str] {
        match self {
            Self::Fathom => &["bpf_link", "bpf-link"],
            Self::PerfFramePointers | Self::PerfDwarf => &["[perf_event]"],
        }
    }

    /// The command, and the file that it writes.
    fn command(self, binary: &Path, folder: &Path) -> (Command, PathBuf) {
        let perf = |call_graph: &[&str]| {
            let file = folder.join("perf.data");
            let mut command = shell::command("perf");
            command
                .args(["record", "--quiet", "-e", "cpu-clock", "-F", "100", "-a"])
                .args(call_graph)
                .arg("-o")
                .arg(&file);
            (command, file)
        };
        match self {
            Self::Fathom => {
                let file = folder.join("profile.pb.gz");
                let mut command = shell::command(binary);
                // Until it is told to end.
                command.args(["profile", "-d", "3600", "-o"]).arg(&file);
                (command, file)
            }
            Self::PerfFramePointers => perf(&["-g"]),
            Self::PerfDwarf => perf(&["--call-graph", "dwarf"]),
        }
    }
}

/// A watcher at work.
pub struct Watcher {
    child: Child,
    file: PathBuf,
    log: PathBuf,
    ready_after: Duration,
    /// Its CPU seconds when it was ready.
    before: f64,
}

/// What is left when it has ended.
pub struct Left {
    pub written_mib: f64,
    /// CPU seconds from the order to end to its end: perf only closes its file, fathom turns addresses into names.
    pub cpu_at_the_end: f64,
    /// Samples that it says it lost.
    pub lost: Option<f64>,
}

impl Watcher {
    /// Starts it, and waits until it samples.
    pub fn start(kind: Kind, binary: &Path) -> Result<Self> {
        let folder = shell::target().join("bench");
        fs::create_dir_all(&folder)?;
        let log = folder.join("watcher.log");
        let (mut command, file) = kind.command(binary, &folder);
        let begun = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", kind.name()))?;
        let mut watcher = Self {
            child,
            file,
            log,
            ready_after: Duration::ZERO,
            before: 0.0,
        };
        while !has_open(watcher.child.id(), kind.clock()) {
            if let Some(status) = watcher.child.try_wait()? {
                bail!("{} ended with {status}: {}", kind.name(), watcher.said());
            }
            ensure!(
                begun.elapsed() < READY_LIMIT,
                "{} does not sample after {} s",
                kind.name(),
                READY_LIMIT.as_secs()
            );
            thread::sleep(Duration::from_millis(1));
        }
        watcher.ready_after = begun.elapsed();
        watcher.before = process::cpu_seconds(watcher.child.id())?;
        Ok(watcher)
    }

    /// What it takes up to now.
    pub fn sample(&self) -> Result<AgentSample> {
        let pid = self.child.id();
        Ok(AgentSample {
            cpu: process::cpu_seconds(pid)? - self.before,
            resident: process::resident_bytes(pid)?,
            maps: Some(map_bytes(pid)?),
            lost: None,
            seen: None,
            ready: self.ready_after.as_secs_f64(),
        })
    }

    /// Ends it, and waits for its file.
    pub fn stop(mut self) -> Result<Left> {
        let pid = self.child.id();
        let before = process::cpu_seconds(pid)?;
        shell::run(shell::command("kill").args(["-s", "INT", &pid.to_string()]))?;
        let begun = Instant::now();
        let end = loop {
            if let Some(end) = self.child.try_wait4()? {
                break end;
            }
            ensure!(
                begun.elapsed() < END_LIMIT,
                "no profile {} s after SIGINT: {}",
                END_LIMIT.as_secs(),
                self.said()
            );
            thread::sleep(Duration::from_millis(5));
        };
        let written = fs::metadata(&self.file)
            .with_context(|| format!("no {}: {}", self.file.display(), self.said()))?
            .len();
        ensure!(written > 0, "an empty profile: {}", self.said());
        let used = end.rusage.utime + end.rusage.stime;
        Ok(Left {
            written_mib: mebibytes(written),
            cpu_at_the_end: (used.as_secs_f64() - before).max(0.0),
            lost: lost(&self.said()),
        })
    }

    /// From its start until it samples.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It has ended where it was stopped; else an error is on its way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a process has a file open whose link in /proc names one of these kinds.
fn has_open(pid: u32, kinds: &[&str]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|link| {
            let link = link.to_string_lossy();
            kinds.iter().any(|kind| link.contains(kind))
        })
}

/// Bytes of the BPF maps that a process holds, by the kernel's own figure.
fn map_bytes(pid: u32) -> Result<f64> {
    let mut maps = std::collections::BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A file may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id.trim().to_owned(), bytes.trim().parse::<f64>()?);
        }
    }
    // The sum of none is -0.
    Ok(maps.values().sum::<f64>() + 0.0)
}

/// `…, 3 lost`
fn lost(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.ends_with(" lost"))?;
    line.rsplit(", ").next()?.split(' ').next()?.parse().ok()
}

fn mebibytes(bytes: u64) -> f64 {
    u32::try_from(bytes >> 10).map_or(f64::INFINITY, |kibibytes| f64::from(kibibytes) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::{has_open, lost};

    #[test]
    fn what_was_lost_is_read_from_the_summary() {
        let said = "1993 samples of 123 processes in 10.0 s (100 Hz on 2 CPUs), 7 lost\n65.8 % in user code\n";
        assert_eq!(lost(said), Some(7.0));
        assert_eq!(lost("perf says nothing"), None);
    }

    #[test]
    fn a_process_without_a_clock_does_not_sample() {
        assert!(!has_open(std::process::id(), &["[perf_event]"]));
    }
}
