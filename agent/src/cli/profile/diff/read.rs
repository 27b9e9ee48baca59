//! Profiles from files, of fathom or of another program.

mod folded;
mod pprof;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use crate::export::calltree::Frame;

/// The most bytes of a profile, unpacked. What is read takes a few times as much memory.
const MAX_BYTES: u64 = 512 << 20;

/// Which format it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `profile.proto`.
    Pprof,
    /// Folded stacks.
    Folded,
}

/// The stacks of a profile.
#[derive(Clone, Debug)]
pub struct Stacks {
    /// What they were read from.
    pub content: Content,
    /// The functions.
    pub frames: Vec<Frame>,
    /// Indices into `frames`, from the root to the leaf, and the count.
    pub stacks: Vec<(Vec<u32>, u64)>,
    /// What is counted, where the file says so.
    pub unit: Option<String>,
}

/// Why a file is no profile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error("it can't be read")]
    Unreadable(#[from] io::Error),
    /// It is empty.
    #[error("it is empty; a profile is written when `fathom profile` ends")]
    Empty,
    /// It is larger than what is read.
    #[error(
        "it has more than {} MiB unpacked; take a shorter profile, or one of fewer processes",
        MAX_BYTES >> 20
    )]
    TooLarge,
    /// It is neither of the formats.
    #[error(
        "neither pprof ({pprof}) nor folded stacks ({folded}); write one with `fathom profile -o x.pb.gz` or `-o x.folded`"
    )]
    Neither {
        /// Why it is no pprof.
        pprof: pprof::Error,
        /// Why it is not folded.
        folded: folded::Error,
    },
    /// It is pprof, but not one that can be read.
    #[error("a pprof file that contradicts itself: {0}; write it anew")]
    Pprof(pprof::Error),
    /// A line is not what folded stacks have.
    #[error("{0}; each line of folded stacks is `name;name;name count`")]
    Folded(folded::Error),
}

/// Reads a file.
///
/// # Errors
/// When it can't be read or is no profile.
pub fn file(path: &Path) -> Result<Stacks, Error> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// Reads what a file holds: pprof or folded stacks, gzipped or not.
///
/// # Errors
/// When it is no profile.
pub fn parse(bytes: &[u8]) -> Result<Stacks, Error> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    if bytes.starts_with(&GZIP) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(bytes)
            .take(MAX_BYTES + 1)
            .read_to_end(&mut unpacked)?;
        return unpacked_bytes(&unpacked);
    }
    unpacked_bytes(bytes)
}

fn unpacked_bytes(bytes: &[u8]) -> Result<Stacks, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::TooLarge);
    }
    let is_text = !bytes
        .iter()
        .any(|&byte| byte < b' ' && !matches!(byte, b'\n' | b'\r' | b'\t'));
    let folded = match folded::parse(bytes) {
        Ok(stacks) => return Ok(stacks),
        Err(error) => error,
    };
    match pprof::parse(bytes) {
        Ok(stacks) => Ok(stacks),
        Err(_) if is_text => Err(Error::Folded(folded)),
        Err(pprof @ pprof::Error::NoProtobuf(_)) => Err(Error::Neither { pprof, folded }),
        Err(error) => Err(Error::Pprof(error)),
    }
}

/// Functions, each once.
#[derive(Default)]
struct Frames {
    all: Vec<Frame>,
    ids: HashMap<Frame, u32>,
}

impl Frames {
    fn id(&mut self, frame: Frame) -> u32 {
        if let Some(&id) = self.ids.get(&frame) {
            return id;
        }
        let id = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(frame.clone());
        self.ids.insert(frame, id);
        id
    }
}

#[cfg(test)]
mod tests;
