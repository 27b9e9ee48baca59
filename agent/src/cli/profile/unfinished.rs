//! What a second signal leaves behind: nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::{output::Target, session::End};

/// New files that have no profile yet.
#[derive(Clone, Debug)]
pub(super) struct Unfinished(Arc<Mutex<Vec<PathBuf>>>);

impl Unfinished {
    pub(super) fn of(files: &[Target]) -> Self {
        let new = files.iter().filter_map(Target::new_path);
        Self(Arc::new(Mutex::new(new.map(PathBuf::from).collect())))
    }

    /// This one has its profile.
    pub(super) fn finished(&self, path: &Path) {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paths.retain(|unfinished| unfinished != path);
    }

    /// From now on a signal ends fathom at once, whatever it does: the first one has ended the sampling, and naming what large programs have run can take longer than
    /// somebody wants to wait.
    pub(super) fn end_with(self, mut end: End) {
        let waits = move || {
            let code = end.next_signal();
            let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for path in &*paths {
                // Nothing can be done about a file that does not go away.
                let _ = fs::remove_file(path);
            }
            process::exit(code);
        };
        if let Err(error) = thread::Builder::new()
            .name("fathom-signals".into())
            .spawn(waits)
        {
            tracing::warn!("a second signal will not end it: {error}");
        }
    }
}
