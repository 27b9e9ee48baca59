//! One boot of one kernel under QEMU.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use fathom_scenarios::plan::Record;

use super::kernels::Kernel;
use crate::shell;

/// The oldest QEMU that runs these guests without fail: 7.2 lets newer kernels crash at random under TCG.
const OLDEST: u32 = 10;

/// From QEMU's start to the guest's first step, at most.
pub const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// How often a guest is started that does not come up. Under TCG one in some dozens of boots stands still in its kernel's first second, before there is anything of
/// fathom's in it; what has come up is never started again.
const STARTS: u32 = 3;

/// How many processors a guest has.
pub const CPUS: u32 = 2;

/// How much memory a guest has. The initramfs lies in it, twice while it is unpacked.
const MEMORY_MIB: u32 = 2560;

/// How many lines of a crashed guest's console are shown.
const TAIL: usize = 40;

/// How guests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor's own virtualization.
    Kvm,
    /// Translation: slower, and works everywhere.
    Tcg,
}

impl Accelerator {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "TCG, no KVM",
        }
    }
}

/// A QEMU that can run the matrix.
#[derive(Clone, Debug)]
pub struct Qemu {
    program: PathBuf,
    accelerator: Accelerator,
}

/// What one boot came to.
#[derive(Debug)]
pub struct Boot {
    /// The records that the guest wrote, in order.
    pub records: Vec<Record>,
    /// Why the guest ended before its plan did, with the end of its console; none when it carried out the plan.
    pub crash: Option<String>,
    /// From the start of QEMU to its end.
    pub took: Duration,
}

impl Qemu {
    /// Finds a QEMU that is new enough.
    pub fn find() -> Result<Self> {
        let program = shell::find("qemu-system-x86_64")
            .context("no qemu-system-x86_64: run `cargo xtask setup`")?;
        let text = shell::output(Command::new(&program).arg("--version"))?;
        let major = major_version(&text)
            .with_context(|| format!("{} does not say its version: {text}", program.display()))?;
        if major < OLDEST {
            bail!(
                "QEMU {major} is too old, {OLDEST} or later is needed (older ones let 6.12 guests crash at random): \
                 `cargo xtask setup` installs one from backports"
            );
        }
        Ok(Self {
            program,
            accelerator: Accelerator::Tcg,
        })
    }

    /// This QEMU with KVM, if there is a /dev/kvm and a trial boot of `kernel` under it gets to the plan's end.
    pub fn accelerated(self, kernel: &Kernel, image: &Path, logs: &Path) -> Self {
        if !Path::new("/dev/kvm").exists() {
            return self;
        }
        let trial = Self {
            program: self.program.clone(),
            accelerator: Accelerator::Kvm,
        };
        match trial.boot(
            kernel,
            image,
            &logs.join("kvm-trial"),
            Duration::from_secs(15),
        ) {
            Ok(Boot { crash: None, .. }) => trial,
            _ => self,
        }
    }

    /// How guests are run.
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// Boots `kernel` with `image` and waits for its end, at most for `limit`. Logs go into the folder `logs`.
    pub fn boot(
        &self,
        kernel: &Kernel,
        image: &Path,
        logs: &Path,
        limit: Duration,
    ) -> Result<Boot> {
        fs::create_dir_all(logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let console = logs.join("console");
        let records = logs.join("records");
        let mut command = Command::new(&self.program);
        match self.accelerator {
            Accelerator::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
            Accelerator::Tcg => command.args(["-accel", "tcg", "-cpu", "max"]),
        };
        command.args(["-smp", &CPUS.to_string()]);
        command.args(["-m", &format!("{MEMORY_MIB}M")]);
        command.args([
            "-display",
            "none",
            "-monitor",
            "none",
            "-nodefaults",
            "-no-reboot",
        ]);
        command.arg("-kernel").arg(&kernel.image);
        command.arg("-initrd").arg(image);
        // A panic restarts the guest, and a restart ends QEMU.
        command.args([
            "-append",
            "console=ttyS0 panic=-1 loglevel=5 random.trust_cpu=on",
        ]);
        for file in [&console, &records] {
            command.args(["-serial", &format!("file:{}", file.display())]);
        }
        let stderr = logs.join("qemu");
        command.stdin(Stdio::null()).stderr(File::create(&stderr)?);
        let is_up = || fs::metadata(&records).is_ok_and(|records| records.len() > 0);
        let mut starts = 1;
        let (ended, took) = loop {
            for file in [&console, &records] {
                File::create(file).with_context(|| format!("cannot create {}", file.display()))?;
            }
            let started = Instant::now();
            let mut qemu = command.spawn().context("cannot start QEMU")?;
            let ended = wait(&mut qemu, limit, is_up)?;
            if ended != End::NotUp || starts == STARTS {
                break (ended, started.elapsed());
            }
            eprintln!(
                "{}: the guest is not up after {} s; it is started again ({starts} of {STARTS})",
                kernel.release,
                BOOT_LIMIT.as_secs()
            );
            starts += 1;
        };
        let records = read_records(&records)?;
        let whole = matches!(records.last(), Some(Record::Done));
        let crash = (!whole).then(|| {
            let how = match ended {
                End::NotUp => format!("did not come up in {} s", BOOT_LIMIT.as_secs()),
                End::TooLate => format!("did not end in {} s", limit.as_secs()),
                End::ByItself => "ended before its plan did".to_owned(),
            };
            let said = fs::read_to_string(&stderr).unwrap_or_default();
            format!(
                "the guest {how}; {}\n{said}{}",
                console.display(),
                tail(&console)
            )
        });
        Ok(Boot {
            records,
            crash,
            took,
        })
    }
}

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ByItself,
    /// It was killed at its limit.
    TooLate,
    /// It was killed as nothing had come of it.
    NotUp,
}

/// Waits for `qemu`; after `limit` it is killed, and after [`BOOT_LIMIT`] where it is not up then.
fn wait(qemu: &mut Child, limit: Duration, is_up: impl Fn() -> bool) -> Result<End> {
    let started = Instant::now();
    loop {
        if qemu.try_wait()?.is_some() {
            return Ok(End::ByItself);
        }
        let end = match started.elapsed() {
            took if took >= limit => Some(End::TooLate),
            took if took >= BOOT_LIMIT && !is_up() => Some(End::NotUp),
            _ => None,
        };
        if let Some(end) = end {
            qemu.kill()?;
            qemu.wait()?;
            return Ok(end);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The records of a guest. The last line of a guest that crashed may be cut; it is left out.
fn read_records(file: &Path) -> Result<Vec<Record>> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| serde_json::from_str(line.trim()).ok())
        .collect())
}

/// The last lines of a console.
fn tail(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// The major version in what `qemu --version` says.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split_once("version ")?.1;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn qemus_version_is_read() {
        let text = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright …";
        assert_eq!(major_version(text), Some(10));
        assert_eq!(major_version("qemu"), None);
    }
}
