//! The thread that makes tables: a large file takes a second, in which samples are to be read.

use std::{
    io,
    sync::{
        PoisonError,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use fathom_symbolizer::{
    Error, MappingKind, Module, mappings, read_vdso,
    unwind::{Rules, Table, convert_bytes, convert_file},
};

use super::{SharedMaps, counts::Failure};
use crate::probes::profile::tables;

/// Files that may wait to be converted. Of more a sample asks again.
const QUEUE: usize = 256;

/// Makes tables, one after the other and the small ones first: a stack leads through many small files, and what waits for them would wait behind a
/// compiler's libraries for seconds.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    /// How many were asked for and did not come yet.
    under_way: usize,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    number: u32,
    module: Module,
    /// Bytes of the file.
    size: u64,
}

/// A table that was asked for.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) number: u32,
    pub(super) made: Made,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Made {
    /// It is in the maps, with so many rows.
    Here(u64),
    /// There was no room for it.
    NoRoom(Table),
    /// It can't be had.
    Failed(Failure),
}

impl Worker {
    pub(super) fn start(maps: SharedMaps, section_limit: usize) -> io::Result<Self> {
        let (jobs, requests) = channel();
        let (sender, done) = channel();
        let run = move || {
            let mut rules = Rules::new();
            let mut queue = Vec::new();
            while let Some(job) = next(&requests, &mut queue) {
                let made = make(&job, section_limit, &mut rules, &maps);
                let number = job.number;
                if sender.send(Done { number, made }).is_err() {
                    return;
                }
            }
        };
        let thread = Builder::new().name("fathom-tables".to_owned()).spawn(run)?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            under_way: 0,
            thread: Some(thread),
        })
    }

    /// Asks for a table; `false` if too many are waited for.
    pub(super) fn request(&mut self, number: u32, module: &Module) -> bool {
        if self.under_way >= QUEUE {
            return false;
        }
        let metadata = module.file().and_then(|file| file.metadata().ok());
        let job = Job {
            number,
            module: module.clone(),
            size: metadata.map_or(0, |metadata| metadata.len()),
        };
        let jobs = self.jobs.as_ref();
        let is_queued = jobs.is_some_and(|jobs| jobs.send(job).is_ok());
        self.under_way += usize::from(is_queued);
        is_queued
    }

    /// Whether any that was asked for did not come yet.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way > 0
    }

    /// The next one that came.
    pub(super) fn poll(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.under_way = self.under_way.saturating_sub(1);
        Some(done)
    }

    /// The next one, if one comes within a while.
    pub(super) fn wait(&mut self, timeout: Duration) -> Option<Done> {
        if self.under_way == 0 {
            return None;
        }
        let done = self.done.recv_timeout(timeout).ok()?;
        self.under_way -= 1;
        Some(done)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without anybody who asks, the thread ends behind what it is at.
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The smallest file that is asked for; waits for one. None when nobody asks any more.
fn next(requests: &Receiver<Job>, queue: &mut Vec<Job>) -> Option<Job> {
    if queue.is_empty() {
        queue.push(requests.recv().ok()?);
    }
    loop {
        match requests.try_recv() {
            Ok(job) => queue.push(job),
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => return None,
        }
    }
    let smallest = queue.iter().enumerate().min_by_key(|(_, job)| job.size);
    let (index, _) = smallest?;
    Some(queue.swap_remove(index))
}

fn make(
    Job { number, module, .. }: &Job,
    section_limit: usize,
    rules: &mut Rules,
    maps: &SharedMaps,
) -> Made {
    let number = *number;
    let begun = Instant::now();
    let mut table = Table::default();
    if let Err(error) = convert(module, section_limit, rules, &mut table) {
        tracing::debug!(%error, "a file has no unwind table");
        return Made::Failed((&error).into());
    }
    let rows = table.pages().map(|page| page.rows.len() as u64).sum();
    let mut maps = maps.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = maps.add_rules(rules) {
        // Frames with those that had no room end there, and say so.
        tracing::debug!(%error, "unwind rules are missing");
    }
    match maps.add_file(number, &table) {
        Ok(()) => {
            tracing::debug!(file = module.name(), rows, took = ?begun.elapsed(), "an unwind table");
            Made::Here(rows)
        }
        Err(tables::Error::Full(_)) => Made::NoRoom(table),
        Err(error) => {
            tracing::debug!(file = module.name(), %error, "an unwind table has no room");
            Made::Failed(Failure::TooLarge)
        }
    }
}

fn convert(
    module: &Module,
    limit: usize,
    rules: &mut Rules,
    table: &mut Table,
) -> Result<(), Error> {
    let name = module.name();
    match module.file() {
        Some(file) => convert_file(file, name, limit, rules, |page| table.push(page))?,
        None => convert_bytes(&vdso()?, name, limit, rules, |page| table.push(page))?,
    };
    Ok(())
}

/// The vDSO, as this process has it.
fn vdso() -> Result<Vec<u8>, Error> {
    let pid = std::process::id();
    let mappings = mappings(pid)?;
    let vdso = mappings
        .iter()
        .find(|mapping| mapping.kind == MappingKind::Vdso);
    match vdso {
        Some(vdso) => read_vdso(pid, vdso),
        None => Err(Error::NotRegular {
            file: "[vdso]".to_owned(),
        }),
    }
}
