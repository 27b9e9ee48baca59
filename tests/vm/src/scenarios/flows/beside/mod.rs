//! `flows-peers`: other tools and fathom on the same connections, line by line.
//!
//! `tcplife` and `tcpconnlat` are from bcc's libbpf-tools. The programs' own notes are the truth for both sides; where a tool says something else than fathom, it must
//! be one of the differences that are known and explained here, and each is counted:
//!
//! - SYN and FIN take sequence numbers, which `tcplife` counts as bytes: `bytes_acked` of the kernel's `struct tcp_sock` is up to two more, where a client's SYN and the FIN
//!   are acknowledged, and `bytes_received` one more behind a FIN.
//! - `tcplife` shows units of 1,024 bytes with two decimals.
//! - What was sent and not acknowledged when the connection was reset is not in `bytes_acked`.
//! - `tcplife` takes the process that it finds on the CPU at some changes of state, which is any process when they are a packet's doing.
//! - `tcplife` shows a connect that was refused as a connection without bytes.
//! - The programs of both look at different moments, between which an emulated processor may be kept from its work for long: there some times are further apart than
//!   [`tolerance`], and are counted: half of them are not.
//! - `tcpconnlat` measures to the packet that answers the SYN, and shows milliseconds with two or three decimals. It shows refused connects as if they had succeeded.

mod tool;

use std::{collections::BTreeMap, net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use self::tool::Tool;
use super::{
    INTERVAL, compare, judge,
    line::Line,
    many,
    note::{Note, Outcome, Role},
    some,
    watcher::{Flows, Shown},
};
use crate::{context::Context, path};

/// Short connections natively, and those that live for some seconds.
const SHORT: u64 = 2000;
const LONG: u64 = 100;

/// Of the connections, a tool may have missed so many: none is without losses.
const MISSED_PERCENT: usize = 2;

/// Of the connections in an emulated guest, so many may have times that are further apart than the tolerance.
const APART_PERCENT: usize = 50;

/// Times may differ by as much, in milliseconds, before patience is applied: programs at different places of the kernel, between which a task may be kept from its processor.
const MILLIS: f64 = 1.0;

/// By how much a time of so many milliseconds may differ. An emulated processor that is busy elsewhere makes everything longer.
fn tolerance(patience: u32, millis: f64) -> f64 {
    let part = if patience > 1 { 0.25 } else { 0.02 };
    MILLIS * f64::from(patience) + millis * part
}

/// Why neither tool is here; none when one is.
pub fn missing() -> Option<String> {
    let tools = ["tcplife", "tcpconnlat"];
    tools
        .iter()
        .all(|tool| path::find(tool).is_none())
        .then(|| "neither tcplife nor tcpconnlat (libbpf-tools)".to_owned())
}

pub fn run(context: &mut Context) -> Result<()> {
    let mut flows = Flows::start(context, INTERVAL)?;
    let patience = context.patience;
    let mut life = Tool::start("tcplife", &["-T", "-w"], context.dir(), patience);
    let mut latency = Tool::start("tcpconnlat", &["-L"], context.dir(), patience);
    ensure!(
        life.is_ok() || latency.is_ok(),
        "neither tool works here: {:#}; {:#}",
        life.err().context("both started")?,
        latency.err().context("both started")?
    );
    let (short, long) = (context.scaled(SHORT, 100), context.scaled(LONG, 10));
    let notes = many(context, short, long)?;
    flows.wait_for(&notes)?;
    thread::sleep(Duration::from_millis(500) * patience);
    let Shown { lines, kept, .. } = flows.stop()?;
    let wrong = compare::wrong(&notes, &lines);
    judge(context, &wrong, notes.len(), kept)?;
    context.fact("ends", notes.len());

    let ours: BTreeMap<_, _> = lines
        .iter()
        .filter(|line| line.what.is_last())
        .map(|line| ((line.local, line.remote), line))
        .collect();
    let notes = once(&notes);
    match &mut life {
        Ok(tool) => lives(context, &notes, &ours, &tool.stop()?)?,
        Err(error) => context.fact("no_tcplife", format!("{error:#}")),
    }
    match &mut latency {
        Ok(tool) => latencies(context, &notes, &ours, &tool.stop()?)?,
        Err(error) => context.fact("no_tcpconnlat", format!("{error:#}")),
    }
    Ok(())
}

type Pair = (SocketAddr, SocketAddr);

/// The notes whose pair of ends is that of one connection alone: a tool's lines have nothing else to tell them apart.
fn once(notes: &[Note]) -> BTreeMap<Pair, &Note> {
    let mut of_pair: BTreeMap<Pair, Vec<&Note>> = BTreeMap::new();
    for note in notes {
        of_pair
            .entry((note.local, note.remote))
            .or_default()
            .push(note);
    }
    of_pair
        .into_iter()
        .filter_map(|(pair, notes)| (notes.len() == 1).then(|| (pair, notes[0])))
        .collect()
}

/// A line of `tcplife -T -w`: `TIME PID COMM LADDR LPORT RADDR RPORT TX_KB RX_KB MS`.
#[derive(Debug, PartialEq)]
struct Life<'a> {
    pair: Pair,
    pid: u32,
    sent: &'a str,
    received: &'a str,
    millis: f64,
}

