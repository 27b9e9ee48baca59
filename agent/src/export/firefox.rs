//! Profiles for profiler.firefox.com: its processed format, version 61.
//!
//! The format is described in `src/types/profile.ts` and `docs-developer/CHANGELOG-formats.md` of firefox-devtools/profiler; it loads each
//! version up to its own (70 in August 2026), so that an old one is safe where a newer one would be refused. All threads share the tables of stacks,
//! frames and functions; each has its samples.
//!
//! A window's stacks are counted, and their times are not kept. So a thread's samples lie in a row from the start of the window on, each
//! stack as long as its count of periods: the lengths on the time axis are right, the places are not, which `meta.extra` says. There are no markers.

mod tables;

use std::{collections::BTreeMap, io};

use serde::Serialize;
use serde_json::{Value, json};

use self::tables::Tables;
use super::frames::{Frame, frames};
use crate::profile::{Origin, Profile, Stack};

/// The format's version (`meta.preprocessedProfileVersion`).
const VERSION: u32 = 61;
/// The version of the format that Firefox itself writes; readers want one, and there was none before.
const GECKO_VERSION: u32 = 30;

/// Writes the profiles as JSON. `unix_ns` turns `CLOCK_MONOTONIC` into Unix time.
///
/// # Errors
/// What `out` returns.
pub fn write(
    profiles: &[Profile],
    unix_ns: impl Fn(u64) -> u64,
    out: impl io::Write,
) -> io::Result<()> {
    let start_ns = profiles.iter().map(|profile| profile.start_ns).min();
    let start_ns = start_ns.unwrap_or(0);
    let mut tables = Tables::default();
    let threads: Vec<_> = profiles
        .iter()
        .flat_map(|profile| threads(profile, start_ns, &mut tables))
        .collect();
    let file = File {
        meta: meta(profiles, unix_ns(start_ns)),
        libs: tables.take_libs(),
        shared: tables,
        threads,
    };
    serde_json::to_writer(out, &file).map_err(io::Error::from)
}

#[derive(Serialize)]
struct File {
    meta: Value,
    libs: Vec<Value>,
    shared: Tables,
    threads: Vec<Value>,
}

/// Colours are of the format's own list; the first category is that of frames without one.
fn categories() -> Vec<Value> {
    let category = |name, color| json!({"name": name, "color": color, "subcategories": ["Other"]});
    let of_origin = Origin::ALL.into_iter().map(|origin| match origin {
        Origin::Kernel => category("Kernel", "orange"),
        Origin::Native => category("Native", "blue"),
        Origin::Jit => category("JIT", "green"),
        Origin::Interpreted => category("Interpreted", "magenta"),
        Origin::Python => category("Python", "yellow"),
    });
    std::iter::once(category("Other", "grey"))
        .chain(of_origin)
        .collect()
}

/// The index of an origin's category.
fn category(origin: Origin) -> u32 {
    origin as u32 + 1
}

fn meta(profiles: &[Profile], start_unix_ns: u64) -> Value {
    let period_ns = profiles.first().map_or(0, |profile| profile.period_ns);
    let end_ns = profiles
        .iter()
        .map(|profile| profile.duration_ns)
        .max()
        .unwrap_or(0);
    json!({
        "interval": milliseconds(period_ns),
        "startTime": milliseconds(start_unix_ns),
        "profilingStartTime": 0.0,
        "profilingEndTime": milliseconds(end_ns),
        "processType": 0,
        "product": "fathom",
        "stackwalk": 1,
        "version": GECKO_VERSION,
        "preprocessedProfileVersion": VERSION,
        "symbolicated": true,
        "symbolicationNotSupported": true,
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "keepProfileThreadOrder": true,
        "categories": categories(),
        "markerSchema": [],
        "platform": "Linux",
        "oscpu": "Linux",
        "importedFrom": concat!("fathom ", env!("CARGO_PKG_VERSION")),
        "extra": [{
            "label": "Times",
            "entries": [{
                "label": "Samples",
                "format": "string",
                "value": "counted by stack: lengths on the time axis are right, places are not",
            }],
        }],
    })
}

/// The threads of a process: its samples by thread, those of its first thread first.
fn threads(profile: &Profile, start_ns: u64, tables: &mut Tables) -> Vec<Value> {
    let mut of_thread: BTreeMap<u32, Vec<&Stack>> = BTreeMap::new();
    for stack in &profile.stacks {
        of_thread.entry(stack.tid).or_default().push(stack);
    }
    let pid = profile.process.pid;
    of_thread
        .into_iter()
        .map(|(tid, stacks)| {
            let name = stacks.first().map_or("", |stack| &stack.comm);
            json!({
                "processType": "default",
                "processStartupTime": 0.0,
                "processShutdownTime": null,
                "registerTime": 0.0,
                "unregisterTime": null,
                "pausedRanges": [],
                "name": name,
                "isMainThread": tid == pid,
                "processName": &*profile.process.service,
                "pid": pid.to_string(),
                "tid": tid,
                "samples": samples(profile, &stacks, start_ns, tables),
                "markers": {
                    "length": 0,
                    "data": [], "name": [], "startTime": [], "endTime": [], "phase": [], "category": [],
                },
            })
        })
        .collect()
}

fn samples(profile: &Profile, stacks: &[&Stack], start_ns: u64, tables: &mut Tables) -> Value {
    let mut at_ns = profile.start_ns - start_ns;
    let (mut ids, mut times, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for stack in stacks {
        ids.push(tables.stack(frames(profile, stack)));
        times.push(milliseconds(at_ns));
        weights.push(stack.count);
        at_ns = at_ns.saturating_add(stack.count.saturating_mul(profile.period_ns));
    }
    json!({
        "length": ids.len(),
        "stack": ids,
        "time": times,
        "weight": weights,
        "weightType": "samples",
    })
}

fn milliseconds(ns: u64) -> f64 {
    // A double holds the time of this century to a microsecond.
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests;
