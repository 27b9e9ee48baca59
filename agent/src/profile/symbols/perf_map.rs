//! Whether a process has a perf map.

use std::fs;

/// Where the compilers of a process say what they made, in its own file system, if such a file is there.
pub(super) fn path(pid: u32) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // Its number in its own pid namespace is the last one (proc(5)).
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let own = numbers.split_whitespace().next_back()?;
    let map = format!("/tmp/perf-{own}.map");
    let file = fs::symlink_metadata(format!("/proc/{pid}/root{map}")).ok()?;
    file.is_file().then_some(map)
}
