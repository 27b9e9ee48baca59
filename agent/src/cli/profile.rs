//! `fathom profile`: what the CPUs run for a while, as one file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, IsTerminal as _, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use fathom_abi::counters::ProfileCounter;
use tokio::{
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    cli::{Failure, Outcome},
    export::{flamegraph, folded, pprof},
    identity::Identity,
    probes::profile::{MAX_FREQUENCY, MAX_TARGETS, Profile as Sampler, ProfileOptions, ring_bytes},
    profile::{Limits, Outcome as RecordOutcome, Profile, Profiler, Quality},
    telemetry::Clock,
};

/// How often the ring buffer is emptied.
const DRAIN: Duration = Duration::from_millis(100);

/// One command may use more than an agent that runs beside everything else.
const LIMITS: Limits = Limits {
    stacks: 256 << 20,
    symbols: 512 << 20,
    files: 900,
};

/// Flags of `fathom profile`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this process, with all its threads; can be given several times. Without it the whole node is sampled
    #[arg(short, long = "pid", value_name = "PID")]
    pub pids: Vec<u32>,
    /// For how many seconds; Ctrl-C ends it earlier and still writes the file
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10.0)]
    pub duration: f64,
    /// Samples each second and CPU, 1 to 1000
    #[arg(short = 'F', long, value_name = "HZ", default_value_t = 100)]
    pub frequency: u32,
    /// Leave fathom's own process out
    #[arg(long)]
    pub exclude_self: bool,
    /// The file; its ending is the format: .svg (flame graph), .folded (a line for each stack) or .pb.gz (pprof)
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// What a file's ending asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Svg,
    Folded,
    Pprof,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        [
            (".svg", Self::Svg),
            (".folded", Self::Folded),
            (".pb.gz", Self::Pprof),
        ]
        .into_iter()
        .find(|(ending, _)| name.ends_with(ending))
        .map(|(_, format)| format)
    }
}

/// Samples, then writes the file.
///
/// # Errors
/// Usage: an unknown ending, a frequency or a duration out of range. Otherwise: a process that is not there, a kernel that does not
/// let CPUs be sampled, a file that can't be written, or nothing that ran.
pub fn run(args: &Args) -> Outcome {
    let format = check(args).map_err(Failure::Usage)?;
    let targets = args
        .pids
        .iter()
        .map(|&pid| process_of(pid))
        .collect::<Result<Vec<_>, _>>()?;
    check_namespace()?;
    let file = Target::open(&args.output)?;
    let mut end = End::new()?;
    let mut session = Session::start(args, targets)?;
    session.run(Duration::from_secs_f64(args.duration), &mut end);
    let result = session.finish()?;
    result.print();
    if result.quality.samples == 0 {
        return Err(anyhow!(
            "no sample was taken: nothing of what was watched ran in these {:.1} s; {} was not written",
            result.seconds,
            args.output.display()
        )
        .into());
    }
    file.write(|out| write(&result, format, out))?;
    eprintln!("wrote {}", args.output.display());
    Ok(())
}

fn check(args: &Args) -> anyhow::Result<Format> {
    if !(1..=MAX_FREQUENCY).contains(&args.frequency) {
        bail!(
            "--frequency {}: not within 1 to {MAX_FREQUENCY}",
            args.frequency
        );
    }
    if !(args.duration > 0.0 && args.duration <= 86_400.0) {
        bail!(
            "--duration {}: not within 0 to 86400 seconds",
            args.duration
        );
    }
    if args.pids.len() > MAX_TARGETS {
        bail!(
            "--pid: {} processes; at most {MAX_TARGETS} can be named",
            args.pids.len()
        );
    }
    Format::of(&args.output).with_context(|| {
        format!(
            "--output {}: the ending says the format; there are .svg (flame graph), .folded (folded stacks) and .pb.gz (pprof)",
            args.output.display()
        )
    })
}

/// The process that a thread or process id names.
fn process_of(pid: u32) -> anyhow::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|error| anyhow!("--pid {pid}: there is no such process ({error})"))?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    tgid.and_then(|tgid| tgid.trim().parse().ok())
        .with_context(|| format!("--pid {pid}: /proc/{pid}/status names no process"))
}

/// The kernel's samples carry the numbers of the initial pid namespace; with others, names would be those of strangers.
fn check_namespace() -> anyhow::Result<()> {
    // `PROC_PID_INIT_INO` of linux/proc_ns.h.
    const INITIAL: &str = "pid:[4026531836]";
    match fs::read_link("/proc/self/ns/pid") {
        Ok(link) if link != Path::new(INITIAL) => bail!(
            "fathom runs in a pid namespace of its own, where the processes that it samples have other numbers; \
             start the container with the host's (hostPID: true, --pid=host)"
        ),
        Ok(_) => Ok(()),
        Err(error) => bail!("/proc/self/ns/pid: {error}; is /proc mounted?"),
    }
}

/// The file to write. It is opened before the work, so that a path that can't be written is known at once; what it
/// holds stays until the profile is there, and a new file goes away if none comes.
struct Target {
    path: PathBuf,
    file: File,
    is_new: bool,
}

