//! Functions that compilers made while a program ran, as these say themselves: perf maps and jitdumps.
//!
//! Both kinds of file mostly only grow while a program runs, and so are read on from where the last reading ended, as long as what was read still
//! stands there.

use std::{fs::File, os::unix::fs::FileExt as _};

use self::{codes::Codes, dump::Dump, traces::Traces};
use crate::{Error, Frame, Frames, Source};

pub(crate) mod codes;
mod dump;
mod perf_map;
mod traces;

/// What the compilers of one process have said of the functions that they made. [`Symbolizer::symbolize_process`](crate::Symbolizer::symbolize_process)
/// finds their files by itself; this reads those that come from elsewhere.
#[derive(Debug)]
pub struct JitCode {
    /// The most bytes of memory that the functions of all files may take.
    limit: usize,
    said: Vec<Said>,
    /// A dump that was not opened, as there are as many as may be.
    left_out: Option<String>,
}

/// What one file says.
#[derive(Debug)]
struct Said {
    file: File,
    name: String,
    form: Form,
    position: u64,
    /// Bytes that were read, those that were read again included.
    read: usize,
    traces: Traces,
    codes: Codes,
    unread: Option<Unread>,
}

#[derive(Debug)]
enum Form {
    PerfMap,
    Dump(Dump),
    /// It says of itself that it is a dump, and is none.
    Unknown,
}

/// Why a file may know more than was read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    /// The functions take as much memory as they may.
    Memory,
    /// It is longer than any that is read to its end.
    Length,
    /// A line in it is longer than any that names a function: it is no map, or one that was made to be read without end.
    Line,
    /// So many bytes are left for the next look.
    Next(u64),
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
/// The most bytes that are read when it is looked what was written since: a fraction of a second.
const MAX_LOOK: usize = 64 << 20;
/// The most bytes that are read of one file.
const MAX_READ: usize = 1 << 31;
/// The most dumps of a process; each is kept open. A process has one for each kind of compiler in it.
const MAX_DUMPS: usize = 4;
/// What errors call what a file says.
const MAP: &str = "the map of compiled functions";

impl JitCode {
    /// Nothing yet. The functions of all files together take at most `limit` bytes of memory.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            said: Vec::new(),
            left_out: None,
        }
    }

    /// Adds a file. Of two that know an address the one that was added first counts.
    pub fn add(&mut self, kind: JitFormat, file: File, name: String) {
        self.said.push(Said {
            file,
            name,
            form: kind.into(),
            position: 0,
            read: 0,
            traces: Traces::default(),
            codes: Codes::default(),
            unread: None,
        });
    }

    /// Whether a file of that name was added.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file(name).is_some()
    }

    /// The file that was added by a name.
    pub(crate) fn file(&self, name: &str) -> Option<&File> {
        let said = self.said.iter().find(|said| said.name == name)?;
        Some(&said.file)
    }

    /// Puts another file in the place of the one of that name, and forgets what that one said.
    pub(crate) fn replace(&mut self, name: &str, file: File) {
        if let Some(said) = self.said.iter_mut().find(|said| said.name == name) {
            said.file = file;
            said.traces = Traces::default();
            said.restart();
        }
    }

    /// Whether one more dump may be opened. Of one that may not it is said where nothing else knows an address.
    pub(crate) fn has_room_for(&mut self, dump: &str) -> bool {
        let dumps = self.said.iter();
        let dumps = dumps.filter(|said| !matches!(said.form, Form::PerfMap));
        let has_room = dumps.count() < MAX_DUMPS;
        if !has_room {
            self.left_out.get_or_insert_with(|| dump.to_owned());
        }
        has_room
    }

    /// Reads what was written since, or 64 MiB of it: the next time goes on from there.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn read_on(&mut self) -> Result<(), Error> {
        let mut bytes = self.bytes();
        let mut look = MAX_LOOK;
        for said in &mut self.said {
            let others = bytes - said.bytes();
            let read = said.read_on(self.limit.saturating_sub(others), &mut look);
            bytes = others + said.bytes();
            read?;
        }
        Ok(())
    }

    /// What is at an address.
    ///
    /// # Errors
    /// When nothing is known of it, and a file may hold more than was read.
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
        if let Some(error) = self.said.iter().find_map(|said| self.error(said)) {
            return Err(error);
        }
        match &self.left_out {
            Some(dump) => Err(Error::TooManyFiles {
                file: dump.clone(),
                limit: MAX_DUMPS,
            }),
            None => Ok(Frames::default()),
        }
    }

    /// What says that a file may know more.
    fn error(&self, said: &Said) -> Option<Error> {
        let too_large = |what, size, limit| Error::TooLarge {
            file: said.name.clone(),
            what,
            size,
            limit,
        };
        Some(match said.unread? {
            Unread::Memory => too_large(MAP, self.bytes() as u64, self.limit),
            Unread::Length => too_large("what was read of it", said.read as u64, MAX_READ),
            Unread::Next(left) => too_large("what is still to be read", left, MAX_LOOK),
            Unread::Line => {
                let why = format!("a line has more than {AT_ONCE} bytes, and no more is read");
                Error::malformed(&said.name, MAP, why)
            }
        })
    }

    /// Bytes of memory, those of lines included whose functions are still to come.
    pub fn bytes(&self) -> usize {
        self.said.iter().map(Said::bytes).sum()
    }

    /// Forgets what was read; the next reading begins at the start.
    pub(crate) fn forget(&mut self) {
        for said in &mut self.said {
            said.restart();
        }
    }
}

