//! Finds the files that TLS goes through: those that are mapped now, and each that is mapped later.

use std::{
    fs::File,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    time::Duration,
};

use tracing::{debug, info, warn};

use super::{
    mappings::{self, Event, Files, Mapped, Mappings, sweep},
    net::Net,
    tls::{self, Targets, Why},
};

/// Bytes of each CPU's ring of mappings.
const RING: usize = 64 << 10;

/// Files that are remembered.
const FILES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// How long a new mapping may wait.
const INTERVAL: Duration = Duration::from_millis(50);

/// Files that may wait to be probed, open.
const WAITING: usize = 16;

/// Records that are taken from a CPU at a time.
const TURN: usize = 1024;

/// A file to be probed.
#[derive(Debug)]
pub struct Found {
    /// The file, open.
    pub file: File,
    /// Its path as the process that mapped it sees it.
    pub path: String,
    /// Where the probes go.
    pub targets: Targets,
}

impl Found {
    /// Attaches the probes, and says so.
    pub fn attach(&self, net: &mut Net) {
        let (path, library) = (&self.path, self.targets.library.name());
        let version = self.targets.version.as_deref();
        let version = version.unwrap_or("of unknown version");
        match net.attach_tls(&self.file, &self.targets) {
            Ok(probes) => info!("{path}: {library} {version} is seen through {probes} probes"),
            Err(error) => warn!("{path}: {library} {version} is not seen: {error}"),
        }
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident,)+) => {
        /// What came of the files that were looked at.
        #[derive(Debug, Default)]
        pub struct Counts { $($(#[$doc])* pub $field: AtomicU64,)+ }

        impl Counts {
            /// Each by its name.
            pub fn each(&self, mut give: impl FnMut(&'static str, u64)) {
                $(give(stringify!($field), self.$field.load(Ordering::Relaxed));)+
            }
        }
    };
}

counts! {
    /// Files with functions to probe.
    found,
    /// Files without TLS.
    not_tls,
    /// Files that speak TLS in a way that can't be seen.
    unseen,
    /// Files that could not be opened or read.
    unreadable,
    /// Records of mappings that the kernel had no room for. All of /proc is then looked through again.
    lost,
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Looks for files. It opens and reads them, and so may wait for a file system.
#[derive(Debug)]
pub struct Finder {
    mappings: Mappings,
    files: Files,
    counts: Arc<Counts>,
}

impl Finder {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the kernel refuses the events.
    pub fn open() -> Result<Self, mappings::Error> {
        Ok(Self {
            mappings: Mappings::open(RING)?,
            files: Files::new(FILES),
            counts: Arc::default(),
        })
    }

    /// Listens from now on, and attaches probes to the TLS functions that are mapped now; none, and a warning, when the kernel refuses the events.
    pub fn start(net: &mut Net) -> Option<Self> {
        match Self::open() {
            Ok(mut finder) => {
                finder.sweep(|found| found.attach(net));
                Some(finder)
            }
            Err(error) => {
                warn!("what goes through TLS is not seen: {error}");
                None
            }
        }
    }

    /// Where [`Finder::run`] hands files on, and who takes them.
    pub fn channel() -> (SyncSender<Found>, Receiver<Found>) {
        mpsc::sync_channel(WAITING)
    }

    /// What came of the files so far; stays current.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Bytes of this process's address space that the rings take.
    pub fn mapped_bytes(&self) -> u64 {
        self.mappings.mapped_bytes()
    }

    /// Looks at what is mapped now and was not looked at before.
    pub fn sweep(&mut self, mut found: impl FnMut(Found)) {
        let (files, counts) = (&mut self.files, &self.counts);
        sweep(|mapped| look(files, counts, &mapped, &mut found));
    }

    /// Hands on what is mapped from now on, until `stop` or until nobody takes it any more.
    pub fn run(mut self, stop: &AtomicBool, sender: &SyncSender<Found>) {
        while !stop.load(Ordering::Acquire) {
            if let Err(error) = self.mappings.wait(INTERVAL) {
                warn!(
                    "programs that start from now on have their TLS not seen: waiting for mappings: {error}"
                );
                return;
            }
            let mut gone = false;
            let mut lost = false;
            let (files, counts) = (&mut self.files, &self.counts);
            let mut hand_on = |found: Found| {
                if let Err(TrySendError::Full(found)) = sender.try_send(found) {
                    // It waits for the one who attaches, as nothing else here is pressing.
                    gone |= sender.send(found).is_err();
                }
            };
            self.mappings.drain(TURN, |_, event| match event {
                Event::Mapped(mapped) => {
                    look(files, counts, &mapped, &mut hand_on);
                }
                Event::Lost(count) => {
                    counts.lost.fetch_add(count, Ordering::Relaxed);
                    lost = true;
                }
                Event::Code(_)
                | Event::Exec { .. }
                | Event::Forked { .. }
                | Event::Exited { .. } => {}
            });
            if lost {
                self.sweep(&mut hand_on);
            }
            if gone {
                return;
            }
        }
    }
}

/// Looks at a mapping's file if it is new; whether it could be looked at.
fn look(
    files: &mut Files,
    counts: &Counts,
    mapped: &Mapped<'_>,
    found: &mut impl FnMut(Found),
) -> bool {
    let file = match files.first_sight(mapped) {
        Ok(Some(file)) => file,
        Ok(None) => return true,
        Err(error) => {
            debug!("TLS is not looked for: {error}");
            one(&counts.unreadable);
            return false;
        }
    };
    let path = String::from_utf8_lossy(mapped.path).into_owned();
    match tls::inspect(&file) {
        Ok(targets) => {
            one(&counts.found);
            found(Found {
                file,
                path,
                targets,
            });
        }
        Err(Why::NotTls) => match tls::unseen(&file) {
            Ok(Some(unseen)) => {
                one(&counts.unseen);
                info!(
                    "{path}: what goes through {} is not seen; its connections and bytes are",
                    unseen.name()
                );
            }
            Ok(None) => one(&counts.not_tls),
            Err(error) => unreadable(counts, &path, &error),
        },
        Err(Why::NotElf) => one(&counts.not_tls),
        Err(error) => unreadable(counts, &path, &error),
    }
    true
}

fn unreadable(counts: &Counts, path: &str, error: &Why) {
    one(&counts.unreadable);
    info!("{path}: whether TLS goes through it is not known: {error}");
}
