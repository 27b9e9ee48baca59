//! Programs that answer in llvm-symbolizer's form.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::answer::{self, Answer};
use crate::shell;

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As the linker sees it.
    Linkage,
    /// As the source has it: the default of all of them.
    Demangled,
}

/// A symbolizer: a program that takes llvm-symbolizer's options.
pub struct Tool {
    pub name: String,
    pub program: PathBuf,
    /// What comes before the options.
    words: Vec<String>,
}

impl Tool {
    /// The newest llvm-symbolizer of this machine, with its version.
    pub fn llvm() -> Result<Self> {
        let newest = (14..40)
            .rev()
            .find_map(|version| shell::find(&format!("llvm-symbolizer-{version}")));
        let Some(program) = newest.or_else(|| shell::find("llvm-symbolizer")) else {
            bail!("no llvm-symbolizer: `cargo xtask setup` installs one with llvm-22-dev");
        };
        let version = shell::output(shell::command(&program).arg("--version"))?;
        let number = version
            .lines()
            .find_map(|line| line.split_once("version ")?.1.split_whitespace().next())
            .with_context(|| format!("{} does not say its version", program.display()))?;
        Ok(Self {
            name: format!("llvm-symbolizer {number}"),
            program,
            words: Vec::new(),
        })
    }

    /// `fathom symbolize` of a built binary.
    pub fn fathom(binary: PathBuf) -> Self {
        Self {
            name: "fathom".to_owned(),
            program: binary,
            words: vec!["symbolize".to_owned()],
        }
    }

    /// The command that reads addresses of `file` and prints answers.
    pub fn command(&self, file: &Path) -> Command {
        let mut command = shell::command(&self.program);
        command.args(&self.words).arg("--exe").arg(file);
        command
    }

    /// What it answers for each address.
    pub fn answers(
        &self,
        file: &Path,
        debug_files: Option<&Path>,
        names: Names,
        addresses: &[u64],
    ) -> Result<Vec<Answer>> {
        let mut command = self.command(file);
        if let Some(folder) = debug_files {
            command.arg("--debug-file-directory").arg(folder);
        }
        if names == Names::Linkage {
            command.arg("--no-demangle");
        }
        let text = ask(&mut command, addresses)
            .with_context(|| format!("{} on {}", self.name, file.display()))?;
        let answers = answer::parse(&text)?;
        ensure!(
            answers.len() == addresses.len(),
            "{} on {}: {} addresses and {} answers",
            self.name,
            file.display(),
            addresses.len(),
            answers.len()
        );
        Ok(answers)
    }
}

/// Runs `command` with a line for each address, and gives back what it prints.
fn ask(command: &mut Command, addresses: &[u64]) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start")?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    let mut lines = String::new();
    for address in addresses {
        let _ = writeln!(lines, "0x{address:x}");
    }
    // It answers while it is still asked: both pipes would fill up.
    let writer = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", output.status);
    writer
        .join()
        .ok()
        .context("the writer ended badly")?
        .context("it does not read its input")?;
    // A name may be any bytes.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
