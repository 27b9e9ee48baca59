//! `jit-PID.dump`: records of functions that were compiled, moved, and which lines they are of
//! (Linux, tools/perf/Documentation/jitdump-specification.txt, version 2).

use std::{collections::HashMap, sync::Arc};

use super::codes::{Code, Codes, Line, Lines};
use crate::{Name, SourceFile};

/// Reads a dump as it grows.
#[derive(Debug, Default)]
pub(super) struct Dump {
    /// None before the header was read.
    swapped: Option<bool>,
    /// Lines of functions that are still to come, by their address.
    lines: HashMap<u64, Arc<Lines>>,
    /// Bytes of memory that these take.
    bytes: usize,
}

/// It is no dump: its header is another's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotADump;

const MAGIC: u32 = 0x4a69_5444;
const LOAD: u32 = 0;
const MOVE: u32 = 1;
const DEBUG_INFO: u32 = 2;
const MAX_NAME: usize = 4096;
/// The longest record: it holds one function's code.
pub(super) const MAX_RECORD: usize = 1 << 20;
/// Functions whose lines came before them: a compiler writes the two at once, so that one is enough.
const MAX_WAITING: usize = 64;

impl Dump {
    /// Takes in whole records until the functions, with lines that wait for theirs, have more than `limit` bytes, and returns how many bytes
    /// the records had, those of the header included. A record that contradicts itself, or is longer than [`MAX_RECORD`], is left out.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        codes: &mut Codes,
        limit: usize,
    ) -> Result<usize, NotADump> {
        let mut at = 0;
        let swapped = match self.swapped {
            Some(swapped) => swapped,
            None => {
                let Some(header) = bytes.get(..40) else {
                    return Ok(0);
                };
                let magic = number(header, 0, false).unwrap_or(0);
                if magic != MAGIC && magic != MAGIC.swap_bytes() {
                    return Err(NotADump);
                }
                let swapped = magic != MAGIC;
                let size = number(header, 8, swapped).unwrap_or(0) as usize;
                if !(40..=MAX_RECORD).contains(&size) {
                    return Err(NotADump);
                }
                if size > bytes.len() {
                    return Ok(0);
                }
                self.swapped = Some(swapped);
                at = size;
                swapped
            }
        };
        while self.bytes + codes.bytes() <= limit
            && let Some(size) = number(bytes, at + 4, swapped)
        {
            let size = size as usize;
            if size < 16 {
                return Err(NotADump);
            }
            let Some(record) = bytes.get(at..at + size) else {
                if size > MAX_RECORD {
                    at += size;
                }
                break;
            };
            let body = Body {
                bytes: &record[16..],
                swapped,
            };
            let _ = match number(record, 0, swapped) {
                Some(LOAD) => self.load(&body, codes),
                Some(MOVE) => relocate(&body, codes),
                Some(DEBUG_INFO) => self.debug_info(&body),
                _ => None,
            };
            at += size;
        }
        Ok(at)
    }

    /// Bytes of memory that lines of functions take that are still to come.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn load(&mut self, body: &Body<'_>, codes: &mut Codes) -> Option<()> {
        let (address, code_address, size) = (body.u64(8)?, body.u64(16)?, body.u64(24)?);
        let name = body.text(40)?;
        let lines = self.lines.remove(&code_address);
        self.bytes -= lines.as_ref().map_or(0, |lines| lines.bytes());
        let code = Code {
            end: address.checked_add(size)?,
            name: Name::new(String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)])),
            lines,
            moved: 0,
        };
        codes.insert(address, code);
        Some(())
    }

    fn debug_info(&mut self, body: &Body<'_>) -> Option<()> {
        let (code, count) = (body.u64(0)?, body.u64(8)?);
        let mut lines: Vec<Line> = Vec::new();
        let mut at = 16;
        for _ in 0..count {
            let (address, line) = (body.u64(at)?, body.u32(at + 8)?);
            let name = body.text(at + 16)?;
            at += 16 + name.len() + 1;
            let file = match (name, lines.last()) {
                // The same as before (tools/perf/util/jitdump.h, `debug_entry_file_name`).
                (b"\xff", Some(last)) => last.file.clone(),
                (name, Some(last)) if last.file.as_bytes() == name => last.file.clone(),
                (name, _) => {
                    SourceFile::new(String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]))
                }
            };
            lines.push(Line {
                address,
                file,
                line,
            });
        }
        if self.lines.len() >= MAX_WAITING {
            self.lines.clear();
            self.bytes = 0;
        }
        let lines = Arc::new(Lines::new(lines));
        self.bytes += lines.bytes();
        let before = self.lines.insert(code, lines);
        self.bytes -= before.map_or(0, |lines| lines.bytes());
        Some(())
    }
}

fn relocate(body: &Body<'_>, codes: &mut Codes) -> Option<()> {
    let (to, from, size) = (body.u64(8)?, body.u64(16)?, body.u64(32)?);
    let end = to.checked_add(size)?;
    let code = codes.remove(from)?;
    let moved = code.moved.wrapping_add(to).wrapping_sub(from);
    codes.insert(to, Code { end, moved, ..code });
    Some(())
}

/// A record behind its header.
struct Body<'a> {
    bytes: &'a [u8],
    swapped: bool,
}

impl<'a> Body<'a> {
    fn u32(&self, at: usize) -> Option<u32> {
        number(self.bytes, at, self.swapped)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(8)?)?;
        let number = u64::from_ne_bytes(bytes.try_into().ok()?);
        Some(if self.swapped {
            number.swap_bytes()
        } else {
            number
        })
    }

    /// What stands before the next zero byte.
    fn text(&self, at: usize) -> Option<&'a [u8]> {
        let from = self.bytes.get(at..)?;
        Some(&from[..memchr::memchr(0, from)?])
    }
}

fn number(bytes: &[u8], at: usize, swapped: bool) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    let number = u32::from_ne_bytes(bytes.try_into().ok()?);
    Some(if swapped { number.swap_bytes() } else { number })
}