impl<'a> Life<'a> {
    fn read(line: &'a str) -> Option<Self> {
        // From the end: a program's name may have spaces.
        let words: Vec<&str> = line.split_whitespace().collect();
        let [
            _,
            pid,
            ..,
            local,
            lport,
            remote,
            rport,
            sent,
            received,
            millis,
        ] = words[..]
        else {
            return None;
        };
        let end = |ip: &str, port: &str| {
            Some(SocketAddr::new(
                ip.parse::<std::net::IpAddr>().ok()?.to_canonical(),
                port.parse().ok()?,
            ))
        };
        Some(Self {
            pair: (end(local, lport)?, end(remote, rport)?),
            pid: pid.parse().ok()?,
            sent,
            received,
            millis: millis.parse().ok()?,
        })
    }
}

/// Whether `tcplife` shows so many bytes in this way, or some more that are none.
fn is_shown(text: &str, bytes: u64, more: u64) -> bool {
    (bytes..=bytes + more).any(|bytes| format!("{:.2}", number(bytes) / 1024.0) == text)
}

fn lives(
    context: &mut Context,
    notes: &BTreeMap<Pair, &Note>,
    ours: &BTreeMap<Pair, &Line>,
    output: &str,
) -> Result<()> {
    let theirs: BTreeMap<Pair, Life> = output
        .lines()
        .filter_map(Life::read)
        .map(|life| (life.pair, life))
        .collect();
    let (mut missed, mut wrong) = (0, Vec::new());
    let mut apart = Vec::new();
    let mut differs = BTreeMap::new();
    let mut compared = 0;
    for (pair, note) in notes {
        // What the kernel kept from fathom was judged above.
        let Some(line) = ours.get(pair) else { continue };
        let Some(life) = theirs.get(pair) else {
            missed += 1;
            continue;
        };
        compared += 1;
        let (Some(sent), Some(received)) = (line.bytes_sent, line.bytes_received) else {
            wrong.push(format!("its bytes are not known: {line:?}"));
            continue;
        };
        let mut counts = |what: &'static str, holds: bool| {
            if holds {
                *differs.entry(what).or_insert(0_u64) += 1;
            }
        };
        counts("refused_as_connection", !note.began);
        counts("other_process", line.pid != Some(life.pid));
        // Reset, so that what came last may not be acknowledged.
        let more = if note.role == Role::Client { 2 } else { 1 };
        let is_sent = is_shown(life.sent, sent, more);
        let unacknowledged = !is_sent
            && matches!(note.outcome, Outcome::Reset | Outcome::Aborted)
            && life
                .sent
                .parse::<f64>()
                .is_ok_and(|shown| shown < number(sent) / 1024.0);
        counts("unacknowledged", unacknowledged);
        if !is_shown(life.received, received, 1) || !(is_sent || unacknowledged) {
            wrong.push(format!("{life:?}; fathom: {line:?}"));
        }
        if let Some(lasted) = line.number("lasted_ns").filter(|_| note.began) {
            let difference = (number(lasted) / 1e6 - life.millis).abs();
            if difference > tolerance(context.patience, life.millis) {
                apart.push(format!("{life:?}; fathom: it lasted {lasted} ns, {line:?}"));
            }
        }
    }
    context.fact("tcplife_compared", compared);
    context.fact("tcplife_missed", missed);
    for (what, count) in differs {
        context.fact(&format!("tcplife_{what}"), count);
    }
    wrong.extend(judge_times(context, "tcplife", apart, compared));
    accept("tcplife", missed, notes.len(), &wrong)
}

