//! `fathom profile`: what the CPUs run for a while, as a file.

mod busy;
mod choice;
mod command;
pub mod diff;
mod live;
mod output;
mod requests;
mod say;
mod selection;
mod session;
mod signals;
mod summary;
mod top;
mod unfinished;

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};

pub use self::output::Format;
use self::{
    choice::Choice,
    command::{Command, Streams},
    live::LiveTop,
    output::{Form, Target, is_stdout, write},
    requests::{Requests, Wanted},
    say::say,
    selection::{Family, Selection},
    session::{Course, End, Expected, Finished, Session},
    unfinished::Unfinished,
};
use crate::{
    cli::{Failure, Outcome},
    export::folded::Inlined,
    probes::{namespace, profile::MAX_FREQUENCY},
};

/// Flags of `fathom profile`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    subcommand: Option<Subcommand>,
    /// Whose samples.
    #[command(flatten)]
    pub selection: selection::Args,
    /// For which requests.
    #[command(flatten)]
    pub requests: requests::Args,
    /// For how many seconds; without it until Ctrl-C, or until the command ends. Ctrl-C ends it earlier and still writes the file
    #[arg(short, long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// Samples each second and CPU, 1 to 1000
    #[arg(short = 'F', long, value_name = "HZ", default_value_t = 100)]
    pub frequency: u32,
    /// Leave fathom's own process out
    #[arg(long)]
    pub exclude_self: bool,
    /// Leave inlined functions, files and lines out: only names, from symbol tables. Takes less time and memory
    #[arg(long)]
    pub no_inlines: bool,
    /// The file; its ending is the format: .html or .svg (flame graph), .folded or .folded.gz (a line for each stack), .pb.gz (pprof), .json or .json.gz
    /// (profiler.firefox.com). `-` is standard output. Can be given several times: all have the same samples. Without it
    /// the hottest functions are shown
    #[arg(short, long, value_name = "FILE")]
    pub output: Vec<PathBuf>,
    /// Show the hottest functions of the last five seconds, again each second
    #[arg(long, conflicts_with_all = ["output", "routes", "slower_than"])]
    pub top: bool,
    /// Show the hottest functions as JSON objects, one a line
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
    /// The format of all files, whatever their endings are
    #[arg(long, value_enum, requires = "output")]
    pub format: Option<Format>,
    /// In .folded, mark inlined functions with `_[i]`, as flamegraph.pl's Java colours know them
    #[arg(long, requires = "output")]
    pub mark_inlined: bool,
    /// Only the user's frames, with what the kernel does for them counted there
    #[arg(long, conflicts_with = "kernel")]
    pub user: bool,
    /// Only the kernel's frames
    #[arg(long)]
    pub kernel: bool,
    /// Run this command, and sample only it and what comes from it. What it prints goes to standard error where standard output has the profile
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["pids", "all"])]
    pub command: Vec<OsString>,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Say what changed between two profiles: a table of functions, and a flame graph in red and blue
    Diff(diff::Args),
}

