//! What the kernel's programs unwind user stacks with: unwind tables of files, and which process has them mapped where.
//!
//! The maps are in this process's memory, so that filling them takes no system call (but for one to publish a process), and so that the same rows and rules, which the machine
//! holds once, serve user space to go on where a program had to stop ([`Tables::find`], [`Tables::rule`]). Their layout is that of [`fathom_abi::unwind`].
//!
//! What is taken out is not used again while a program may still be reading it. When there is no other room, [`Tables::add_file`] and [`Tables::publish`] wait until that is sure, which
//! takes some 20 ms for all that was taken out before.
//!
//! *Minimum kernel version*: 5.5 (`BPF_F_MMAPABLE`).

use std::{collections::HashMap, fmt, os::fd::AsFd as _};

use aya::{
    Ebpf,
    maps::{HashMap as Map, MapData, MapError},
};
use fathom_abi::unwind::{self as abi, Segment, Space};
use fathom_symbolizer::unwind::{Rule, Rules, Table};

use self::{
    files::Files,
    mapped::Mapped,
    runs::{Run, Runs},
};
use super::OBJECT;
use crate::probes::{
    self,
    maps::{map_error, take},
};

mod encode;
mod files;
mod grace;
mod mapped;
mod runs;
mod sizes;

pub use files::FileTable;
pub use sizes::Sizes;

/// Why something is not in the tables.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no room: something else has to be taken out first.
    #[error(
        "the unwinder has no room for more {0}: take out what was not used for longest, or allow the profiler more memory"
    )]
    Full(Part),
    /// More than the whole map.
    #[error(
        "{wanted} {part}, and the unwinder has room for {capacity} in all: allow the profiler more memory"
    )]
    TooLarge {
        /// Of what.
        part: Part,
        /// How many.
        wanted: u64,
        /// How many there can be.
        capacity: u32,
    },
    /// Segments that overlap, or are not in the order of their addresses.
    #[error("segments of process {pid} are not in order at {address:#x}")]
    Disorder {
        /// The process.
        pid: u32,
        /// Where.
        address: u64,
    },
    /// The kernel does not take a process's entry.
    #[error("publishing process {pid}: {error}")]
    Kernel {
        /// The process.
        pid: u32,
        /// What the kernel said.
        error: MapError,
    },
}

/// A part of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rows of files' tables.
    Rows,
    /// Pages of files' code.
    Pages,
    /// Mappings of processes.
    Segments,
    /// Processes.
    Processes,
    /// Rules.
    Rules,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "unwind rows",
            Self::Pages => "pages of code",
            Self::Segments => "mappings",
            Self::Processes => "processes",
            Self::Rules => "unwind rules",
        })
    }
}

/// The unwinder's maps. They stay as they are when the programs are gone.
pub struct Tables {
    sizes: Sizes,
    files: Files,
    rules: Mapped<abi::Rule>,
    /// Rules that were added.
    known_rules: u32,
    spaces: Map<MapData, u32, SpaceRecord>,
    segments: Mapped<Segment>,
    free_segments: Runs,
    /// Each process's segments.
    published: HashMap<u32, Run>,
    /// Segments that a program may still be reading.
    given_up: Vec<Run>,
}

/// [`Space`] as aya takes it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct SpaceRecord(Space);

// SAFETY: `#[repr(C)]`, no padding and no pointer (the ABI's tests hold it to that), any bits are valid.
unsafe impl aya::Pod for SpaceRecord {}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("capacity", &self.sizes)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl Tables {
    /// Takes the maps out of the object, which has them in these sizes.
    pub(super) fn take(ebpf: &mut Ebpf, sizes: Sizes) -> Result<Self, probes::Error> {
        let spaces = take(OBJECT, ebpf, "SPACES")?;
        let pages = mapped(ebpf, "PAGES", sizes.pages)?;
        let rows = mapped(ebpf, "ROWS", sizes.chunks())?;
        Ok(Self {
            sizes,
            files: Files::new(pages, rows),
            rules: mapped(ebpf, "RULES", sizes.rules)?,
            known_rules: 0,
            spaces: Map::try_from(spaces).map_err(map_error("SPACES"))?,
            segments: mapped(ebpf, "SEGMENTS", sizes.segments)?,
            free_segments: Runs::new(sizes.segments),
            published: HashMap::new(),
            given_up: Vec::new(),
        })
    }

    /// How much there is room for.
    pub fn capacity(&self) -> Sizes {
        self.sizes
    }

    /// How much of it is in use; what was taken out counts until its room can be used again.
    pub fn usage(&self) -> Sizes {
        let (pages, rows) = self.files.used();
        Sizes {
            rows,
            pages,
            segments: self.free_segments.used(),
            processes: u32::try_from(self.published.len()).unwrap_or(u32::MAX),
            rules: self.known_rules,
        }
    }

    /// Bytes of this process's address space that the maps take; all of them are resident.
    pub fn mapped_bytes(&self) -> u64 {
        self.files.mapped_bytes() + self.segments.bytes() + self.rules.bytes()
    }

