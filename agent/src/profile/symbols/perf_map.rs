//! Whether a process has a perf map.

use std::fs;

/// Where the compilers of a process say what they made, in its own file system, if such a file is there.
pub(super) fn path(pid: u32) -> Option<String> {
    // The name in it may be no text: the kernel cuts it at 15 bytes.
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    // Its number in its own pid namespace is the last one (proc(5)).
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let own = numbers.split_whitespace().next_back()?;
    let map = format!("/tmp/perf-{own}.map");
    let file = fs::symlink_metadata(format!("/proc/{pid}/root{map}")).ok()?;
    file.is_file().then_some(map)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, process::Command};

    use super::*;

    #[test]
    fn a_map_is_found_whatever_its_process_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(OsStr::from_bytes(b"cut_within_gr\xc3"));
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = Command::new(&program).arg("60").spawn().unwrap();
        let map = format!("/tmp/perf-{}.map", child.id());
        fs::write(&map, "").unwrap();
        let found = path(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(&map).unwrap();
        assert_eq!(found, Some(map));
    }
}