impl Said {
    /// Reads on until it takes more than `limit` bytes of memory, or as many bytes were read as are left of this look.
    fn read_on(&mut self, limit: usize, look: &mut usize) -> Result<(), Error> {
        let metadata = self
            .file
            .metadata()
            .map_err(Error::read(&self.name, "its size"))?;
        let length = metadata.len();
        let is_as_it_was = self
            .traces
            .hold(&self.file, &metadata, self.position)
            .map_err(Error::read(&self.name, "the file"))?;
        if !is_as_it_was {
            self.restart();
        }
        if let Some(Unread::Next(_)) = self.unread {
            self.unread = None;
        }
        let mut buffer = Vec::new();
        while self.position < length && self.unread.is_none() && !matches!(self.form, Form::Unknown)
        {
            let left = length - self.position;
            if self.read >= MAX_READ {
                self.unread = Some(Unread::Length);
                break;
            }
            if *look == 0 {
                self.unread = Some(Unread::Next(left));
                break;
            }
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            buffer.resize(left.min(AT_ONCE), 0);
            let read = self
                .file
                .read_at(&mut buffer, self.position)
                .map_err(Error::read(&self.name, "the file"))?;
            self.read += read;
            *look = look.saturating_sub(read);
            let taken = self.take(&buffer[..read], limit);
            self.traces.note(&buffer[..read], taken);
            self.position += taken as u64;
            if self.bytes() > limit {
                self.unread = Some(Unread::Memory);
            } else if taken == 0 {
                if read == AT_ONCE {
                    self.unread = Some(Unread::Line);
                }
                // Or the rest of it is still to come.
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], limit: usize) -> usize {
        match &mut self.form {
            Form::PerfMap => perf_map::take(bytes, &mut self.codes, limit),
            Form::Dump(dump) => {
                let taken = dump.take(bytes, &mut self.codes, limit);
                taken.unwrap_or_else(|_| {
                    self.form = Form::Unknown;
                    bytes.len()
                })
            }
            Form::Unknown => bytes.len(),
        }
    }

    fn bytes(&self) -> usize {
        let waiting = match &self.form {
            Form::Dump(dump) => dump.bytes(),
            Form::PerfMap | Form::Unknown => 0,
        };
        self.codes.bytes() + waiting
    }

    fn restart(&mut self) {
        let kind = match self.form {
            Form::PerfMap => JitFormat::PerfMap,
            Form::Dump(_) | Form::Unknown => JitFormat::Dump,
        };
        self.form = kind.into();
        self.position = 0;
        self.read = 0;
        self.traces.clear();
        self.codes = Codes::default();
        self.unread = None;
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