    /// Adds those rules that are new since the last time. It has to come before the tables that name them.
    ///
    /// # Errors
    /// When there are too many. Those that have room are added, and frames with another rule can't be unwound.
    pub fn add_rules(&mut self, rules: &Rules) -> Result<(), Error> {
        for (number, &rule) in (0..).zip(rules.all()).skip(self.known_rules as usize) {
            if !self.rules.set(number, encode::encode(rule)) {
                return Err(Error::Full(Part::Rules));
            }
            self.known_rules = number + 1;
        }
        Ok(())
    }

    /// The rule of a number; [`Rule::None`] for one that was not added.
    pub fn rule(&self, number: u16) -> Rule {
        let rule = self.rules.get(u32::from(number));
        rule.map_or(Rule::None, encode::decode)
    }

    /// Puts a file's table into the maps, with numbers of the rules that were added.
    ///
    /// # Errors
    /// When there is no room for it; nothing of it is in the maps then.
    pub fn add_file(&mut self, table: &Table) -> Result<FileTable, Error> {
        match self.files.add(table) {
            Err(Error::Full(_)) if self.files.has_given_up() => {
                self.reclaim();
                self.files.add(table)
            }
            added => added,
        }
    }

    /// Takes a file's table out. Segments that point at it may stay: programs see that it is gone, and say so ([`fathom_abi::sample::UserEnd::WantedTable`]).
    pub fn remove_file(&mut self, file: FileTable) {
        self.files.remove(file);
    }

    /// The number of the rule that holds at an address of a file's own address space; [`Rules::NONE`] where none does.
    pub fn find(&self, file: &FileTable, address: u64) -> u16 {
        self.files.find(file, address)
    }

    /// Says what a process has mapped: `segments` in the order of their addresses. From now on programs unwind its stacks; what was said of it before does not count any more.
    ///
    /// `space` is what a sample said of the process's address space ([`fathom_abi::sample::SampleEvent::space`]): once the process executes another program, the programs take it for unknown. 0 is for one of which
    /// no sample was seen, and for any.
    ///
    /// # Errors
    /// When there is no room or the segments are not in order. What was said before stays.
    pub fn publish(&mut self, pid: u32, space: u64, segments: &[Segment]) -> Result<(), Error> {
        check_order(pid, segments)?;
        let count = segments.len() as u64;
        let capacity = self.sizes.segments.min(abi::MAX_SEGMENTS);
        if count > u64::from(capacity) {
            return Err(Error::TooLarge {
                part: Part::Segments,
                wanted: count,
                capacity,
            });
        }
        let count = count as u32;
        let mut run = self.free_segments.take(count);
        if run.is_none() && !self.given_up.is_empty() {
            self.reclaim();
            run = self.free_segments.take(count);
        }
        let run = run.ok_or(Error::Full(Part::Segments))?;
        for (place, &segment) in (run.first..).zip(segments) {
            self.segments.set(place, segment);
        }
        let value = Space {
            first: run.first,
            count,
            id: space,
            copied_ns: 0,
            tgid: pid,
            copies: 0,
        };
        // The system call is a barrier: who finds the process finds its segments.
        if let Err(error) = self.spaces.insert(pid, SpaceRecord(value), 0) {
            // No program has seen it.
            self.free_segments.give(run);
            return Err(refused(pid, error));
        }
        if let Some(before) = self.published.insert(pid, run) {
            self.given_up.push(before);
        }
        Ok(())
    }

    /// Takes a process out; programs take it for unknown.
    pub fn withdraw(&mut self, pid: u32) {
        if let Some(run) = self.published.remove(&pid) {
            // It is there: nothing else removes it.
            let _ = self.spaces.remove(&pid);
            self.given_up.push(run);
        }
    }

    /// Makes the room usable that was given up, once no program can be reading it.
    fn reclaim(&mut self) {
        grace::wait_for_programs();
        self.files.reclaim();
        for run in self.given_up.drain(..) {
            self.free_segments.give(run);
        }
    }
}

fn mapped<T: mapped::Plain>(
    ebpf: &mut Ebpf,
    name: &'static str,
    entries: u32,
) -> Result<Mapped<T>, probes::Error> {
    let aya::maps::Map::Array(map) = take(OBJECT, ebpf, name)? else {
        return Err(probes::Error::Foreign {
            object: OBJECT,
            part: name,
        });
    };
    let fd = map.fd().as_fd();
    Mapped::new(fd, entries).map_err(|error| map_error(name)(MapError::IoError(error)))
}

fn check_order(pid: u32, segments: &[Segment]) -> Result<(), Error> {
    let mut end = 0;
    for segment in segments {
        if segment.start < end || segment.end <= segment.start {
            return Err(Error::Disorder {
                pid,
                address: segment.start,
            });
        }
        end = segment.end;
    }
    Ok(())
}

fn refused(pid: u32, error: MapError) -> Error {
    let is_full = matches!(&error, MapError::SyscallError(error)
        if error.io_error.raw_os_error() == Some(libc::E2BIG));
    if is_full {
        return Error::Full(Part::Processes);
    }
    Error::Kernel { pid, error }
}
