//! The `profile` object: loads it and samples each CPU.
//!
//! *Minimum kernel version*: 5.8 (`BPF_MAP_TYPE_RINGBUF`), with `CONFIG_DEBUG_INFO_BTF`.

use std::{fmt, os::fd::OwnedFd, sync::Arc, time::Duration};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData, PerCpuArray},
    programs::{
        PerfEvent, Program, ProgramError,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
    sys::{Stats, enable_stats},
    util::online_cpus,
};
use fathom_abi::{
    VERSION,
    counters::ProfileCounter,
    sample::{MAX_FRAMES, SampleEvent},
};

use self::tables::{Sizes, Tables};
use super::{
    Error, ProgramReport,
    btf::Btf,
    maps::{map_bytes, map_error, ring, take},
    namespace, objects,
    offsets::Facts,
    ring::RingReader,
};

pub mod tables;
mod ticks;

pub use ticks::{Busy, Ticks};

const OBJECT: &str = "profile";
const PROGRAM: &str = "sample";

/// The greatest frequency that [`ProfileOptions::frequency`] takes: more would cost more than it shows.
pub const MAX_FREQUENCY: u32 = 1000;

/// The most processes that a filter can name (the size of the map `TARGETS`).
pub const MAX_TARGETS: usize = 256;

/// How to sample.
#[derive(Clone, Debug)]
pub struct ProfileOptions {
    /// Samples each second and CPU; 1 to [`MAX_FREQUENCY`], and what is outside is brought inside.
    pub frequency: u32,
    /// Bytes of the ring buffer; rounded up to a power of two of at least a page.
    pub ring_bytes: u32,
    /// Only these processes (tgids of the initial pid namespace), the first [`MAX_TARGETS`]; all where empty.
    pub targets: Vec<u32>,
    /// A process that is never sampled.
    pub excluded: Option<u32>,
    /// Bytes of the maps that user stacks are unwound by ([`Tables`]), brought up to [`Sizes::LEAST_BYTES`]. 0 for none: then they are walked by frame pointers alone.
    pub tables_bytes: u64,
    /// Whether the kernel is to measure what the program takes ([`Profile::run_time`]). It then does so for every BPF program of the node (5.8), which costs each run some tens of
    /// nanoseconds.
    pub measured: bool,
    /// Whether samples name their exchange: the `net` object is loaded, and has pinned the maps that it shares.
    pub joined: bool,
}

/// Bytes of a ring buffer that a reader who comes every `interval` finds at most half full, whatever the stacks, but for copies of them.
pub fn ring_bytes(cpus: usize, frequency: u32, interval: Duration) -> u32 {
    const RECORD: usize = size_of::<SampleEvent>() + 2 * MAX_FRAMES * size_of::<u64>();
    let ticks = u128::from(frequency) * interval.as_millis() / 1000 + 1;
    let bytes = ticks * (2 * RECORD * cpus) as u128;
    u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .clamp(128 << 10, 16 << 20)
        .next_power_of_two()
}

/// The same where stacks are copied ([`ProfileOptions::tables_bytes`]), which half of the ring is for: room for some twenty copies and more, as most are far from their bound.
pub fn ring_bytes_with_copies(cpus: usize, frequency: u32, interval: Duration) -> u32 {
    (2 * ring_bytes(cpus, frequency, interval)).max(1 << 20)
}

impl Default for ProfileOptions {
    fn default() -> Self {
        Self {
            frequency: 100,
            ring_bytes: 1 << 20,
            targets: Vec::new(),
            excluded: None,
            tables_bytes: 0,
            measured: false,
            joined: false,
        }
    }
}

