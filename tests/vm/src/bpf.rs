//! What a process holds in the kernel, by the kernel's own files, and what is still there, by bpftool.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::path::find;

/// Within this the kernel has emptied arrays of programs that nobody has open any more.
const EMPTIED: Duration = Duration::from_millis(500);

/// Ids of programs, maps and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Maps, each with the bytes that the kernel charges for it.
    pub maps: BTreeMap<u64, u64>,
    /// Links.
    pub links: BTreeSet<u64>,
}

impl Objects {
    /// What process `pid` holds open: /proc/PID/fdinfo names each.
    pub fn of(pid: u32) -> Result<Self> {
        let mut objects = Self::default();
        let dir = format!("/proc/{pid}/fdinfo");
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {dir}"))? {
            // A descriptor that was closed meanwhile holds nothing.
            let Ok(text) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            let field = |name: &str| {
                text.lines().find_map(|line| {
                    let (key, value) = line.split_once(':')?;
                    (key == name)
                        .then(|| value.trim().parse::<u64>().ok())
                        .flatten()
                })
            };
            // A link's descriptor names its program too.
            if let Some(link) = field("link_id") {
                objects.links.insert(link);
            }
            if let Some(program) = field("prog_id") {
                objects.programs.insert(program);
            }
            if let Some(map) = field("map_id") {
                objects.maps.insert(map, field("memlock").unwrap_or(0));
            }
        }
        Ok(objects)
    }

    /// Those of these that the kernel still has.
    pub fn remaining(&self) -> Result<Self> {
        let there = |kind| ids(kind);
        let (programs, maps, links) = (there("prog")?, there("map")?, there("link")?);
        Ok(Self {
            programs: self.programs.intersection(&programs).copied().collect(),
            maps: self
                .maps
                .iter()
                .filter(|(id, _)| maps.contains(id))
                .map(|(&id, &bytes)| (id, bytes))
                .collect(),
            links: self.links.intersection(&links).copied().collect(),
        })
    }

    /// Waits until the kernel has none of these any more; it frees them after a grace period.
    ///
    /// The first look comes late. When the last descriptor of an array of programs closes, the kernel empties the array in a work item that
    /// holds it (`prog_array_map_clear`, kernel/bpf/arraymap.c). bpftool opens each map; when it closes this one before that item has run, the kernel counts
    /// a second holder for the same item, and the array stays for good. In a loop of bpftool over 15 kills 19 did on 6.18, whatever was in them; without it none.
    pub fn wait_until_gone(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        thread::sleep(EMPTIED);
        loop {
            let remaining = self.remaining()?;
            if remaining == Self::default() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("left behind in the kernel: {remaining:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The bytes of all maps.
    pub fn map_bytes(&self) -> u64 {
        self.maps.values().sum()
    }
}

/// The ids of all programs, maps or links, as bpftool lists them.
fn ids(kind: &str) -> Result<BTreeSet<u64>> {
    let bpftool = find("bpftool").context("no bpftool on this machine")?;
    let output = Command::new(bpftool)
        .args(["--json", kind, "show"])
        .output()?;
    if !output.status.success() {
        bail!(
            "bpftool {kind} show: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let list: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("bpftool {kind} show wrote no JSON"))?;
    let list = list.as_array().context("bpftool wrote no list")?;
    Ok(list
        .iter()
        .filter_map(|object| object["id"].as_u64())
        .collect())
}