/// Samples, then writes the file; or compares two.
///
/// # Errors
/// Usage: an unknown ending, a frequency or a duration out of range. Otherwise: a process that is not there, a kernel that does not
/// let CPUs be sampled, a file that can't be written, or nothing that ran.
pub fn run(args: &Args) -> Outcome {
    if let Some(Subcommand::Diff(args)) = &args.subcommand {
        return diff::run(args);
    }
    let forms = check(args).map_err(Failure::Usage)?;
    let wanted = Wanted::of(&args.requests).map_err(Failure::Usage)?;
    let selection = Selection::new(&args.selection, Path::new("/proc"))?;
    check_namespace()?;
    let files = args
        .output
        .iter()
        .map(|path| Target::open(path))
        .collect::<Result<Vec<_>, _>>()?;
    // At once: a signal leaves no empty file. Not before: opening a pipe may wait for its reader for as long as somebody likes.
    let mut end = End::new(args.duration.map(Duration::from_secs_f64))?;
    let of_requests = wanted.is_some();
    let requests = wanted.map(watch).transpose()?;
    let mut choice = Choice::new(args, selection, requests);
    let mut session = Session::start(args, &choice)?;
    let expected = Expected::of(&mut choice, !args.command.is_empty());
    let goes_on = session.prepare(&expected, &mut end, &mut choice)?;
    let mut course = Course {
        choice,
        // Samples are taken by now: none of the command's is missed.
        command: Command::start(&args.command, streams(args, &files))?,
        live: args
            .top
            .then(|| LiveTop::start(args.json, session.namer()))
            .transpose()?,
    };
    if let Some(command) = &course.command {
        let family = Family::of(command.pid(), std::process::id());
        course.choice.selection.of_family(family);
    }
    let named = course.choice.selection.targets().len();
    if named > 0 {
        // Their tables may have taken a while: whoever starts a load by hand waits for this.
        let plural = if named == 1 { "" } else { "es" };
        say!("sampling {named} process{plural}");
    }
    if goes_on {
        session.run(&mut end, &mut course);
    }
    let unfinished = Unfinished::of(&files);
    unfinished.clone().end_with(end);
    let result = session.finish(&mut course)?;
    if let Some(command) = course.command {
        say!("{}", command.end());
    }
    result.print();
    if result.quality.samples == 0 {
        let names: Vec<_> = files.iter().map(Target::name).collect();
        let unwritten = if names.is_empty() {
            String::new()
        } else {
            format!("; {} was not written", names.join(", "))
        };
        let why = match result.served.others() {
            0 if let Some(frameless) = result.frameless() => frameless,
            _ if !of_requests => "nothing of what was watched ran".to_owned(),
            0 => "nothing ran for any request (`fathom requests` shows those that are seen)"
                .to_owned(),
            others => format!(
                "none of the {others} requests that were sampled is one of those that are wanted (`fathom requests` shows them)"
            ),
        };
        return Err(anyhow!(
            "no sample was taken: {why} in these {:.1} s{unwritten}",
            result.seconds,
        )
        .into());
    }
    if files.is_empty() && !args.top {
        return live::print(&result.profiles, args.json);
    }
    write_all(files.into_iter().zip(forms), &result, &unfinished)
}

/// Writes all files that can be written, and fails with what is wrong with the first other one.
fn write_all(
    files: impl Iterator<Item = (Target, Form)>,
    result: &Finished,
    unfinished: &Unfinished,
) -> Outcome {
    let mut failed = Ok(());
    for (file, form) in files {
        let name = file.name();
        match file.write(|out| write(result, form, out)) {
            Ok(()) => {
                unfinished.finished(&name);
                say!("wrote {name}");
            }
            Err(error) if failed.is_ok() => failed = Err(error.into()),
            Err(error) => say!("fathom: {error:#}"),
        }
    }
    failed
}

/// Where a command's words go, so that they don't stand within the profile.
fn streams(args: &Args, files: &[Target]) -> Streams {
    if args.top && !args.json && io::stdout().is_terminal() {
        Streams::Nowhere
    } else if files.is_empty() || files.iter().any(Target::is_stdout) {
        Streams::OffStdout
    } else {
        Streams::Own
    }
}

/// Watches requests, for samples to be joined with.
fn watch(wanted: Wanted) -> Result<Requests, Failure> {
    namespace::enter()
        .context("--route and --slower-than need a mount namespace of fathom's own")?;
    Requests::start(wanted)
}

fn check(args: &Args) -> anyhow::Result<Vec<Form>> {
    if !(1..=MAX_FREQUENCY).contains(&args.frequency) {
        bail!(
            "--frequency {}: not within 1 to {MAX_FREQUENCY}",
            args.frequency
        );
    }
    if let Some(duration) = args.duration
        && !(duration > 0.0 && duration <= 86_400.0)
    {
        bail!("--duration {duration}: not within 0 to 86400 seconds");
    }
    if args.output.iter().filter(|path| is_stdout(path)).count() > 1 {
        bail!("--output -: two profiles can't go to standard output");
    }
    let inlined = if args.mark_inlined {
        Inlined::Marked
    } else {
        Inlined::Plain
    };
    let form = |path| Form::choose(args.format, inlined, path);
    let forms: Vec<Form> = args
        .output
        .iter()
        .map(|path| form(path))
        .collect::<anyhow::Result<_>>()?;
    if args.mark_inlined && !forms.iter().any(|form| form.format == Format::Folded) {
        bail!("--mark-inlined: only folded stacks have marks, and none of the files is folded");
    }
    Ok(forms)
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
