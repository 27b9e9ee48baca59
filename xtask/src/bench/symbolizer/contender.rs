//! The symbolizers that are measured, and one run of one of them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use wait4::Wait4 as _;

use super::load::{Kind, Load};
use crate::{
    shell,
    symbolizer::{packages::Packages, tool::Tool},
};

/// A symbolizer.
pub struct Contender {
    pub name: String,
    program: PathBuf,
    way: Way,
}

/// How a symbolizer is called.
enum Way {
    /// A library, behind the program that has all libraries.
    Library(&'static str),
    /// llvm-symbolizer.
    Llvm,
    /// eu-addr2line, with the folder of its own libraries.
    Elfutils(PathBuf),
}

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// On a core, in user space and in the kernel.
    pub cpu: Duration,
    pub wall: Duration,
    /// The most memory that was resident, in bytes; 0 where the run was too short to look.
    pub peak: u64,
}

/// The program that has all libraries, built.
pub fn libraries() -> Result<PathBuf> {
    let folder = shell::root().join("symbolizer/peers");
    let target = shell::target().join("symbolizer/peers");
    shell::run(
        shell::cargo()
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", &target)
            .args(["build", "--quiet", "--locked", "--release"]),
    )?;
    Ok(target.join("release/fathom-symbolizer-peers"))
}

/// Fathom first, and the others.
pub fn all(packages: &Packages) -> Result<Vec<Contender>> {
    for package in ["elfutils", "libdw1", "libelf1", "libasm1"] {
        packages.need(package)?;
    }
    let libraries = libraries()?;
    let library = |name: &'static str| Contender {
        name: name.to_owned(),
        program: libraries.clone(),
        way: Way::Library(name),
    };
    let llvm = Tool::llvm()?;
    Ok(vec![
        library("fathom"),
        library("addr2line"),
        library("blazesym"),
        Contender {
            name: llvm.name,
            program: llvm.program,
            way: Way::Llvm,
        },
        Contender {
            name: "eu-addr2line".to_owned(),
            program: packages.root().join("usr/bin/eu-addr2line"),
            way: Way::Elfutils(packages.root().join("usr/lib/x86_64-linux-gnu")),
        },
    ])
}

impl Contender {
    pub fn is_fathom(&self) -> bool {
        self.name == "fathom"
    }

    /// Whether an address takes it milliseconds, so that it is asked for few.
    pub fn is_slow(&self) -> bool {
        matches!(self.way, Way::Elfutils(_))
    }

    /// The library that it is, with the program that has it.
    pub fn library(&self) -> Option<(&Path, &'static str)> {
        match self.way {
            Way::Library(name) => Some((&self.program, name)),
            _ => None,
        }
    }

    /// Lets it answer all addresses of `load` and end; nobody reads what it prints.
    pub fn run(&self, file: &Path, load: &Load) -> Result<Taken> {
        let mut command = Command::new(&self.program);
        match &self.way {
            Way::Library(name) => command.arg(name).arg(file),
            Way::Llvm => command.arg("--exe").arg(file),
            Way::Elfutils(libraries) => command
                .env("LD_LIBRARY_PATH", libraries)
                .args(["--functions", "--inlines", "--demangle", "--exe"])
                .arg(file),
        };
        let addresses = File::open(&load.file).with_context(|| load.file.display().to_string())?;
        let start = Instant::now();
        let mut child = command
            .stdin(addresses)
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let mut peak = 0;
        let used = loop {
            // wait(2) tells a peak, too, but never less than that of the process that starts others.
            if load.kind != Kind::Many {
                break child.wait4()?;
            }
            peak = peak.max(high_water(child.id()));
            if let Some(used) = child.try_wait4()? {
                break used;
            }
            thread::sleep(Duration::from_millis(2));
        };
        let wall = start.elapsed();
        ensure!(
            used.status.success(),
            "{} on {}: {}",
            self.name,
            file.display(),
            used.status
        );
        Ok(Taken {
            cpu: used.rusage.utime + used.rusage.stime,
            wall,
            peak,
        })
    }
}

/// The most memory that a process had resident up to now, in bytes; 0 when it has ended.
fn high_water(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .map_or(0, |kibibytes: u64| kibibytes << 10)
}
