//! What became of each program and tap: for `fathom doctor`, the log and the kernel matrix.

use std::fmt::Write as _;

use aya::programs::{Program, ProgramError};

use super::net::Tap;

/// Lines of the verifier's log that a reason quotes: the last ones say what it did not like.
const QUOTED_LINES: usize = 3;

/// What the kernel says of a loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramReport {
    /// The program.
    pub name: String,
    /// Instructions that the verifier walked; kernels before 5.16 don't say.
    pub verified_instructions: Option<u32>,
    /// Instructions after the kernel's own translation.
    pub instructions: Option<u32>,
}

impl ProgramReport {
    /// Asks the kernel.
    pub fn of(name: &str, program: &Program) -> Self {
        let info = program.info().ok();
        Self {
            name: name.to_owned(),
            verified_instructions: info
                .as_ref()
                .and_then(aya::programs::ProgramInfo::verified_instruction_count),
            instructions: info
                .as_ref()
                .and_then(aya::programs::ProgramInfo::size_translated)
                .map(|bytes| bytes / 8),
        }
    }
}

/// What became of a tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapReport {
    /// Which.
    pub tap: Tap,
    /// Why it does not work; `None` when it does.
    pub refused: Option<String>,
}

impl TapReport {
    /// Why it does not work.
    pub fn reason(&self) -> &str {
        self.refused.as_deref().unwrap_or("works")
    }
}

/// A refusal in one line: the error, what it usually means, and the verifier's last lines.
pub fn program_error(error: &ProgramError) -> String {
    let mut text = match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let mut text = format!("refused by the kernel: {io_error}");
            let lines: Vec<_> = log
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with("processed "))
                .collect();
            let last = &lines[lines.len().saturating_sub(QUOTED_LINES)..];
            if !last.is_empty() {
                let _ = write!(text, "; the verifier said: {}", last.join(" / "));
            }
            text
        }
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}
