//! A process and those that come from it.

use std::{collections::HashSet, fs, path::Path};

/// Ancestors that are looked at: no real chain is as long.
const MAX_DEPTH: usize = 64;

/// A process, its children, theirs, and so on, also of those that have ended.
pub(in crate::cli::profile) struct Family {
    /// The process that all come from.
    root: u32,
    /// The process that made it, which is no member.
    maker: u32,
    members: HashSet<u32>,
    /// Of which it is known that they are not.
    strangers: HashSet<u32>,
}

impl Family {
    /// That of a process, which `maker` has made.
    pub(in crate::cli::profile) fn of(root: u32, maker: u32) -> Self {
        Self {
            root,
            maker,
            members: HashSet::from([root]),
            strangers: HashSet::new(),
        }
    }

    /// The kernel says that a process was made.
    pub(in crate::cli::profile) fn forked(&mut self, pid: u32, parent: u32) {
        // The kernel's word on the root's own making comes after the root is known.
        let is_root = (pid, parent) == (self.root, self.maker);
        // Its number may have been another's before.
        if is_root || self.members.contains(&parent) {
            self.strangers.remove(&pid);
            self.members.insert(pid);
        } else {
            self.members.remove(&pid);
            self.strangers.remove(&pid);
        }
    }

    /// Whether a process is one of them. One of whose making nothing was heard is looked up.
    pub(super) fn has(&mut self, pid: u32, proc: &Path) -> bool {
        if self.members.contains(&pid) {
            return true;
        }
        if self.strangers.contains(&pid) {
            return false;
        }
        let mut at = pid;
        for _ in 0..MAX_DEPTH {
            match parent(proc, at) {
                Some(parent) if self.members.contains(&parent) => {
                    self.members.insert(pid);
                    return true;
                }
                Some(parent) if parent > 1 => at = parent,
                Some(_) => {
                    self.strangers.insert(pid);
                    return false;
                }
                // It is gone: who its parent was may still be heard.
                None => return false,
            }
        }
        false
    }
}

/// Field 4 of `/proc/PID/stat`.
fn parent(proc: &Path, pid: u32) -> Option<u32> {
    let stat = fs::read(proc.join(format!("{pid}/stat"))).ok()?;
    // The name in front may hold anything, bytes that are no text among it.
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = str::from_utf8(&stat[close + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(proc: &Path, pid: u32, parent: u32) {
        fs::create_dir(proc.join(pid.to_string())).unwrap();
        let mut stat = format!("{pid} (a ) ").into_bytes();
        // The first byte of a character that the kernel has cut.
        stat.push(b'\xc3');
        stat.extend(format!(") S {parent} 1 1 0").bytes());
        fs::write(proc.join(format!("{pid}/stat")), stat).unwrap();
    }

    #[test]
    fn children_belong_to_it_however_it_is_known() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        process(proc, 10, 1);
        process(proc, 11, 10);
        process(proc, 12, 11);
        process(proc, 20, 1);
        let mut family = Family::of(10, 2);
        assert!(family.has(10, proc));
        assert!(family.has(12, proc), "a grandchild, from /proc");
        assert!(!family.has(20, proc));
        assert!(!family.has(30, proc), "gone, and nothing was heard of it");
        family.forked(30, 12);
        assert!(family.has(30, proc), "gone, but heard of");
        family.forked(30, 20);
        assert!(!family.has(30, proc), "the number is another's now");
        family.forked(20, 10);
        assert!(family.has(20, proc), "and so is this one");
    }

    #[test]
    fn its_own_making_leaves_it_what_it_is() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        process(proc, 10, 2);
        let mut family = Family::of(10, 2);
        family.forked(10, 2);
        family.forked(11, 10);
        assert!(family.has(10, proc));
        assert!(family.has(11, proc));
        family.forked(12, 2);
        assert!(!family.has(12, proc), "another of the same maker's");
        family.forked(10, 3);
        assert!(!family.has(10, proc), "the number is another's now");
    }
}
