//! What is mapped already: one walk over `/proc/PID/maps`.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{BufRead as _, BufReader},
};

use super::Mapped;

/// At most so many files are told apart; beyond them, a file may be given twice.
const MAX_FILES: usize = 1 << 16;
/// The longest line that is read: a path can have 4 KiB, and each byte of it may be written as four.
const MAX_LINE: u64 = 20 << 10;

/// Hands each file that some process has mapped to be executed to `f`, as one of the processes has it, and as the next one has it where `f` says that this did not do (`false`: it
/// could not be opened, as when the process has just ended). Processes that end meanwhile are left out; returns how many were looked at.
pub fn sweep(mut f: impl FnMut(Mapped<'_>) -> bool) -> usize {
    let mut seen = HashSet::new();
    let mut processes = 0;
    let Ok(folder) = fs::read_dir("/proc") else {
        return processes;
    };
    for entry in folder.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(maps) = File::open(entry.path().join("maps")) else {
            continue;
        };
        processes += 1;
        let mut maps = BufReader::with_capacity(64 << 10, maps);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A process that ends while it is read reads as if its list ended.
            match std::io::Read::take(&mut maps, MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let Some(mapped) = parse(pid, &line) else {
                continue;
            };
            let file = (mapped.device, mapped.inode);
            if !seen.contains(&file) && f(mapped) && seen.len() < MAX_FILES {
                seen.insert(file);
            }
        }
    }
    processes
}

/// A line of `/proc/PID/maps` (proc_pid_maps(5)) if it is an executable mapping of a file: `7f00-7f10 r-xp 00002000 08:01 1234 /path`.
pub(super) fn parse(pid: u32, line: &[u8]) -> Option<Mapped<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let (start, end) = split(fields.next()?, b'-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let permissions = fields.next()?;
    let file_offset = hex(fields.next()?)?;
    let (major, minor) = split(fields.next()?, b':')?;
    let inode = fields.next()?;
    let inode = str::from_utf8(inode).ok()?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim_ascii_start();
    if inode == 0 || permissions.get(2) != Some(&b'x') {
        return None;
    }
    Some(Mapped {
        pid,
        tid: pid,
        address: start,
        length: end.checked_sub(start)?,
        file_offset,
        device: (
            u32::try_from(hex(major)?).ok()?,
            u32::try_from(hex(minor)?).ok()?,
        ),
        inode,
        generation: None,
        path,
    })
}

fn split(field: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, field)?;
    Some((&field[..at], &field[at + 1..]))
}

fn hex(field: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(field).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
