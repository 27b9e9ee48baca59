//! The file that a profile goes into: which format, and what happens to it when none comes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use flate2::{Compression, write::GzEncoder};

use super::session::Finished;
use crate::{
    export::{
        calltree::CallTree,
        firefox,
        flamegraph::{
            self,
            html::{self, About},
        },
        folded::{self, Inlined},
        pprof,
    },
    telemetry::Clock,
};

/// The format of a profile's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A flame graph as one page, for browsers
    Html,
    /// A flame graph as a picture
    Svg,
    /// A line for each stack and its count, as flamegraph.pl takes them
    Folded,
    /// For `go tool pprof` and whatever reads its format
    Pprof,
    /// For profiler.firefox.com
    Firefox,
}

/// The path that stands for standard output.
const STDOUT: &str = "-";

/// Files' endings and what they ask for. The first of a format is the one that it is known by.
const ENDINGS: [(&str, Format); 7] = [
    (".html", Format::Html),
    (".svg", Format::Svg),
    (".folded", Format::Folded),
    (".folded.gz", Format::Folded),
    (".pb.gz", Format::Pprof),
    (".json", Format::Firefox),
    (".json.gz", Format::Firefox),
];

impl Format {
    /// The format that was asked for, else that of the file's ending.
    ///
    /// # Errors
    /// When the ending is none that is known, or there is none to go by.
    fn choose(asked: Option<Self>, path: &Path) -> anyhow::Result<Self> {
        if let Some(format) = asked {
            return Ok(format);
        }
        if is_stdout(path) {
            bail!(
                "--output -: say with --format what goes to standard output: {}",
                formats()
            );
        }
        Self::of(path).with_context(|| {
            format!(
                "--output {}: the ending says the format; there are {}; or say it with --format",
                path.display(),
                endings()
            )
        })
    }

    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let ending = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending))?;
        Some(ending.1)
    }

    fn about(self) -> &'static str {
        match self {
            Self::Html => "a flame graph as a page",
            Self::Svg => "a flame graph as a picture",
            Self::Folded => "a line for each stack",
            Self::Pprof => "pprof",
            Self::Firefox => "profiler.firefox.com",
        }
    }
}

/// The endings, each with what it asks for.
fn endings() -> String {
    let endings: Vec<_> = ENDINGS
        .iter()
        .map(|(ending, format)| format!("{ending} ({})", format.about()))
        .collect();
    endings.join(", ")
}

/// The words that `--format` takes.
fn formats() -> String {
    let names: Vec<_> = Format::value_variants()
        .iter()
        .filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned()))
        .collect();
    names.join(", ")
}

pub(super) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == STDOUT
}

/// How a profile is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) format: Format,
    /// Of folded stacks.
    pub(super) inlined: Inlined,
    /// Whether it is gzipped; pprof is by itself.
    pub(super) packs: bool,
}

impl Form {
    /// How a file is written by what was asked for and by its ending.
    ///
    /// # Errors
    /// When the ending is none that is known, or there is none to go by.
    pub(super) fn choose(
        asked: Option<Format>,
        inlined: Inlined,
        path: &Path,
    ) -> anyhow::Result<Self> {
        let format = Format::choose(asked, path)?;
        let is_packed = path.extension().is_some_and(|ending| ending == "gz");
        Ok(Self {
            format,
            inlined,
            packs: is_packed && format != Format::Pprof,
        })
    }
}

/// Where a profile is written to. It is opened before the work, so that a path that can't be written is known at once; what a file
/// holds stays until the profile is there, and a new one goes away if none comes.
pub(super) enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(Opened),
}

pub(super) struct Opened {
    path: PathBuf,
    file: File,
    is_new: bool,
}

impl Target {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if is_stdout(path) {
            return Ok(Self::Stdout);
        }
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
        Ok(Self::File(Opened {
            path: path.to_owned(),
            file,
            is_new,
        }))
    }

    /// Its path, for what is said of it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdout => "standard output".to_owned(),
            Self::File(opened) => opened.path.display().to_string(),
        }
    }

    pub(super) fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Its path where it was not there before, and goes away if no profile comes.
    pub(super) fn new_path(&self) -> Option<&Path> {
        match self {
            Self::File(opened) if opened.is_new => Some(&opened.path),
            _ => None,
        }
    }

    pub(super) fn write(
        self,
        with: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let name = self.name();
        let written = match self {
            Self::Stdout => write_to(io::stdout().lock(), with),
            Self::File(mut opened) => {
                let written = opened.clear().and_then(|()| write_to(&opened.file, with));
                opened.is_new &= written.is_err();
                written
            }
        };
        written.with_context(|| format!("writing {name}"))
    }
}

fn write_to(
    out: impl Write,
    with: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    with(&mut out)?;
    out.flush()
}

impl Opened {
    /// Takes out what was there before; a pipe or a device has nothing.
    fn clear(&self) -> io::Result<()> {
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.is_new {
            // Nothing can be done about a file that does not go away.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes what came of a session.
///
/// # Errors
/// What `out` returns.
pub(super) fn write(result: &Finished, form: Form, out: impl Write) -> io::Result<()> {
    if !form.packs {
        return write_plain(result, form, out);
    }
    let mut gzip = GzEncoder::new(out, Compression::default());
    write_plain(result, form, &mut gzip)?;
    gzip.finish()?.flush()
}

fn write_plain(result: &Finished, form: Form, out: impl Write) -> io::Result<()> {
    let title = format!("CPU, {:.1} s at {} Hz", result.seconds, result.frequency);
    match form.format {
        Format::Html => {
            let about = About {
                title,
                subtitle: format!("{} processes", result.profiles.len()),
                period_ns: result.profiles.first().map_or(0, |first| first.period_ns),
                unit: "samples".to_owned(),
            };
            let tree = CallTree::of(&result.profiles);
            html::write(&tree, html::Kind::Profile, &about, out)
        }
        Format::Svg => flamegraph::write(&result.profiles, &title, out),
        Format::Folded => folded::write(&result.profiles, form.inlined, out),
        Format::Pprof => {
            let clock = Clock::new();
            // Spans are the agent's to send: what a request says itself is its trace.
            let served = |exchange: &_| {
                let request = result.served.requests.get(exchange);
                request.map_or_else(pprof::Served::default, |request| pprof::Served {
                    trace_id: request.trace_id,
                    span_id: None,
                    route: Some(request.route().into()),
                })
            };
            pprof::write(&result.profiles, |ns| clock.unix_ns(ns), served, out)
        }
        Format::Firefox => {
            let clock = Clock::new();
            firefox::write(&result.profiles, |ns| clock.unix_ns(ns), out)
        }
    }
}

#[cfg(test)]
mod tests;
