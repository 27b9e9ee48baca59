//! The notes of the programs against the lines of fathom: each end of each connection once, as it was, and none that never was.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    line::{Ends, Line, What},
    note::{Note, Outcome, Role, Side},
};

/// What is wrong, a text for each pair of ends or id of which something is.
pub fn wrong(notes: &[Note], lines: &[Line]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut stories: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        stories.entry(&line.id).or_default().push(line);
    }
    let mut noted: BTreeMap<Ends, Vec<&Note>> = BTreeMap::new();
    for note in notes {
        noted.entry(ends(note)).or_default().push(note);
    }
    // Whatever has one of these ports in its namespace is the programs' own.
    let own: BTreeSet<(u64, u16)> = notes
        .iter()
        .map(|note| match note.role {
            Role::Server => (note.netns, note.local.port()),
            _ => (note.netns, note.remote.port()),
        })
        .collect();
    let mut told: BTreeMap<Ends, Vec<Story>> = BTreeMap::new();
    for (id, lines) in stories {
        // A list of what was open before does not say in which network.
        let ends = lines[lines.len() - 1].ends();
        let is_own = [lines[0].local.port(), lines[0].remote.port()]
            .into_iter()
            .any(|port| own.contains(&(ends.0, port)));
        if !is_own && !noted.contains_key(&ends) {
            continue;
        }
        match Story::read(&lines) {
            Ok(_) if !noted.contains_key(&ends) => {
                wrong.push(format!(
                    "no program had this connection: {:?}",
                    ends_of(&lines)
                ));
            }
            Ok(story) => told.entry(ends).or_default().push(story),
            Err(error) => wrong.push(format!(
                "id {id}: {error:#}; of {} lines the first and the last: {:?}",
                lines.len(),
                ends_of(&lines)
            )),
        }
    }
    for (ends, notes) in &mut noted {
        let stories = told.entry(*ends).or_default();
        if let Err(error) = compare(notes, stories) {
            wrong.push(format!("{error:#}{NOTED}{:?}; told: {stories:?}", notes[0]));
        }
    }
    wrong
}

/// What is wrong stands behind the case's name and before this.
const NOTED: &str = "; first noted: ";

/// The cases in which connect(2) fails before there is a connection: what it returns is all that tells of it.
const TOLD_BY_CONNECT: [&str; 3] = ["no-route", "no-route-v6", "unreachable-route"];

/// Whether what is wrong with an end is what only calls on it tell: when its first byte went, and, of an accepting end, when it was accepted and whose it is,
/// without which it is told of at its end alone; and of a connect that fails at once, all.
pub fn is_of_calls(wrong: &str) -> bool {
    let Some((case, rest)) = wrong.split_once(": ") else {
        return false;
    };
    let what = rest.split_once(NOTED).map_or(rest, |(what, _)| what);
    match what {
        "no first_sent_ns" | "no first_received_ns" | "no accept_wait_ns" => true,
        "0 times told, not 1" => TOLD_BY_CONNECT.contains(&case),
        _ => what.starts_with("0 times alive, not "),
    }
}

/// The first and the last line.
fn ends_of<'a>(lines: &[&'a Line]) -> [&'a Line; 2] {
    [lines[0], lines[lines.len() - 1]]
}

fn ends(note: &Note) -> Ends {
    (note.netns, note.local, note.remote)
}

/// What the lines of one id tell.
#[derive(Debug)]
pub struct Story<'a> {
    /// Whether it is told when it began.
    pub established: bool,
    existing: bool,
    /// How often it is told where it stands.
    pub alive: usize,
    last: &'a Line,
}

impl<'a> Story<'a> {
    /// Its lines, in the order in which they came: it begins at most once, lives, and ends once.
    pub fn read(lines: &[&'a Line]) -> Result<Self> {
        let last = lines.last().context("no lines")?;
        let mut story = Self {
            established: false,
            existing: false,
            alive: 0,
            last,
        };
        let mut bytes = (None, None);
        for (at, line) in lines.iter().enumerate() {
            let listed = line.what == What::Existing;
            ensure!(
                (line.local, line.remote) == (last.local, last.remote)
                    && (line.netns == last.netns || (listed && line.netns.is_none())),
                "its addresses change"
            );
            ensure!(
                listed
                    || line.what == What::Lost
                    || (line.bytes_sent.is_some() && line.bytes_received.is_some()),
                "its bytes are not known"
            );
            ensure!(line.is_canonical(), "an IPv4 address is shown as IPv6");
            ensure!(
                line.what.is_last() == (at + 1 == lines.len()),
                "it goes on behind its end, or has none"
            );
            match line.what {
                What::Established | What::Existing => {
                    ensure!(at == 0, "it begins behind something else");
                    story.established = line.what == What::Established;
                    story.existing = line.what == What::Existing;
                }
                What::Alive => story.alive += 1,
                What::Closed | What::Failed => {}
                What::Lost => bail!("its end was lost"),
            }
            ensure!(
                line.what.is_last() == line.outcome.is_some(),
                "an outcome while it is open, or none when it is over"
            );
            ensure!(
                line.bytes_sent >= bytes.0 && line.bytes_received >= bytes.1,
                "its bytes become less"
            );
            bytes = (line.bytes_sent, line.bytes_received);
        }
        Ok(story)
    }
}

/// How an end's connection was when it was over: what both sides must agree about.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Over<'a> {
    began: bool,
    role: Role,
    outcome: Option<Outcome>,
    closed_by: Option<Side>,
    error: Option<&'a str>,
    sent: Option<u64>,
    received: Option<u64>,
    pid: Option<u32>,
}

impl<'a> Over<'a> {
    fn noted(note: &'a Note) -> Self {
        Self {
            began: note.began,
            role: note.role,
            outcome: Some(note.outcome),
            closed_by: note.closed_by,
            error: note.error.as_deref(),
            sent: Some(note.sent),
            received: Some(note.received),
            pid: Some(note.pid),
        }
    }

    fn told(line: &'a Line) -> Self {
        Self {
            began: line.what == What::Closed,
            role: line.role,
            outcome: line.outcome,
            closed_by: line.closed_by,
            error: line.error.as_deref(),
            sent: line.bytes_sent,
            received: line.bytes_received,
            pid: line.pid,
        }
    }
}

/// The notes and the stories of one pair of ends.
fn compare(notes: &mut [&Note], stories: &mut [Story]) -> Result<()> {
    ensure!(
        notes.len() == stories.len(),
        "{}: {} times told, not {}",
        notes[0].case,
        stories.len(),
        notes.len()
    );
    notes.sort_by(|one, other| Over::noted(one).cmp(&Over::noted(other)));
    stories.sort_by(|one, other| Over::told(one.last).cmp(&Over::told(other.last)));
    for (note, story) in notes.iter().zip(stories) {
        let (noted, told) = (Over::noted(note), Over::told(story.last));
        ensure!(
            noted == told,
            "{}: it was {noted:?}, not {told:?}",
            note.case
        );
        ensure!(
            story.established == (note.began && !note.existing) && story.existing == note.existing,
            "{}: established: {}, existing: {}",
            note.case,
            story.established,
            story.existing
        );
        ensure!(
            story.alive >= note.alive,
            "{}: {} times alive, not {}",
            note.case,
            story.alive,
            note.alive
        );
        for bound in &note.bounds {
            let Some(value) = story.last.number(&bound.field) else {
                bail!("{}: no {}", note.case, bound.field);
            };
            ensure!(
                (bound.least..=bound.most).contains(&value),
                "{}: {} is {value}, not {} to {}",
                note.case,
                bound.field,
                bound.least,
                bound.most
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
