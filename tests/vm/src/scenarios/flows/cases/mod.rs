//! Connections of every kind, a few of each: one program makes them all, and knows of each how it began and ended.

mod begin;
mod end;
mod far;
pub mod parts;
mod queue;

use std::{collections::BTreeMap, path::Path, thread};

use anyhow::{Result, bail};

use super::note::Notes;

/// What a case is given.
pub struct Ground {
    /// Where it notes what it did.
    pub notes: Notes,
    /// How much longer than natively things may take.
    pub patience: u32,
}

/// How a case went, unless it failed.
pub enum Went {
    /// It was carried out.
    Done,
    /// This kernel or machine lacks what it is about.
    NotHere(String),
}

type Case = fn(&Ground) -> Result<Went>;

const ALL: [(&str, Case); 22] = [
    ("mapped", begin::mapped),
    ("dual-stack", begin::dual_stack),
    ("non-blocking", begin::non_blocking),
    ("retried", begin::retried),
    ("fast-open", begin::fast_open),
    ("mptcp-client", begin::mptcp_client),
    ("mptcp-server", begin::mptcp_server),
    ("mptcp-both", begin::mptcp_both),
    ("late-words", begin::late_words),
    ("unread", end::unread),
    ("read-late", end::read_late),
    ("killed", end::killed),
    ("inherited", end::inherited),
    ("accepted-by-another", end::accepted_by_another),
    ("destroyed", end::destroyed),
    ("queue", queue::queue),
    ("queue-full", queue::full),
    ("delayed", far::delayed),
    ("lossy", far::lossy),
    ("silent", far::silent),
    ("unreachable", far::unreachable),
    ("stalled", far::stalled),
];

/// Carries out the cases, all at a time: most of them wait. Says then in one line of JSON which can't be here, and why.
pub fn run(notes: &Path, patience: u32, only: &[String]) -> Result<()> {
    let ground = Ground {
        notes: Notes::create(notes)?,
        patience,
    };
    let wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    let went: Vec<_> = thread::scope(|scope| {
        let cases: Vec<_> = ALL
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, case)| (*name, scope.spawn(|| case(&ground))))
            .collect();
        cases
            .into_iter()
            .map(|(name, thread)| (name, thread.join()))
            .collect()
    });
    let (mut absent, mut failed) = (BTreeMap::new(), Vec::new());
    for (name, went) in went {
        match went {
            Ok(Ok(Went::Done)) => {}
            Ok(Ok(Went::NotHere(why))) => {
                absent.insert(name, why);
            }
            Ok(Err(error)) => failed.push(format!("{name}: {error:#}")),
            Err(_) => failed.push(format!("{name}: it panicked")),
        }
    }
    println!("{}", serde_json::to_string(&absent)?);
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

/// How many cases there are.
pub const COUNT: usize = ALL.len();
