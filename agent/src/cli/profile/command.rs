//! A command that is run to be sampled.

use std::{
    ffi::OsString,
    fmt, io,
    process::{Child, Command as Process, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::cli::usage::with_former_limit;

/// How long a command may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Where a command's own words go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streams {
    /// To where fathom's go.
    Own,
    /// Standard output is the profile's: the command's goes to standard error.
    OffStdout,
    /// The terminal is the table's, and so is what is typed.
    Nowhere,
}

impl Streams {
    fn apply(self, process: &mut Process) {
        match self {
            Self::Own => {}
            Self::OffStdout => {
                process.stdout(io::stderr());
            }
            Self::Nowhere => {
                process
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
            }
        }
    }
}

/// A command, running. Dropping it ends it.
pub(super) struct Command {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Command {
    /// Starts it, if there are any words.
    ///
    /// # Errors
    /// When there is no such program, or it can't be run.
    pub(super) fn start(words: &[OsString], streams: Streams) -> anyhow::Result<Option<Self>> {
        let Some((program, arguments)) = words.split_first() else {
            return Ok(None);
        };
        let name = program.to_string_lossy().into_owned();
        let mut process = Process::new(program);
        streams.apply(process.args(arguments));
        let child =
            with_former_limit(|| process.spawn()).with_context(|| format!("starting {name}"))?;
        Ok(Some(Self {
            name,
            child,
            ended: None,
        }))
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            // Should the kernel not say, it goes on until somebody ends it.
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_some()
    }

    /// Ends it if it goes on: by SIGTERM, and where that does not help by SIGKILL. What comes from it is left alone.
    pub(super) fn end(mut self) -> End {
        let by_itself = self.has_ended();
        self.stop();
        End {
            name: std::mem::take(&mut self.name),
            status: self.ended,
            by_itself,
        }
    }

    fn stop(&mut self) {
        if self.has_ended() {
            return;
        }
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // Its number is its own until it was waited for.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        if !self.has_ended() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How a command ended.
pub(super) struct End {
    name: String,
    status: Option<ExitStatus>,
    by_itself: bool,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        match (&self.status, self.by_itself) {
            (Some(status), true) => write!(f, "ended: {status}"),
            (Some(status), false) => write!(f, "was ended: {status}"),
            (None, _) => f.write_str("does not end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Command {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        Command::start(&words, Streams::Own).unwrap().unwrap()
    }

    #[test]
    fn it_is_said_how_it_ended() {
        let mut fails = command(&["sh", "-c", "exit 3"]);
        while !fails.has_ended() {
            thread::sleep(LOOK);
        }
        assert_eq!(fails.end().to_string(), "sh ended: exit status: 3");
        let goes_on = command(&["sleep", "1000"]);
        let end = goes_on.end().to_string();
        assert_eq!(end, "sleep was ended: signal: 15 (SIGTERM)");
    }

    #[test]
    fn none_is_none_and_one_that_is_not_there_is_an_error() {
        assert!(Command::start(&[], Streams::Own).unwrap().is_none());
        let error = Command::start(&["/no/such/program".into()], Streams::Own)
            .err()
            .unwrap();
        assert!(format!("{error:#}").starts_with("starting /no/such/program: No such file"));
    }
}
