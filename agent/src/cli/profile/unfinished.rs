//! What a second signal leaves behind: nothing.

use std::{
    fs,
    path::PathBuf,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::{output::Target, say::say, session::End};

/// Files that have no profile yet.
#[derive(Clone, Debug)]
pub(super) struct Unfinished(Arc<Mutex<Vec<File>>>);

#[derive(Debug)]
struct File {
    name: String,
    /// Where it was not there before.
    new: Option<PathBuf>,
}

impl Unfinished {
    pub(super) fn of(files: &[Target]) -> Self {
        let files = files.iter().map(|target| File {
            name: target.name(),
            new: target.new_path().map(PathBuf::from),
        });
        Self(Arc::new(Mutex::new(files.collect())))
    }

    /// The one of this name has its profile.
    pub(super) fn finished(&self, name: &str) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|file| file.name != name);
    }

    /// From now on a second signal ends fathom at once, whatever it does: the sampling is over, and naming what large programs have run can take longer than somebody wants
    /// to wait.
    pub(super) fn end_with(self, mut end: End) {
        let waits = move || {
            let code = end.second_signal();
            let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for path in files.iter().filter_map(|file| file.new.as_ref()) {
                // Nothing can be done about a file that does not go away.
                let _ = fs::remove_file(path);
            }
            let names: Vec<_> = files.iter().map(|file| &*file.name).collect();
            if names.is_empty() {
                say!("fathom: ended by a second signal");
            } else {
                let names = names.join(", ");
                say!("fathom: ended by a second signal; {names} was not written");
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