/// A line of `tcpconnlat -L`: `PID COMM IP SADDR LPORT DADDR DPORT LAT(ms)`.
fn latency(line: &str) -> Option<(Pair, f64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, .., local, lport, remote, rport, millis] = words[..] else {
        return None;
    };
    let end = |ip: &str, port: &str| {
        Some(SocketAddr::new(
            ip.parse::<std::net::IpAddr>().ok()?.to_canonical(),
            port.parse().ok()?,
        ))
    };
    Some((
        (end(local, lport)?, end(remote, rport)?),
        millis.parse().ok()?,
    ))
}

fn latencies(
    context: &mut Context,
    notes: &BTreeMap<Pair, &Note>,
    ours: &BTreeMap<Pair, &Line>,
    output: &str,
) -> Result<()> {
    let theirs: BTreeMap<Pair, f64> = output.lines().filter_map(latency).collect();
    let (mut missed, mut wrong) = (0, Vec::new());
    let mut apart = Vec::new();
    let mut refused = 0_u64;
    let connects: Vec<_> = notes
        .iter()
        .filter(|(_, note)| note.role == Role::Client)
        .collect();
    for (pair, note) in &connects {
        let Some(line) = ours.get(pair) else { continue };
        let Some(millis) = theirs.get(pair) else {
            missed += 1;
            continue;
        };
        refused += u64::from(!note.began);
        let Some(connect) = line.number("connect_ns") else {
            wrong.push(format!("{millis} ms; fathom: no connect_ns: {line:?}"));
            continue;
        };
        if (number(connect) / 1e6 - millis).abs() > tolerance(context.patience, *millis) {
            apart.push(format!("{millis} ms; fathom: {connect} ns: {line:?}"));
        }
    }
    let compared = connects.len() - missed;
    context.fact("tcpconnlat_compared", compared);
    wrong.extend(judge_times(context, "tcpconnlat", apart, compared));
    context.fact("tcpconnlat_missed", missed);
    context.fact("tcpconnlat_refused_as_connection", refused);
    accept("tcpconnlat", missed, connects.len(), &wrong)
}

/// Those of the times that are too far apart to be explained; natively all of them.
fn judge_times(
    context: &mut Context,
    tool: &str,
    apart: Vec<String>,
    compared: usize,
) -> Vec<String> {
    context.fact(&format!("{tool}_times_apart"), apart.len());
    let is_explained = context.patience > 1 && apart.len() * 100 <= compared * APART_PERCENT;
    if is_explained { Vec::new() } else { apart }
}

fn accept(tool: &str, missed: usize, of: usize, wrong: &[String]) -> Result<()> {
    ensure!(
        wrong.is_empty(),
        "{tool} and fathom differ unexplained about {} of {of}: {}",
        wrong.len(),
        some(wrong)
    );
    ensure!(
        missed * 100 <= of * MISSED_PERCENT,
        "{tool} shows {missed} of {of} not: no comparison"
    );
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes and nanoseconds of a scenario are far below 2^53"
)]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::{Life, is_shown, latency};

    #[test]
    fn a_syn_and_a_fin_may_be_in_what_is_shown_and_nothing_else() {
        assert!(is_shown("0.38", 383, 1) && is_shown("0.37", 383, 1));
        assert!(!is_shown("0.38", 382, 1) && !is_shown("0.37", 384, 2));
        assert!(is_shown("0.09", 86, 2) && !is_shown("0.09", 86, 1));
        assert!(is_shown("0.00", 0, 2) && !is_shown("0.00", 6, 2));
    }

    #[test]
    fn lines_of_both_tools_are_read_with_any_name() {
        let pair = (
            "127.0.0.1:54676".parse().expect("an address"),
            "[::1]:34051".parse().expect("an address"),
        );
        let life = "19:11:25 25293   tokio worker 1          127.0.0.1                  54676 ::1                  34051 0.98   0.50   0.10";
        assert_eq!(
            Life::read(life),
            Some(Life {
                pair,
                pid: 25293,
                sent: "0.98",
                received: "0.50",
                millis: 0.1
            })
        );
        assert_eq!(
            Life::read("TIME(s)  PID     COMM  LADDR  LPORT RADDR RPORT TX_KB RX_KB MS"),
            None
        );
        let connect = "544    a name 4  127.0.0.1        54676  ::1        34051 0.06";
        assert_eq!(latency(connect), Some((pair, 0.06)));
        assert_eq!(
            latency(
                "PID    COMM         IP SADDR            LPORT  DADDR            DPORT LAT(ms)"
            ),
            None
        );
    }
}