impl Target {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.write(true).truncate(false);
        let opened = match options.clone().create_new(true).open(path) {
            Ok(file) => Ok((file, true)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                options.open(path).map(|file| (file, false))
            }
            Err(error) => Err(error),
        };
        let (file, is_new) =
            opened.with_context(|| format!("opening {} to write", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_new,
        })
    }

    fn write(
        mut self,
        with: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let written = self.file.set_len(0).and_then(|()| {
            let mut out = BufWriter::new(&self.file);
            with(&mut out)?;
            out.flush()
        });
        self.is_new &= written.is_err();
        written.with_context(|| format!("writing {}", self.path.display()))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.is_new {
            // Nothing can be done about a file that does not go away.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What can end it early. Made before sampling starts, so that a signal never ends it without its file.
struct End {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    fn new() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let context = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        drop(context);
        Ok(Self {
            runtime,
            interrupt,
            terminate,
        })
    }
}

struct Session {
    sampler: Sampler,
    profiler: Profiler,
    frequency: u32,
    started: Instant,
}

impl Session {
    fn start(args: &Args, targets: Vec<u32>) -> Result<Self, Failure> {
        let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let sampler = Sampler::load(&ProfileOptions {
            frequency: args.frequency,
            ring_bytes: ring_bytes(cpus, args.frequency, DRAIN),
            targets,
            excluded: args.exclude_self.then(std::process::id),
            active_pin: None,
        })?;
        let capacity = NonZeroUsize::new(4096).unwrap_or(NonZeroUsize::MIN);
        let mut identity = Identity::new("/proc", capacity);
        let identify = move |pid| identity.process(pid, Clock::monotonic_ns());
        let period_ns = 1_000_000_000 / u64::from(args.frequency);
        Ok(Self {
            sampler,
            profiler: Profiler::new(period_ns, Clock::monotonic_ns(), LIMITS, Box::new(identify)),
            frequency: args.frequency,
            started: Instant::now(),
        })
    }

    /// Drains until the time is over or a signal asks for the end.
    fn run(&mut self, duration: Duration, end: &mut End) {
        let End {
            runtime,
            interrupt,
            terminate,
        } = end;
        runtime.block_on(async {
            let time = tokio::time::sleep(duration);
            tokio::pin!(time);
            let mut drain = tokio::time::interval(DRAIN);
            loop {
                tokio::select! {
                    () = &mut time => return,
                    _ = interrupt.recv() => return,
                    _ = terminate.recv() => return,
                    _ = drain.tick() => self.drain(),
                }
                self.show_progress(duration);
            }
        });
    }

    fn drain(&mut self) {
        let profiler = &mut self.profiler;
        self.sampler
            .samples
            .drain(usize::MAX, |record| profiler.record(record));
    }

    fn show_progress(&self, duration: Duration) {
        if io::stderr().is_terminal() {
            eprint!(
                "\r{:5.1} of {:.1} s, {} samples ",
                self.started.elapsed().as_secs_f64(),
                duration.as_secs_f64(),
                self.profiler.counts().of(RecordOutcome::Delivered)
            );
        }
    }

    fn finish(mut self) -> Result<Finished, Failure> {
        let seconds = self.started.elapsed().as_secs_f64();
        self.sampler.stop()?;
        self.drain();
        if io::stderr().is_terminal() {
            eprintln!();
        }
        let profiles = self.profiler.flush(Clock::monotonic_ns());
        let mut quality = Quality::default();
        for profile in &profiles {
            quality += profile.quality;
        }
        let counts = self.profiler.counts();
        let ring_full = self
            .sampler
            .counters
            .read()
            .into_iter()
            .find(|(counter, _)| *counter == ProfileCounter::SampleRingFull);
        Ok(Finished {
            profiles,
            quality,
            seconds,
            frequency: self.frequency,
            cpus: self.sampler.cpus,
            lost: counts.all() - counts.of(RecordOutcome::Delivered)
                + ring_full.map_or(0, |(_, lost)| lost),
        })
    }
}

struct Finished {
    profiles: Vec<Profile>,
    quality: Quality,
    seconds: f64,
    frequency: u32,
    cpus: usize,
    lost: u64,
}

impl Finished {
    fn print(&self) {
        let quality = &self.quality;
        eprintln!(
            "{} samples of {} processes in {:.1} s ({} Hz on {} CPUs), {} lost",
            quality.samples,
            self.profiles.len(),
            self.seconds,
            self.frequency,
            self.cpus,
            self.lost
        );
        eprintln!(
            "{} in user code, {} in the kernel, {} without a stack, {} cut at the root",
            percent(quality.in_user, quality.samples),
            percent(quality.in_kernel, quality.samples),
            percent(quality.no_stack, quality.samples),
            percent(quality.truncated, quality.samples),
        );
        eprintln!(
            "{} of the frames have a name; {} of the stacks break off above code without frame pointers",
            percent(quality.frames - quality.unnamed, quality.frames),
            percent(quality.broken, quality.samples),
        );
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    // Shown to a tenth of a percent: what a float can't hold of a count is not seen.
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

fn write(result: &Finished, format: Format, out: impl io::Write) -> io::Result<()> {
    match format {
        Format::Svg => {
            let title = format!("CPU, {:.1} s at {} Hz", result.seconds, result.frequency);
            flamegraph::write(&result.profiles, &title, out)
        }
        Format::Folded => folded::write(&result.profiles, out),
        Format::Pprof => {
            let clock = Clock::new();
            pprof::write(&result.profiles, |ns| clock.unix_ns(ns), out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_is_the_format() {
        let format = |path: &str| Format::of(Path::new(path));
        assert_eq!(format("a/b.svg"), Some(Format::Svg));
        assert_eq!(format("b.x.folded"), Some(Format::Folded));
        assert_eq!(format("b.pb.gz"), Some(Format::Pprof));
        for unknown in ["b", "b.gz", "b.txt", "svg", "", ".."] {
            assert_eq!(format(unknown), None, "{unknown}");
        }
    }
}
