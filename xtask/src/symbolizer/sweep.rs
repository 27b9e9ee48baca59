//! `cargo xtask symbolizer sweep`: `fathom symbolize` on every ELF file of this machine, each in a process of its own.
//!
//! Here nothing tells whether answers are right; what is looked for is a panic, an error, an answer that is missing, and time or memory
//! without bound.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use wait4::Wait4 as _;

use super::{
    addresses::{self, Random},
    answer,
    tool::Tool,
};
use crate::{build, elf_files::Selection, shell};

/// What to look at.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    selection: Selection,
    /// How many random addresses of each
    #[arg(long, default_value_t = 200)]
    addresses: usize,
    /// The fathom to ask; one is built when none is given
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// No file may take longer.
const TIME: Duration = Duration::from_secs(60);
/// No process may take more memory than this, however large its file.
const MEMORY: u64 = 1 << 30;

/// What came of one file.
struct Outcome {
    file: PathBuf,
    size: u64,
    named: usize,
    lined: usize,
    cpu: Duration,
    /// No less than what this process itself has had: so wait(2) tells it.
    peak: u64,
}

/// Asks, prints what came out, and fails where a file brought an error.
pub fn run(options: &Options) -> Result<()> {
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize()?,
        None => build::release()?,
    };
    let fathom = Tool::fathom(binary);
    let files = options.selection.find()?;
    let folder = shell::target().join("symbolizer/sweep");
    fs::create_dir_all(&folder)?;
    let (mut outcomes, mut errors, mut without_code) = (Vec::new(), Vec::new(), 0);
    for file in files {
        // Objects that hold no code, and kinds of files that are not linked.
        let Ok(code) = addresses::executable(&file) else {
            without_code += 1;
            continue;
        };
        let mut random = Random::of(&file.to_string_lossy(), 0);
        let addresses = addresses::pick(&code, &mut random, options.addresses);
        match ask(&fathom, &file, &addresses, &folder) {
            Ok(outcome) => outcomes.push(outcome),
            Err(_) if !file.is_file() => {}
            Err(error) => {
                println!("{}: {error:#}", file.display());
                errors.push(file);
            }
        }
    }
    print(&outcomes, without_code, options.addresses);
    ensure!(
        !outcomes.is_empty(),
        "no ELF file with code below {}",
        options.selection.root.display()
    );
    ensure!(errors.is_empty(), "{} files brought errors", errors.len());
    Ok(())
}

fn ask(fathom: &Tool, file: &Path, addresses: &[u64], folder: &Path) -> Result<Outcome> {
    let mut lines = String::new();
    for address in addresses {
        // Writing to a string can't fail.
        let _ = writeln!(lines, "0x{address:x}");
    }
    let [input, output, said] = ["addresses", "answers", "errors"].map(|name| folder.join(name));
    fs::write(&input, lines)?;
    let mut child = fathom
        .command(file)
        .stdin(File::open(&input)?)
        .stdout(File::create(&output)?)
        .stderr(File::create(&said)?)
        .spawn()
        .context("cannot start fathom")?;
    let start = Instant::now();
    let used = loop {
        if let Some(used) = child.try_wait4()? {
            break used;
        }
        if start.elapsed() > TIME {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("no end after {} s", TIME.as_secs());
        }
        thread::sleep(Duration::from_millis(1));
    };
    let said = fs::read_to_string(&said)?;
    ensure!(
        used.status.success() && said.is_empty(),
        "{}: {}",
        used.status,
        said.trim()
    );
    ensure!(
        used.rusage.maxrss <= MEMORY,
        "{} MiB of memory",
        used.rusage.maxrss >> 20
    );
    let answers = answer::parse(&String::from_utf8_lossy(&fs::read(&output)?))?;
    ensure!(
        answers.len() == addresses.len(),
        "{} answers for {} addresses",
        answers.len(),
        addresses.len()
    );
    let count = |is: fn(&answer::Frame) -> bool| {
        answers
            .iter()
            .filter(|answer| answer.first().is_some_and(is))
            .count()
    };
    Ok(Outcome {
        file: file.to_path_buf(),
        size: fs::metadata(file)?.len(),
        named: count(|frame| frame.function.is_some()),
        lined: count(|frame| frame.line > 0),
        cpu: used.rusage.utime + used.rusage.stime,
        peak: used.rusage.maxrss,
    })
}

fn print(outcomes: &[Outcome], without_code: usize, addresses: usize) {
    let named = outcomes.iter().filter(|outcome| outcome.named > 0).count();
    let lined = outcomes.iter().filter(|outcome| outcome.lined > 0).count();
    let seconds: f64 = outcomes
        .iter()
        .map(|outcome| outcome.cpu.as_secs_f64())
        .sum();
    println!(
        "{} files with code ({without_code} without), {addresses} addresses of each: {named} name functions, {lined} know lines; {seconds:.1} s on a core",
        outcomes.len()
    );
    let most = |what: &str, by: fn(&Outcome) -> u128| {
        let mut sorted: Vec<&Outcome> = outcomes.iter().collect();
        sorted.sort_by_key(|outcome| std::cmp::Reverse(by(outcome)));
        println!("most {what}:");
        for outcome in sorted.into_iter().take(5) {
            println!(
                "  {} ({} MB): {:.0} ms, {} MiB",
                outcome.file.display(),
                outcome.size / 1_000_000,
                outcome.cpu.as_secs_f64() * 1e3,
                outcome.peak >> 20
            );
        }
    };
    most("time", |outcome| outcome.cpu.as_nanos());
    most("memory", |outcome| outcome.peak.into());
}
