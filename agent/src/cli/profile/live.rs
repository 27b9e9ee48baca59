//! `--top`: the hottest functions while they run.

mod naming;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use self::naming::Naming;
use super::top::{Recent, Top};
use crate::{
    cli::{
        Outcome,
        live::time_of_day,
        screen::{self, Screen},
        text,
    },
    profile::{Namer, Profile, Window},
    telemetry::Clock,
};

/// How often it is shown.
const FRAME: Duration = Duration::from_secs(1);

/// Functions that are shown where there is no terminal to say how many have room.
const ROWS: usize = 25;

/// The line of a frame that stands out.
const HEADING: usize = 1;

/// A table that moves, or one after the other where standard output is no terminal.
pub(super) struct LiveTop {
    recent: Recent,
    screen: Option<Screen>,
    json: bool,
    clock: Clock,
    naming: Naming,
    /// When the last frame's samples ended.
    begun: Instant,
}

impl LiveTop {
    /// Takes the terminal, if there is one and lines are not wanted.
    ///
    /// # Errors
    /// When it can't be written to, or no thread can be started.
    pub(super) fn start(json: bool, namer: Namer) -> anyhow::Result<Self> {
        let naming = Naming::start(namer).context("starting the thread that names stacks")?;
        let screen = (!json && io::stdout().is_terminal())
            .then(Screen::enter)
            .transpose()
            .context("drawing on the terminal")?;
        Ok(Self {
            recent: Recent::default(),
            screen,
            json,
            clock: Clock::new(),
            naming,
            begun: Instant::now(),
        })
    }

    /// Whether the next frame is due, and the one before has its names.
    pub(super) fn is_due(&self) -> bool {
        self.begun.elapsed() >= FRAME && self.naming.is_free()
    }

    /// Takes the samples of the next frame.
    pub(super) fn name(&mut self, window: Window) {
        self.begun = Instant::now();
        self.naming.hand_over(window);
    }

    /// What is to be shown next, once it has its names.
    pub(super) fn named(&mut self) -> Option<Vec<Profile>> {
        self.naming.take()
    }

    /// Gives the terminal back, and what has not been shown.
    pub(super) fn finish(self) -> Option<Vec<Profile>> {
        drop(self.screen);
        self.naming.finish()
    }

    /// Whether the user has had enough.
    pub(super) fn is_left(&self) -> bool {
        self.screen.as_ref().is_some_and(Screen::is_left)
    }

    /// Shows what these profiles add to the last seconds. `account` says what was taken and lost.
    ///
    /// # Errors
    /// What standard output returns.
    pub(super) fn show(&mut self, profiles: &[Profile], account: &str) -> io::Result<()> {
        self.recent.push(profiles);
        let unix_ns = self.clock.unix_ns(Clock::monotonic_ns());
        if let Some(screen) = &self.screen {
            let time = time_of_day(unix_ns);
            let time = time.split_once('.').map_or(&*time, |(whole, _)| whole);
            let headline = format!("{time} UTC  the last five seconds  {account}  (q: quit)");
            return screen.draw(&self.recent.frame(&headline, screen::size()), HEADING);
        }
        let mut out = io::stdout().lock();
        let sum = self.recent.sum();
        if self.json {
            let mut document = sum.document(ROWS);
            document["time_unix_ns"] = unix_ns.into();
            writeln!(out, "{document}")?;
        } else {
            writeln!(out, "{} UTC  {account}", time_of_day(unix_ns))?;
            table(&sum, None, &mut out)?;
            writeln!(out)?;
        }
        out.flush()
    }
}

/// Prints the hottest functions of these profiles on standard output.
///
/// # Errors
/// What standard output returns, but for a reader that has gone.
pub(super) fn print(profiles: &[Profile], json: bool) -> Outcome {
    let mut top = Top::default();
    top.add(profiles);
    let stdout = io::stdout();
    let width = stdout.is_terminal().then(|| screen::size().columns);
    let mut out = stdout.lock();
    let written = if json {
        writeln!(out, "{}", top.document(usize::MAX))
    } else {
        table(&top, width, &mut out)
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written.context("writing to standard output")?),
    }
}

/// Its lines are cut to `width` characters, if that is given.
fn table(top: &Top, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "{}", Top::heading())?;
    let rows = top.rows();
    for row in rows.iter().take(ROWS) {
        let line = text::clip(&row.to_string(), width.unwrap_or(usize::MAX));
        writeln!(out, "{line}")?;
    }
    Ok(())
}
