//! The columns that a terminal has room for.

use super::{super::show, Row};
use crate::{
    cli::{live::duration, text},
    net::flows::Change,
};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    State,
    Role,
    Local,
    Remote,
    SentRate,
    ReceivedRate,
    Sent,
    Received,
    Rtt,
    Retransmits,
    Age,
    How,
    Process,
}

/// In the order in which they are shown.
const ALL: [Column; 13] = [
    Column::State,
    Column::Role,
    Column::Local,
    Column::Remote,
    Column::SentRate,
    Column::ReceivedRate,
    Column::Sent,
    Column::Received,
    Column::Rtt,
    Column::Retransmits,
    Column::Age,
    Column::How,
    Column::Process,
];

/// In the order in which they go where there is no room.
const LEAST_NEEDED: [Column; 9] = [
    Column::Received,
    Column::Sent,
    Column::Role,
    Column::Age,
    Column::Retransmits,
    Column::Rtt,
    Column::Local,
    Column::ReceivedRate,
    Column::SentRate,
];

/// The least width of the last column, which takes what is left.
const PROCESS: usize = 12;

/// An address has no more than this; of a longer one the start is shown.
const ADDRESS: usize = 47;

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Role => "ROLE",
            Self::Local => "LOCAL",
            Self::Remote => "REMOTE",
            Self::SentRate => "SENT/S",
            Self::ReceivedRate => "RECV/S",
            Self::Sent => "SENT",
            Self::Received => "RECEIVED",
            Self::Rtt => "RTT",
            Self::Retransmits => "RETR",
            Self::Age => "AGE",
            Self::How => "HOW",
            Self::Process => "PROCESS",
        }
    }

    /// Numbers stand on the right.
    const fn is_number(self) -> bool {
        matches!(
            self,
            Self::SentRate
                | Self::ReceivedRate
                | Self::Sent
                | Self::Received
                | Self::Rtt
                | Self::Retransmits
                | Self::Age
        )
    }

    /// What a row has there. There is room for so many characters, which it may exceed.
    fn cell(self, row: &Row, now_ns: u64, room: usize) -> String {
        let flow = &row.flow;
        let dash = || "-".to_owned();
        let is_over = flow.change.is_end();
        let is_counted = show::is_counted(flow);
        let counted = |text: String| if is_counted { text } else { dash() };
        let rate = |bytes: f64| {
            if is_over || !is_counted {
                dash()
            } else {
                text::size(bytes)
            }
        };
        match self {
            Self::State => match flow.change {
                Change::Closed => "closed",
                Change::ConnectFailed => "failed",
                Change::Lost => "lost",
                Change::Established | Change::Existing | Change::Alive | Change::Resting => "open",
            }
            .to_owned(),
            Self::Role => show::role(flow.role).to_owned(),
            Self::Local => flow.local.to_string(),
            Self::Remote => show::remote(flow, &row.peer, row.destination, room),
            Self::SentRate => rate(row.sent),
            Self::ReceivedRate => rate(row.received),
            Self::Sent => counted(text::size(flow.bytes_sent as f64)),
            Self::Received => counted(text::size(flow.bytes_received as f64)),
            Self::Rtt => flow
                .srtt_us
                .map_or_else(dash, |us| duration(u64::from(us) * 1000)),
            Self::Retransmits => counted(flow.retransmits.to_string()),
            Self::Age => {
                let until = if is_over { flow.at_ns } else { now_ns };
                let since = flow.established_ns.or(flow.connect_ns);
                since.map_or_else(dash, |since| text::age(until.saturating_sub(since)))
            }
            Self::How => {
                let how = flow.outcome.map_or("-", |outcome| outcome.name());
                match show::why(flow) {
                    Some(why) => format!("{how} {why}"),
                    None => how.to_owned(),
                }
            }
            Self::Process => show::owner(row.process.as_deref()),
        }
    }
}

/// The columns of one frame and their widths.
pub(super) struct Layout(Vec<(Column, usize)>);

impl Layout {
    /// As many columns as fit.
    pub(super) fn new(rows: &[&Row], columns: usize) -> Self {
        let longest = |of: Column, least: usize, most: usize| {
            let lengths = rows.iter().map(|row| of.cell(row, 0, most).chars().count());
            lengths.max().unwrap_or(0).clamp(least, most)
        };
        // No column goes for the other ends' names.
        let named = longest(Column::Remote, 15, ADDRESS);
        let addresses = rows.iter().map(|row| row.flow.remote.to_string().len());
        let addresses = addresses.max().unwrap_or(0).clamp(15, named);
        let mut layout: Vec<(Column, usize)> = ALL
            .iter()
            .map(|&column| {
                let width = match column {
                    Column::State => 6,
                    Column::Role => 7,
                    Column::Local => longest(column, 15, ADDRESS),
                    Column::Remote => addresses,
                    Column::SentRate | Column::ReceivedRate | Column::Sent | Column::Received => 8,
                    Column::Rtt => 9,
                    Column::Retransmits => 5,
                    Column::Age => 6,
                    Column::How => longest(column, 9, 22),
                    Column::Process => PROCESS,
                };
                (column, width)
            })
            .collect();
        let taken = |layout: &[(Column, usize)]| {
            layout.iter().map(|(_, width)| width + 1).sum::<usize>() - 1
        };
        for least in LEAST_NEEDED {
            if taken(&layout) <= columns {
                break;
            }
            layout.retain(|(column, _)| *column != least);
        }
        let mut left = columns.saturating_sub(taken(&layout));
        for (column, width) in &mut layout {
            let more = match column {
                Column::Remote => left.min(named - *width),
                Column::Process => left,
                _ => 0,
            };
            *width += more;
            left -= more;
        }
        Self(layout)
    }

    /// The columns' names.
    pub(super) fn header(&self) -> String {
        self.join(|column, _| column.title().to_owned())
    }

    /// One row.
    pub(super) fn line(&self, row: &Row, now_ns: u64) -> String {
        self.join(|column, room| column.cell(row, now_ns, room))
            .trim_end()
            .to_owned()
    }

    fn join(&self, cell: impl Fn(Column, usize) -> String) -> String {
        let cells = self.0.iter().map(|&(column, width)| {
            let cell = text::clip(&cell(column, width), width);
            if column.is_number() {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join(" ")
    }
}
