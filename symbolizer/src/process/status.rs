//! Which process a number stands for, and which number it has for itself.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statx},
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

/// Which process a number stood for, and which program that ran: execve(2) changes the program alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// In clock ticks since boot: with its number it names the process, as numbers are used again.
    pub(crate) started: u64,
    /// None of a process that has ended and was not waited for, and of one that is just becoming another program.
    program: Option<Program>,
    /// None where it is out of reach, too.
    file: Option<ProgramFile>,
}

/// Where a program's code lies, and where its stack begins, which is another address each time (proc_pid_stat(5), fields 26 to 28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Program {
    code: (u64, u64),
    stack: u64,
}

/// Device and inode of `/proc/PID/exe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProgramFile {
    device: (u32, u32),
    inode: u64,
}

impl Identity {
    /// Of the process that has the number now; none when there is no such process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Some(Self {
            file: ProgramFile::of(pid),
            ..Self::parse(&stat)?
        })
    }

    /// From the text of `/proc/PID/stat`, without the file.
    fn parse(stat: &[u8]) -> Option<Self> {
        // The name in parentheses may hold anything, parentheses too.
        let behind = memchr::memrchr(b')', stat)?;
        let fields = std::str::from_utf8(&stat[behind + 1..]).ok()?;
        let mut fields = fields.split_ascii_whitespace().skip(19);
        let started = fields.next()?.parse().ok()?;
        let mut fields = fields.skip(3).map_while(|field| field.parse().ok());
        let program = match (fields.next(), fields.next(), fields.next()) {
            (Some(start), Some(end), Some(stack)) if start != 0 => Some(Program {
                code: (start, end),
                stack,
            }),
            _ => None,
        };
        Some(Self {
            started,
            program,
            file: None,
        })
    }

    /// Whether the number still stands, as `now` says, for the process that had this identity, with the same program. That of one that has
    /// ended can't be told, and is what it was.
    pub(crate) fn is_still(&self, now: &Self) -> bool {
        let is_program = now.program.is_none() || now.program == self.program;
        let is_file = now.file.is_none() || now.file == self.file;
        now.started == self.started && is_program && is_file
    }

    /// As [`Self::is_still`], and what it has mapped can be read.
    pub(crate) fn still_runs(&self, now: &Self) -> bool {
        self.is_still(now) && (now.program.is_some() || self.program.is_none())
    }

    /// Of a process of which no more is known than when it started.
    #[cfg(test)]
    pub(crate) fn of_start(started: u64) -> Self {
        Self {
            started,
            program: None,
            file: None,
        }
    }
}

impl ProgramFile {
    fn of(pid: u32) -> Option<Self> {
        // As this machine knows it: a server that does not answer is not waited for.
        let flags = AtFlags::STATX_DONT_SYNC;
        let file = statx(CWD, format!("/proc/{pid}/exe"), flags, StatxFlags::INO).ok()?;
        Some(Self {
            device: (file.stx_dev_major, file.stx_dev_minor),
            inode: file.stx_ino,
        })
    }
}

/// When the process started that has a number now; none when there is no such process.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Some(Identity::parse(&stat)?.started)
}

/// The time of day when a process started whose [`Identity::started`] is this. It is as exact as a clock tick, and as the time of day was since.
pub(crate) fn time_of_start(started: u64) -> Option<SystemTime> {
    let now = clock_gettime(ClockId::Boottime);
    let up = Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?);
    let ticks = clock_ticks_per_second();
    let started = Duration::from_nanos(started.checked_mul(1_000_000_000_u64.checked_div(ticks)?)?);
    SystemTime::now().checked_sub(up.checked_sub(started)?)
}

/// The number that a process has in its own pid namespace, by which it names its files (proc_pid_status(5), `NSpid`: from
/// the outermost namespace to its own). Kernels without pid namespaces do not say, and have only one number.
pub(crate) fn own_pid(pid: u32) -> u32 {
    let own = || {
        // The process's name may be anything: the kernel cuts it at 15 bytes, within a letter where it so happens.
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let line = status
            .split(|&byte| byte == b'\n')
            .find_map(|line| line.strip_prefix(b"NSpid:"))?;
        let numbers = std::str::from_utf8(line).ok()?;
        numbers.split_ascii_whitespace().next_back()?.parse().ok()
    };
    own().unwrap_or(pid)
}
