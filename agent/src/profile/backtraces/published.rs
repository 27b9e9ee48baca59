//! Which processes the kernel's program knows, and as what.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use fathom_abi::unwind::{Segment, SegmentKind};
use fathom_symbolizer::Error as FileError;

use crate::{
    probes::profile::tables::{Error, Part},
    profile::{
        files::Files,
        lookups::{Lookup, LookupCounts},
        spaces::{Backing, Region, Space, Spaces},
        tables::{Availability, Failure, FileTables, Maps},
    },
};

/// The processes that are in the maps, and those whose entry is to be made anew.
#[derive(Debug)]
pub(super) struct Published {
    processes: HashMap<u32, Process>,
    changed: HashSet<u32>,
    all_changed: bool,
    counts: Arc<LookupCounts>,
}

#[derive(Debug)]
struct Process {
    /// The kernel's name of its address space.
    space: u64,
    sampled_ns: u64,
    /// A hash of its segments; none while it is not in the maps.
    segments: Option<u64>,
}

impl Published {
    /// No process is published.
    pub(super) fn new(counts: Arc<LookupCounts>) -> Self {
        Self {
            processes: HashMap::new(),
            changed: HashSet::new(),
            all_changed: false,
            counts,
        }
    }

    /// A process's stack could not be unwound for want of what is known of it, or could be made known.
    pub(super) fn wanted(&mut self, pid: u32, space: u64, at_ns: u64) {
        let process = self.processes.entry(pid).or_insert(Process {
            space,
            sampled_ns: at_ns,
            segments: None,
        });
        if process.space != space {
            process.space = space;
            process.segments = None;
        }
        process.sampled_ns = at_ns;
        self.changed.insert(pid);
    }

    /// A process was sampled, and all was known. One that was published before it was sampled (for any address space) is from now on known by the one that it has: else
    /// the program would go on by what it had mapped before an exec.
    pub(super) fn sampled(&mut self, pid: u32, space: u64, at_ns: u64) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        process.sampled_ns = at_ns;
        if process.space == 0 && space != 0 {
            process.space = space;
            process.segments = None;
            self.changed.insert(pid);
        }
    }

    /// A process's mappings changed.
    pub(super) fn changed(&mut self, pid: u32) {
        if self.processes.contains_key(&pid) {
            self.changed.insert(pid);
        }
    }

    /// Tables came or went.
    pub(super) fn all_changed(&mut self) {
        self.all_changed = true;
    }

    /// A process is another one, or gone.
    pub(super) fn withdraw(&mut self, pid: u32, maps: &mut dyn Maps) {
        if self.processes.remove(&pid).is_some() {
            self.changed.remove(&pid);
            maps.withdraw(pid);
        }
    }

    /// Nothing that is published can be relied on.
    pub(super) fn withdraw_all(&mut self, maps: &mut dyn Maps) {
        for (pid, _) in self.processes.drain() {
            maps.withdraw(pid);
        }
        self.changed.clear();
    }

    /// Puts what changed into the maps.
    pub(super) fn publish(
        &mut self,
        spaces: &mut Spaces,
        files: &Files,
        tables: &FileTables,
        now_ns: u64,
    ) {
        if std::mem::take(&mut self.all_changed) {
            self.changed.extend(self.processes.keys());
        }
        for pid in std::mem::take(&mut self.changed) {
            let Some(space) = spaces.known(pid) else {
                self.withdraw(pid, &mut **tables.maps());
                continue;
            };
            self.publish_one(pid, &space, files, tables, now_ns);
        }
    }

    fn publish_one(
        &mut self,
        pid: u32,
        space: &Arc<Space>,
        files: &Files,
        tables: &FileTables,
        now_ns: u64,
    ) {
        let segments: Vec<_> = space
            .regions()
            .iter()
            .map(|region| segment(region, files, tables, now_ns))
            .collect();
        let hash = hash(&segments);
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        if process.segments == Some(hash) {
            return;
        }
        let id = process.space;
        let mut published = tables.maps().publish(pid, id, &segments);
        // The one that was not sampled for longest makes room, and then some that were not much later: each time costs a wait.
        if let Err(Error::Full(Part::Processes | Part::Segments)) = published {
            self.evict(pid, &mut **tables.maps());
            published = tables.maps().publish(pid, id, &segments);
        }
        match published {
            Ok(()) => {
                self.counts.add(Lookup::Published);
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.segments = Some(hash);
                }
            }
            Err(error) => {
                tracing::debug!(pid, %error, "a process's mappings are not published");
                self.counts.add(Lookup::PublishFailed);
            }
        }
    }

    /// Takes a tenth of the processes out, those that were not sampled for longest.
    fn evict(&mut self, except: u32, maps: &mut dyn Maps) {
        let mut by_use: Vec<_> = self
            .processes
            .iter()
            .filter(|&(&pid, process)| pid != except && process.segments.is_some())
            .map(|(&pid, process)| (process.sampled_ns, pid))
            .collect();
        by_use.sort_unstable();
        for &(_, pid) in by_use.iter().take(by_use.len().div_ceil(10)) {
            self.withdraw(pid, maps);
            self.counts.add(Lookup::PublishedEvicted);
        }
    }
}

/// What the program is to know of a region.
fn segment(region: &Region, files: &Files, tables: &FileTables, now_ns: u64) -> Segment {
    let &Region { start, end, .. } = region;
    let of_kind = |kind| Segment {
        start,
        end,
        kind,
        ..Segment::default()
    };
    if region.backing == Backing::Anonymous {
        return of_kind(SegmentKind::FRAME_POINTERS);
    }
    let module = match files.known(region) {
        Some(Ok(module)) => module,
        Some(Err(FileError::NotElf { .. })) => return of_kind(SegmentKind::FRAME_POINTERS),
        Some(Err(_)) => return of_kind(SegmentKind::OPAQUE),
        None => return of_kind(SegmentKind::WANTED),
    };
    let Some(number) = files.table(region) else {
        return of_kind(SegmentKind::WANTED);
    };
    match tables.availability(number, now_ns) {
        Availability::Here => {
            let start_in_file = module.code_address_of(region.offset, end - start);
            let segment = start_in_file.and_then(|in_file| {
                let bias = start.wrapping_sub(in_file);
                tables.maps().segment(number, start, end, bias)
            });
            segment.unwrap_or_else(|| of_kind(SegmentKind::OPAQUE))
        }
        Availability::Wanted => of_kind(SegmentKind::WANTED),
        Availability::Failed(Failure::NotElf) => of_kind(SegmentKind::FRAME_POINTERS),
        Availability::Failed(_) => of_kind(SegmentKind::OPAQUE),
    }
}

fn hash(segments: &[Segment]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for segment in segments {
        let Segment {
            start,
            end,
            bias,
            first_page,
            page_number,
            pages,
            file,
            kind,
            ..
        } = *segment;
        (start, end, bias, first_page, page_number, pages, file, kind).hash(&mut hasher);
    }
    hasher.finish()
}
