//! What a flow becomes: a line, an object, a row of the table, or a part of an edge.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use fathom_abi::{ConnectionId, Role};

use super::{
    Seen,
    edges::Edges,
    show::{Show, document, header, line},
    table::{HEADING, Table},
};
use crate::{
    cli::{
        Failure, Outcome,
        live::{Live, time_of_day},
        screen::{self, Screen},
        text,
    },
    identity::{Peer, Process},
    net::open::Progress,
    telemetry::Clock,
};

/// How often a frame is drawn.
const FRAME: Duration = Duration::from_secs(1);

/// What is shown, and where.
pub(super) struct View {
    what: What,
    /// Where frames are drawn.
    screen: Option<Screen>,
    /// When, the last time.
    drawn: Option<Instant>,
    json: bool,
}

enum What {
    Lines { show: Show, is_begun: bool },
    Table(Box<Table>),
    Edges(Edges),
}

impl View {
    pub(super) fn new(
        edges: bool,
        json: bool,
        is_drawn: bool,
        interval: Duration,
    ) -> Result<Self, Failure> {
        let what = if edges {
            What::Edges(Edges::default())
        } else if is_drawn {
            let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
            What::Table(Box::new(Table::new(Clock::monotonic_ns(), interval_ns)))
        } else {
            What::Lines {
                show: Show::default(),
                is_begun: false,
            }
        };
        let screen = is_drawn
            .then(Screen::enter)
            .transpose()
            .context("drawing on the terminal (--lines shows lines)")?;
        Ok(Self {
            what,
            screen,
            drawn: None,
            json,
        })
    }

    /// The number of the edge that a flow is on; 0 where there are no edges.
    pub(super) fn number(
        &mut self,
        process: Option<&Arc<Process>>,
        role: Role,
        peer: &Peer,
    ) -> u32 {
        match &mut self.what {
            What::Edges(edges) => edges.number(process.map(|process| &process.service), role, peer),
            What::Lines { .. } | What::Table(_) => 0,
        }
    }

    /// Takes a flow that is wanted.
    pub(super) fn take(&mut self, live: &mut Live, seen: &Seen, number: u32) -> Outcome {
        match &mut self.what {
            What::Lines { show, .. } if self.json => live.line(document(show, seen)),
            What::Lines { is_begun, .. } => {
                if !std::mem::replace(is_begun, true) {
                    live.line(header())?;
                }
                live.line(line(seen))
            }
            What::Table(table) => {
                table.take(seen);
                Ok(())
            }
            What::Edges(edges) => {
                edges.take(seen, number);
                Ok(())
            }
        }
    }

    /// A flow of this connection is not wanted.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        if let What::Table(table) = &mut self.what {
            table.forget(id);
        }
    }

    /// The end of this connection was lost, with all that was to be said of it.
    pub(super) fn lost(&mut self, id: ConnectionId, progress: &Progress) {
        match &mut self.what {
            What::Lines { .. } => {}
            What::Table(table) => table.forget(id),
            What::Edges(edges) => edges.lost(progress),
        }
    }

    /// Whether the user has had enough.
    pub(super) fn is_left(&self) -> bool {
        self.screen.as_ref().is_some_and(Screen::is_left)
    }

    /// Whether frames are drawn on the terminal, which bears no other lines.
    pub(super) fn is_drawn(&self) -> bool {
        self.screen.is_some()
    }

    /// Whether the next frame is due.
    pub(super) fn is_due(&self) -> bool {
        self.screen.is_some() && self.drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME)
    }

    /// Draws a frame.
    pub(super) fn draw(&mut self, clock: &Clock, losses: &str) -> Outcome {
        let Some(screen) = &self.screen else {
            return Ok(());
        };
        self.drawn = Some(Instant::now());
        let now_ns = Clock::monotonic_ns();
        let time = time_of_day(clock.unix_ns(now_ns));
        // Thousandths of a second say nothing on a frame a second.
        let time = time.split_once('.').map_or(&*time, |(whole, _)| whole);
        let size = screen::size();
        let lines = match &mut self.what {
            What::Table(table) => table.frame(size, now_ns, time, losses),
            What::Edges(edges) => {
                let head = [
                    format!("{time} UTC  who speaks with whom since the start  (q: quit)"),
                    format!("lost: {losses}"),
                ];
                let lines = head.into_iter().chain(edges.lines()).take(size.rows);
                lines.map(|line| text::clip(&line, size.columns)).collect()
            }
            What::Lines { .. } => return Ok(()),
        };
        screen
            .draw(&lines, HEADING)
            .context("drawing on the terminal")?;
        Ok(())
    }

    /// Gives the terminal back, and writes what is told at the end.
    pub(super) fn finish(&mut self, live: &mut Live) -> Outcome {
        self.screen = None;
        let What::Edges(edges) = &self.what else {
            return Ok(());
        };
        if self.json {
            for document in edges.documents() {
                live.line(document)?;
            }
        } else {
            for line in edges.lines() {
                live.line(line)?;
            }
        }
        live.flush()
    }
}