/// The running sampler. Dropping it detaches and unloads everything.
#[derive(Debug)]
pub struct Profile {
    /// What was sampled.
    pub samples: RingReader,
    /// What happened to each tick.
    pub counters: Arc<Counters>,
    /// The program that is loaded.
    pub program: ProgramReport,
    /// CPUs that are sampled; 0 before [`Self::start`].
    pub cpus: usize,
    /// What of the clock's ticks came; `None` before [`Self::start`].
    pub ticks: Option<Ticks>,
    /// What user stacks are unwound by, until somebody takes it; `None` where [`ProfileOptions::tables_bytes`] is 0.
    pub tables: Option<Tables>,
    frequency: u32,
    map_bytes: u64,
    table_bytes: u64,
    /// The kernel measures as long as this is open.
    stats: Option<OwnedFd>,
    ebpf: Ebpf,
}

impl Profile {
    /// Loads the object. Nothing is sampled before [`Self::start`].
    ///
    /// # Errors
    /// When the kernel refuses the object or its program.
    pub fn load(options: &ProfileOptions) -> Result<Self, Error> {
        let sizes = match options.tables_bytes {
            0 => Sizes::NONE,
            bytes => Sizes::within(bytes),
        };
        let mut ebpf = open(options, sizes)?;
        set_targets(&mut ebpf, &options.targets)?;
        let shared: &[&str] = match options.joined {
            true => &namespace::SHARED,
            false => &[],
        };
        let map_bytes = map_bytes(&ebpf, shared);
        let samples = ring(OBJECT, &mut ebpf, "SAMPLES")?;
        let counters = PerCpuArray::try_from(take(OBJECT, &mut ebpf, "PROFILE_COUNTERS")?)
            .map(|counters| Arc::new(Counters(counters)))
            .map_err(map_error("PROFILE_COUNTERS"))?;
        let stats = options
            .measured
            .then(|| enable_stats(Stats::RunTime).ok())
            .flatten();
        let loaded: Result<&mut PerfEvent, _> = program(&mut ebpf)?.try_into();
        loaded
            .and_then(|program| program.load())
            .map_err(program_error)?;
        // The arrays stay in memory and their descriptors don't: the program has to be loaded by now.
        let tables = (options.tables_bytes > 0)
            .then(|| Tables::take(&mut ebpf, sizes))
            .transpose()?;
        let table_bytes = tables.as_ref().map_or(0, Tables::mapped_bytes);
        let program = ProgramReport::of(PROGRAM, program(&mut ebpf)?);
        Ok(Self {
            samples,
            counters,
            program,
            cpus: 0,
            ticks: None,
            frequency: options.frequency.clamp(1, MAX_FREQUENCY),
            tables,
            map_bytes,
            table_bytes,
            stats,
            ebpf,
        })
    }

    /// Starts sampling on each CPU that is online. A CPU that comes online later is not sampled.
    ///
    /// # Errors
    /// When the kernel refuses a CPU's event.
    pub fn start(&mut self) -> Result<(), Error> {
        self.cpus = attach(program(&mut self.ebpf)?, self.frequency).map_err(program_error)?;
        self.ticks = Some(Ticks::begin(&self.counters, self.frequency));
        Ok(())
    }

    /// Stops sampling: once it returns no record follows, and what the ring still holds can be drained.
    ///
    /// # Errors
    /// When the kernel refuses to detach.
    pub fn stop(&mut self) -> Result<(), Error> {
        let program: Result<&mut PerfEvent, _> = program(&mut self.ebpf)?.try_into();
        program
            .and_then(|program| program.unload())
            .map_err(program_error)
    }

    /// How long the program ran in all, and how often; `None` where nobody measures. To be asked before [`Self::stop`].
    pub fn run_time(&mut self) -> Option<(Duration, u64)> {
        self.stats.as_ref()?;
        let info = self.ebpf.program(PROGRAM)?.info().ok()?;
        Some((info.run_time(), info.run_count()))
    }

    /// Bytes that the object's maps take in the kernel.
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }

    /// Bytes of them that are in this process's address space.
    pub fn mapped_bytes(&self) -> u64 {
        self.samples.mapped_bytes() + self.table_bytes
    }
}

