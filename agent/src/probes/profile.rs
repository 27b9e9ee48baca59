//! The `profile` object: loads it and samples each CPU.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData, PerCpuArray},
    programs::{
        PerfEvent, Program, ProgramError,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
    util::online_cpus,
};
use fathom_abi::{
    VERSION,
    counters::ProfileCounter,
    sample::{MAX_FRAMES, SampleEvent},
};

use super::{
    Error, ProgramReport,
    maps::{map_bytes, map_error, ring, take},
    objects,
    ring::RingReader,
};

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
    /// Where the `net` object pinned its `ACTIVE` map, so that samples name their exchange; without it none does.
    pub active_pin: Option<PathBuf>,
}

/// Bytes of a ring buffer that a reader who comes every `interval` finds at most half full, whatever the stacks.
pub fn ring_bytes(cpus: usize, frequency: u32, interval: Duration) -> u32 {
    const RECORD: usize = size_of::<SampleEvent>() + 2 * MAX_FRAMES * size_of::<u64>();
    let ticks = u128::from(frequency) * interval.as_millis() / 1000 + 1;
    let bytes = ticks * (2 * RECORD * cpus) as u128;
    u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .clamp(128 << 10, 16 << 20)
        .next_power_of_two()
}

impl Default for ProfileOptions {
    fn default() -> Self {
        Self {
            frequency: 100,
            ring_bytes: 1 << 20,
            targets: Vec::new(),
            excluded: None,
            active_pin: None,
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
    /// CPUs that are sampled.
    pub cpus: usize,
    map_bytes: u64,
    ebpf: Ebpf,
}

impl Profile {
    /// Loads the object and starts sampling on each CPU that is online. A CPU that comes online later is not sampled.
    ///
    /// # Errors
    /// When the kernel refuses the object, its program or a CPU's event.
    pub fn load(options: &ProfileOptions) -> Result<Self, Error> {
        let mut ebpf = open(options)?;
        set_targets(&mut ebpf, &options.targets)?;
        let shared: &[&str] = match options.active_pin {
            Some(_) => &["ACTIVE"],
            None => &[],
        };
        let map_bytes = map_bytes(&ebpf, shared);
        let samples = ring(OBJECT, &mut ebpf, "SAMPLES")?;
        let counters = PerCpuArray::try_from(take(OBJECT, &mut ebpf, "PROFILE_COUNTERS")?)
            .map(|counters| Arc::new(Counters(counters)))
            .map_err(map_error("PROFILE_COUNTERS"))?;
        let cpus = attach(program(&mut ebpf)?, options.frequency).map_err(program_error)?;
        let program = ProgramReport::of(PROGRAM, program(&mut ebpf)?);
        Ok(Self {
            samples,
            counters,
            program,
            cpus,
            map_bytes,
            ebpf,
        })
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

    /// Bytes that the object's maps take in the kernel.
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
    }

    /// Bytes of them that are in this process's address space.
    pub fn mapped_bytes(&self) -> u64 {
        self.samples.mapped_bytes()
    }
}

fn open(options: &ProfileOptions) -> Result<Ebpf, Error> {
    let only_targets = u32::from(!options.targets.is_empty());
    let excluded = options.excluded.unwrap_or(0);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("ONLY_TARGETS", &only_targets, true)
        .override_global("EXCLUDED_TGID", &excluded, true)
        .override_global("ABI_VERSION", &VERSION, false)
        .map_max_entries("SAMPLES", options.ring_bytes.max(4096).next_power_of_two());
    if let Some(path) = &options.active_pin {
        loader.map_pin_path("ACTIVE", path);
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
    program.load()?;
    let cpus = online_cpus().map_err(|(_, error)| ProgramError::IOError(error))?;
    let frequency = u64::from(frequency.clamp(1, MAX_FREQUENCY));
    for &cpu in &cpus {
        program.attach(
            PerfEventConfig::Software(SoftwareEvent::CpuClock),
            PerfEventScope::AllProcessesOneCpu { cpu },
            SamplePolicy::Frequency(frequency),
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
