//! The network namespaces that processes are in.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
    time::Instant,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Namespaces that are gone through, at most: a node runs some hundred pods.
const MAX_NAMESPACES: usize = 4096;

/// What became of the namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visited {
    /// Gone through, this thread's own among them.
    pub entered: u64,
    /// Not entered, as this process may not: namespaces, and where not even they are to be seen, processes.
    pub denied: u64,
    /// Not looked for or not entered, as the time was up or there were too many.
    pub left_out: u64,
}

/// Calls `f` in this thread's network namespace, and then in each other one that the main thread of a process is in, with the namespace's inode (0 where this thread's own is not to be seen). **The thread is left in the last of them**: it is to be one
/// that ends behind this call.
///
/// Entering needs `CAP_SYS_ADMIN` and opening `CAP_SYS_PTRACE`; what can't be entered is counted. Processes that end meanwhile are left out.
pub fn each(until: Instant, mut f: impl FnMut(u64)) -> Visited {
    let mut visited = Visited::default();
    let mut seen = HashSet::new();
    let own = fs::metadata("/proc/thread-self/ns/net").map_or(0, |own| own.ino());
    seen.insert(own);
    f(own);
    visited.entered += 1;
    let Ok(processes) = fs::read_dir("/proc") else {
        return visited;
    };
    for process in processes.flatten() {
        let name = process.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        if Instant::now() >= until || seen.len() >= MAX_NAMESPACES {
            visited.left_out += 1;
            break;
        }
        let link = process.path().join("ns/net");
        match inode(&link) {
            Ok(inode) if seen.contains(&inode) => continue,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                visited.denied += 1;
                continue;
            }
            Err(_) => continue,
        }
        // The one that was opened is the one that is entered: the process may have moved since.
        let Ok((file, inode)) = open(&link) else {
            continue;
        };
        if !seen.insert(inode) {
            continue;
        }
        match move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)) {
            Ok(()) => {
                visited.entered += 1;
                f(inode);
            }
            Err(_) => visited.denied += 1,
        }
    }
    visited
}

/// The inode of a namespace, by the link's text (`net:[4026531840]`): following it takes a look-up more.
fn inode(link: &Path) -> io::Result<u64> {
    let text = fs::read_link(link)?;
    text.to_str()
        .and_then(|text| text.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a network namespace"))
}

fn open(link: &Path) -> io::Result<(File, u64)> {
    let file = File::open(link)?;
    let inode = file.metadata()?.ino();
    Ok((file, inode))
}
