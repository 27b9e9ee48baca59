//! `fathom symbolize`: addresses on the standard input to functions, files and lines, in llvm-symbolizer's form.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use fathom_symbolizer::{DebugFiles, Error, Gear, Located, Module, Options, Symbolizer};

use super::{Failure, Outcome};
use crate::profile::debuginfod::{Debuginfod, Limits};

mod form;
mod input;

use self::{form::Form, input::Line};

/// Flags of `fathom symbolize`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("where").required(true).multiple(true).args(["exe", "pid"])))]
pub struct Args {
    /// The file whose addresses these are: its own, as its symbol table has them. With --pid it is the file of that path as the process
    /// sees it, in its container
    #[arg(short, long, value_name = "FILE", visible_alias = "obj")]
    exe: Option<PathBuf>,
    /// The process whose addresses these are, unless --exe names a file of its
    #[arg(short, long, value_name = "PID")]
    pid: Option<u32>,
    /// Functions alone, from symbol tables: no files, lines or inlined functions, in a fraction of the time and memory
    #[arg(long)]
    names: bool,
    /// Where separate debug files are; may be given more than once
    #[arg(long, value_name = "DIRECTORY", default_value = "/usr/lib/debug")]
    debug_file_directory: Vec<PathBuf>,
    /// Names as the linker has them
    #[arg(long)]
    no_demangle: bool,
    /// The function that the code lies in, without those that were inlined into it
    #[arg(long)]
    no_inlines: bool,
    /// A debuginfod server to ask for debug files that are not here; may be given several times. A server learns which programs are asked
    /// for, so that without this none is asked, whatever DEBUGINFOD_URLS says. What it sends is kept in DEBUGINFOD_CACHE_PATH, or in
    /// debuginfod_client in the user's folder of caches
    #[arg(long, value_name = "URL")]
    debuginfod: Vec<String>,
    /// Print an object for each address on a line of its own
    #[arg(long)]
    json: bool,
    /// The most memory that is kept from one address to the next, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..))]
    memory: u16,
}

/// What `--help` says of input and output.
pub const FORM: &str = "\
Each line of the standard input is an address: 0x1f40, 8000 or 017500. It may have CODE before it; what follows it is left out. A line
that is none is printed as it is.

For each address, the innermost inlined function first, two lines a function, and an empty line behind the last:
  main
  /srv/app/main.c:12:3

?? stands for what is not known, 0 for a line or column that is not. An address that a call returns to is behind the call: take one off it.";

