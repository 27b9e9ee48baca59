//! Network namespaces of a scenario's own: what is lost, late or out of reach in one is so for nobody else.
//!
//! A namespace has no name and no process of its own: it goes with the last thread, socket or file that is in it.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The calling thread's own, as a file.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace; it is there as long as this is.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<File>);

impl Namespace {
    /// A new one, in which only loopback is, and up.
    pub fn create() -> Result<Self> {
        let made = thread::spawn(|| -> Result<File> {
            // SAFETY: only the network namespace of this thread changes, no table of files and no memory, and the thread ends right after.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context(
                "cannot make a network namespace: start it as root, on a kernel with CONFIG_NET_NS",
            )?;
            ip("link set lo up")?;
            File::open(OWN).with_context(|| format!("cannot open {OWN}"))
        });
        let file = made
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that made it panicked"))??;
        Ok(Self(Arc::new(file)))
    }

    /// Does `work` on a thread of its own that is in this namespace, with all that it opens and starts.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&*self.0),
                    Some(LinkNameSpaceType::Network),
                )
                .context("cannot enter a network namespace")?;
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// The number of the calling thread's network namespace, as `stat` shows it of /proc/PID/ns/net.
pub fn own() -> Result<u64> {
    Ok(fs::metadata(OWN)
        .with_context(|| format!("no {OWN}"))?
        .ino())
}

/// Runs `ip` with these words in the calling thread's namespace.
pub fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .context("cannot start ip: install iproute2")?;
    ensure!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Sets a variable below /proc/sys/net in the calling thread's namespace.
pub fn set(variable: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{variable}");
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {path}"))
}

#[cfg(test)]
mod tests {
    use super::{Namespace, own};

    #[test]
    fn a_thread_is_in_it_and_its_caller_is_not() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let outside = own().expect("a namespace");
        let namespace = Namespace::create().expect("root");
        let inside = namespace.within(own).expect("entered");
        assert_ne!(inside, outside);
        assert_eq!(own().expect("a namespace"), outside);
    }
}
