//! The thread that names what a frame shows: large programs' functions take seconds the first time, and neither rings nor keys wait so long.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread::{Builder, JoinHandle},
};

use crate::profile::{Namer, Profile, Window};

/// Names one window at a time.
pub(super) struct Naming {
    windows: Option<SyncSender<Window>>,
    named: Receiver<Vec<Profile>>,
    is_free: bool,
    thread: Option<JoinHandle<()>>,
}

impl Naming {
    /// # Errors
    /// When the thread can't be started.
    pub(super) fn start(mut namer: Namer) -> io::Result<Self> {
        let (windows, handed_over) = sync_channel::<Window>(1);
        let (done, named) = sync_channel(1);
        let run = move || {
            for window in handed_over {
                let mut profiles = Vec::new();
                namer.name(window, |profile| profiles.push(profile));
                if done.send(profiles).is_err() {
                    return;
                }
            }
        };
        let thread = Builder::new().name("fathom-names".to_owned()).spawn(run)?;
        Ok(Self {
            windows: Some(windows),
            named,
            is_free: true,
            thread: Some(thread),
        })
    }

    /// Whether it can take the next window.
    pub(super) fn is_free(&self) -> bool {
        self.is_free
    }

    /// Has a window named.
    pub(super) fn hand_over(&mut self, window: Window) {
        if let Some(windows) = &self.windows {
            self.is_free = windows.send(window).is_err();
        }
    }

    /// The profiles of the window that was handed over, once they are there.
    pub(super) fn take(&mut self) -> Option<Vec<Profile>> {
        match self.named.try_recv() {
            Ok(profiles) => {
                self.is_free = true;
                Some(profiles)
            }
            // The thread is there until nobody can hand anything over.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// Waits for what is under way.
    pub(super) fn finish(mut self) -> Option<Vec<Profile>> {
        drop(self.windows.take());
        let last = (!self.is_free).then(|| self.named.recv().ok()).flatten();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread that names stacks had panicked");
        }
        last
    }
}