/// Runs the command.
///
/// # Errors
/// When the file or the process can't be read.
pub fn run(args: &Args) -> Outcome {
    let mut options = Options::default();
    options.memory = usize::from(args.memory) << 20;
    options.debug_files = debug_files(&args.debuginfod)?;
    options
        .debug_directories
        .clone_from(&args.debug_file_directory);
    let symbolizer = Symbolizer::new(options);
    let session = Session {
        place: Place::of(args, &symbolizer)?,
        symbolizer: &symbolizer,
        gear: if args.names { Gear::Names } else { Gear::Lines },
        form: Form {
            json: args.json,
            demangle: !args.no_demangle,
            inlines: !args.no_inlines,
        },
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match session.run(
        BufReader::with_capacity(INPUT, io::stdin().lock()),
        &mut out,
    ) {
        // Whoever reads has read enough.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Output(error)) => Err(Failure::Cannot(anyhow!("writing the answers: {error}"))),
        Err(Stop::Input(error)) => Err(Failure::Cannot(anyhow!("reading addresses: {error}"))),
        Ok(errors) if errors.is_empty() => Ok(()),
        Ok(errors) => {
            let errors: Vec<_> = errors.into_iter().collect();
            Err(Failure::Cannot(anyhow!(
                "not all is known of these addresses: {}",
                errors.join("; ")
            )))
        }
    }
}

/// The servers that are to be asked, if any.
fn debug_files(servers: &[String]) -> Result<Option<Arc<dyn DebugFiles>>, Failure> {
    if servers.is_empty() {
        return Ok(None);
    }
    let folder = Debuginfod::default_folder().ok_or_else(|| {
        Failure::Usage(anyhow!(
            "--debuginfod: no folder to keep files in: set DEBUGINFOD_CACHE_PATH"
        ))
    })?;
    let asked = Debuginfod::new(servers, folder, Limits::default());
    let asked = asked.map_err(|error| Failure::Usage(error.context("--debuginfod")))?;
    Ok(Some(Arc::new(asked)))
}

/// Where addresses are.
enum Place {
    File(Module),
    Process(u32),
}

impl Place {
    fn of(args: &Args, symbolizer: &Symbolizer) -> Result<Self, Failure> {
        Ok(match (&args.exe, args.pid) {
            (Some(exe), None) => Self::File(symbolizer.open(exe)?),
            (Some(exe), Some(pid)) => Self::File(symbolizer.open_in_process(pid, exe)?),
            (None, Some(pid)) => {
                symbolizer
                    .capture(pid)
                    .with_context(|| format!("--pid {pid}"))?;
                Self::Process(pid)
            }
            (None, None) => {
                return Err(Failure::Usage(anyhow!("one of --exe and --pid is needed")));
            }
        })
    }
}

/// Why no more addresses are answered.
enum Stop {
    Input(io::Error),
    Output(io::Error),
}

/// The most addresses that are looked up together, where as many are there to be read.
const AT_ONCE: usize = 1 << 14;
/// How much input is taken at once: about as many addresses.
const INPUT: usize = 20 * AT_ONCE;

struct Session<'a> {
    place: Place,
    symbolizer: &'a Symbolizer,
    gear: Gear,
    form: Form,
}

impl Session<'_> {
    /// Answers all lines, and returns what went wrong, each once.
    fn run<R: io::Read>(
        &self,
        mut lines: BufReader<R>,
        out: &mut impl Write,
    ) -> Result<BTreeSet<String>, Stop> {
        let mut errors = BTreeSet::new();
        let mut line = Vec::new();
        let mut addresses = Vec::new();
        loop {
            // Whoever waits for an answer before asking on has it now.
            let is_waiting = lines.buffer().is_empty();
            if is_waiting || addresses.len() == AT_ONCE {
                self.answer(&mut addresses, out, &mut errors)?;
            }
            if is_waiting {
                out.flush().map_err(Stop::Output)?;
            }
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(Stop::Input)? == 0 {
                break;
            }
            match input::parse(&line) {
                Line::Address(address) => addresses.push(address),
                Line::Other => {
                    self.answer(&mut addresses, out, &mut errors)?;
                    out.write_all(&line).map_err(Stop::Output)?;
                }
            }
        }
        self.answer(&mut addresses, out, &mut errors)?;
        out.flush().map_err(Stop::Output)?;
        Ok(errors)
    }

    /// Answers the addresses that were asked for since the last time.
    fn answer(
        &self,
        addresses: &mut Vec<u64>,
        out: &mut impl Write,
        errors: &mut BTreeSet<String>,
    ) -> Result<(), Stop> {
        for (&address, located) in addresses.iter().zip(&self.locate(addresses)) {
            errors.extend(located.error.as_ref().map(Error::to_string));
            self.form
                .write(out, address, located)
                .map_err(Stop::Output)?;
        }
        addresses.clear();
        Ok(())
    }

    fn locate(&self, addresses: &[u64]) -> Vec<Located> {
        let located = match &self.place {
            Place::File(module) => Ok(self.symbolizer.locate_all(module, self.gear, addresses)),
            Place::Process(pid) => self
                .symbolizer
                .symbolize_process(*pid, self.gear, addresses),
        };
        located.unwrap_or_else(|error| {
            let mut located = Located::default();
            located.error = Some(error);
            vec![located; addresses.len()]
        })
    }
}

#[cfg(test)]
mod tests;
