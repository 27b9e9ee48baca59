//! Functions that compilers made while a program ran, as these say themselves: perf maps and jitdumps.
//!
//! Both kinds of file only grow while a program runs, and so are read on from where the last reading ended.

use std::{fs::File, os::unix::fs::FileExt as _};

use self::{codes::Codes, dump::Dump};
use crate::{Error, Frame, Frames, Source};

pub(crate) mod codes;
mod dump;
mod perf_map;

/// What the compilers of one process have said of the functions that they made. [`Symbolizer::symbolize_process`](crate::Symbolizer::symbolize_process)
/// finds their files by itself; this reads those that come from elsewhere.
#[derive(Debug)]
pub struct JitCode {
    /// The most bytes of memory that the functions of one file may take.
    limit: usize,
    said: Vec<Said>,
}

/// What one file says.
#[derive(Debug)]
struct Said {
    file: File,
    name: String,
    form: Form,
    position: u64,
    codes: Codes,
    /// Some of it was left out, as it was too much.
    is_full: bool,
}

#[derive(Debug)]
enum Form {
    PerfMap,
    Dump(Dump),
    /// It says of itself that it is a dump, and is none.
    Unknown,
}

/// Which form such a file is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JitFormat {
    /// `perf-PID.map`: lines of address, size and name.
    PerfMap,
    /// `jit-PID.dump`: records with code, names and lines ("jitdump").
    Dump,
}

/// How much is read at a time.
const AT_ONCE: usize = dump::MAX_RECORD;

impl JitCode {
    /// Nothing yet. The functions of one file take at most `limit` bytes of memory.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            said: Vec::new(),
        }
    }

    /// Adds a file. Of two that know an address the one that was added first counts.
    pub fn add(&mut self, kind: JitFormat, file: File, name: String) {
        self.said.push(Said {
            file,
            name,
            form: kind.into(),
            position: 0,
            codes: Codes::default(),
            is_full: false,
        });
    }

    /// Whether a file of that name was added.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.said.iter().any(|said| said.name == name)
    }

    /// Reads what was written since.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn read_on(&mut self) -> Result<(), Error> {
        let limit = self.limit;
        self.said
            .iter_mut()
            .try_for_each(|said| said.read_on(limit))
    }

    /// What is at an address.
    ///
    /// # Errors
    /// When nothing is known of it, and a file held more than was read.
    pub fn frames(&self, address: u64) -> Result<Frames, Error> {
        for said in &self.said {
            let Some(code) = said.codes.find(address) else {
                continue;
            };
            let source = match said.form {
                Form::PerfMap => Source::PerfMap,
                Form::Dump(_) | Form::Unknown => Source::JitDump,
            };
            let mut frame = Frame::named(code.name.clone(), source);
            if let Some(line) = code.line(address) {
                frame.file = Some(line.file.clone());
                frame.line = line.line;
            }
            return Ok(Frames::one(frame));
        }
        match self.said.iter().find(|said| said.is_full) {
            None => Ok(Frames::default()),
            Some(said) => Err(Error::TooLarge {
                file: said.name.clone(),
                what: "the map of compiled functions",
                size: said.codes.bytes() as u64,
                limit: self.limit,
            }),
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.said.iter().map(|said| said.codes.bytes()).sum()
    }

    /// Forgets what was read; the next reading begins at the start.
    pub(crate) fn forget(&mut self) {
        for said in &mut self.said {
            said.restart();
        }
    }
}

impl Said {
    fn read_on(&mut self, limit: usize) -> Result<(), Error> {
        let length = self
            .file
            .metadata()
            .map_err(Error::read(&self.name, "its size"))?
            .len();
        if length < self.position {
            // It was begun anew.
            self.restart();
        }
        let mut buffer = Vec::new();
        while self.position < length && !self.is_full && !matches!(self.form, Form::Unknown) {
            let left = usize::try_from(length - self.position).unwrap_or(usize::MAX);
            buffer.resize(left.min(AT_ONCE), 0);
            let read = self
                .file
                .read_at(&mut buffer, self.position)
                .map_err(Error::read(&self.name, "the file"))?;
            let taken = self.take(&buffer[..read]);
            if taken == 0 && read < AT_ONCE {
                // The rest of it is still to come.
                break;
            }
            // A line that is longer than all that is read at once is no function's.
            self.position += if taken == 0 { read } else { taken } as u64;
            self.is_full = self.codes.bytes() > limit;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        match &mut self.form {
            Form::PerfMap => perf_map::take(bytes, &mut self.codes),
            Form::Dump(dump) => dump.take(bytes, &mut self.codes).unwrap_or_else(|_| {
                self.form = Form::Unknown;
                bytes.len()
            }),
            Form::Unknown => bytes.len(),
        }
    }

    fn restart(&mut self) {
        let kind = match self.form {
            Form::PerfMap => JitFormat::PerfMap,
            Form::Dump(_) | Form::Unknown => JitFormat::Dump,
        };
        self.form = kind.into();
        self.position = 0;
        self.codes = Codes::default();
        self.is_full = false;
    }
}

impl From<JitFormat> for Form {
    fn from(kind: JitFormat) -> Self {
        match kind {
            JitFormat::PerfMap => Self::PerfMap,
            JitFormat::Dump => Self::Dump(Dump::default()),
        }
    }
}

#[cfg(test)]
mod tests;
