//! Symbolizers of the same kind behind one interface, so that each does the same work.
//!
//!     peers LIBRARY FILE                     # addresses from standard input, answers in llvm-symbolizer's default form
//!     peers LIBRARY FILE linkage             # the same with names as the linker sees them
//!     peers LIBRARY FILE names               # functions from symbol tables alone
//!     peers LIBRARY FILE measure GEAR ADDRESSES   # the library's own calls, timed in the process: a line of JSON
//!
//! The work is an address's frames, inlined ones too, each with its demangled name, file, line and column.

#![forbid(unsafe_code)]

mod addr2line;
mod blazesym;
mod fathom;
mod measure;
mod print;

use std::{env, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};

/// A frame as a library gives it.
pub struct Frame<'a> {
    pub function: &'a str,
    pub file: &'a str,
    pub line: u32,
    pub column: u32,
}

/// Who takes the frames of each address, the innermost first.
pub trait Sink {
    fn frame(&mut self, frame: &Frame<'_>);
    /// The address has no more frames.
    fn end(&mut self);
}

/// A library with one file open.
pub trait Library {
    /// Answers many addresses in the way that suits the library best.
    fn answer(&mut self, addresses: &[u64], sink: &mut dyn Sink) -> Result<()>;
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gear {
    /// Functions from symbol tables.
    Names,
    /// Functions, inlined ones too, and lines from debug information.
    Lines,
    /// That, and names are not demangled.
    Linkage,
}

fn open(library: &str, file: &Path, gear: Gear) -> Result<Box<dyn Library>> {
    Ok(match library {
        "addr2line" => Box::new(addr2line::open(file, gear)?),
        "fathom" => Box::new(fathom::open(file, gear)?),
        "blazesym" => Box::new(blazesym::open(file, gear)),
        other => bail!("no library {other}: addr2line, blazesym or fathom"),
    })
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        [library, file] => print::answers(&mut *open(library, Path::new(file), Gear::Lines)?),
        [library, file, gear] => {
            print::answers(&mut *open(library, Path::new(file), parse_gear(gear)?)?)
        }
        [library, file, "measure", gear, addresses] => {
            let gear = parse_gear(gear)?;
            let line = measure::run(
                || open(library, Path::new(file), gear),
                Path::new(addresses),
            )
            .with_context(|| format!("{library} on {file}"))?;
            println!("{line}");
            Ok(())
        }
        _ => bail!(
            "usage: peers LIBRARY FILE [GEAR | measure GEAR ADDRESSES], GEAR: lines, linkage or names"
        ),
    }
}

fn parse_gear(word: &str) -> Result<Gear> {
    Ok(match word {
        "lines" => Gear::Lines,
        "linkage" => Gear::Linkage,
        "names" => Gear::Names,
        other => bail!("{other}: a gear is lines, linkage or names"),
    })
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