fn open(options: &ProfileOptions, sizes: Sizes) -> Result<Ebpf, Error> {
    let facts = Facts::of(&Btf::kernel()?);
    let ring = options.ring_bytes.max(4096).next_power_of_two();
    let (wake_at, copy_up_to) = (u64::from(ring / 4), u64::from(ring / 2));
    let unwind = u32::from(sizes != Sizes::NONE);
    let only_targets = u32::from(!options.targets.is_empty());
    let excluded = options.excluded.unwrap_or(0);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("ONLY_TARGETS", &only_targets, true)
        .override_global("EXCLUDED_TGID", &excluded, true)
        .override_global("UNWIND", &unwind, true)
        .override_global("WAKE_AT", &wake_at, true)
        .override_global("COPY_UP_TO", &copy_up_to, true)
        .override_global("OFFSETS", &facts.offsets, true)
        .override_global("HAS_TASK_PT_REGS", &facts.has_task_pt_regs, true)
        .override_global("REGS_FROM_STACK", &facts.regs_from_stack, true)
        .override_global("ABI_VERSION", &VERSION, false)
        .map_max_entries("SPACES", sizes.processes.max(1))
        .map_max_entries("SEGMENTS", sizes.segments.max(1))
        .map_max_entries("PAGES", sizes.pages.max(1))
        .map_max_entries("ROWS", sizes.chunks().max(1))
        .map_max_entries("RULES", sizes.rules.max(1))
        .map_max_entries("SAMPLES", ring);
    if options.joined {
        for map in namespace::SHARED {
            loader.map_pin_path(map, namespace::pin(map));
        }
    }
    loader.load(objects::PROFILE).map_err(|error| Error::Load {
        object: OBJECT,
        error: Box::new(error),
    })
}

fn set_targets(ebpf: &mut Ebpf, targets: &[u32]) -> Result<(), Error> {
    let map = ebpf.map_mut("TARGETS").ok_or(Error::Foreign {
        object: OBJECT,
        part: "TARGETS",
    })?;
    let mut map: HashMap<&mut MapData, u32, u8> =
        HashMap::try_from(map).map_err(map_error("TARGETS"))?;
    for target in targets.iter().take(MAX_TARGETS) {
        map.insert(target, 1, 0).map_err(map_error("TARGETS"))?;
    }
    Ok(())
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Program, Error> {
    ebpf.program_mut(PROGRAM).ok_or(Error::Foreign {
        object: OBJECT,
        part: PROGRAM,
    })
}

fn program_error(error: ProgramError) -> Error {
    Error::Program {
        program: PROGRAM,
        error: Box::new(error),
    }
}

/// Attaches to the clock of each CPU, and returns how many there are.
fn attach(program: &mut Program, frequency: u32) -> Result<usize, ProgramError> {
    let program: &mut PerfEvent = program.try_into()?;
    let cpus = online_cpus().map_err(|(_, error)| ProgramError::IOError(error))?;
    for &cpu in &cpus {
        program.attach(
            PerfEventConfig::Software(SoftwareEvent::CpuClock),
            PerfEventScope::AllProcessesOneCpu { cpu },
            SamplePolicy::Frequency(frequency.into()),
            false,
        )?;
    }
    Ok(cpus.len())
}

/// What happened to each tick.
pub struct Counters(PerCpuArray<MapData, u64>);

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.read()).finish()
    }
}

impl Counters {
    /// One counter's sum over all CPUs, since the object was loaded.
    pub fn get(&self, counter: ProfileCounter) -> u64 {
        let values = self.0.get(&(counter as u32), 0);
        values.map_or(0, |values| values.iter().sum())
    }

    /// Each counter's sum over all CPUs, since the object was loaded.
    pub fn read(&self) -> Vec<(ProfileCounter, u64)> {
        ProfileCounter::ALL
            .iter()
            .map(|&counter| (counter, self.get(counter)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_grows_with_what_comes_in_and_stays_bounded() {
        let tenth = Duration::from_millis(100);
        assert_eq!(ring_bytes(2, 100, tenth), 128 << 10);
        assert_eq!(ring_bytes(64, 100, tenth), 4 << 20);
        assert_eq!(ring_bytes(1024, 1000, tenth), 16 << 20);
    }
}
