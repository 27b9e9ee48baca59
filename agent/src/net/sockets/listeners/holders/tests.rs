use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use super::*;

/// A procfs of these processes, each with its sockets.
fn proc(processes: &[(u32, &[u32])]) -> TempDir {
    let proc = tempfile::tempdir().expect("a folder");
    for (pid, inodes) in processes {
        let folder = proc.path().join(pid.to_string()).join("fd");
        fs::create_dir_all(&folder).expect("a folder");
        for (number, inode) in inodes.iter().enumerate() {
            let link = folder.join(number.to_string());
            symlink(format!("socket:[{inode}]"), link).expect("a link");
        }
    }
    proc
}

fn remove(proc: &Path, pid: u32) {
    fs::remove_dir_all(proc.join(pid.to_string())).expect("it was there");
}

struct Clock(Instant);

impl Clock {
    /// Asks for these, so many seconds after the last time.
    fn update(&mut self, holders: &mut Holders, seconds: u64, inodes: &[u32]) -> bool {
        self.0 += Duration::from_secs(seconds);
        let until = Instant::now() + Duration::from_secs(20);
        let inodes = inodes.iter().copied();
        holders.update(inodes, self.0, until).is_some()
    }
}

#[test]
fn a_walk_is_made_for_new_ones_and_once_a_minute() {
    let proc = proc(&[(17, &[1, 2]), (18, &[3])]);
    let mut holders = Holders::new(proc.path());
    let mut clock = Clock(Instant::now());
    assert!(clock.update(&mut holders, 0, &[1]));
    assert_eq!((holders.of(1), holders.of(3)), (Some(17), None));
    // Nothing is new.
    assert!(!clock.update(&mut holders, 100, &[1]));
    assert!(clock.update(&mut holders, 0, &[1, 3]));
    assert_eq!(holders.of(3), Some(18));
    // One is new, too soon.
    assert!(!clock.update(&mut holders, 59, &[1, 2, 3]));
    assert_eq!(holders.of(2), None);
    assert!(clock.update(&mut holders, 1, &[1, 2, 3]));
    assert_eq!(holders.of(2), Some(17));
}

#[test]
fn one_that_nobody_has_is_looked_for_only_along_with_others() {
    let proc = proc(&[(17, &[1])]);
    let mut holders = Holders::new(proc.path());
    let mut clock = Clock(Instant::now());
    assert!(clock.update(&mut holders, 0, &[1, 9, 0]));
    assert!(!clock.update(&mut holders, 100, &[1, 9, 0]));
    let folder = proc.path().join("19/fd");
    fs::create_dir_all(&folder).expect("a folder");
    symlink("socket:[9]", folder.join("0")).expect("a link");
    symlink("socket:[10]", folder.join("1")).expect("a link");
    assert!(clock.update(&mut holders, 100, &[1, 9, 10]));
    assert_eq!((holders.of(9), holders.of(10)), (Some(19), Some(19)));
}

#[test]
fn when_its_holder_has_ended_another_one_is_found() {
    let proc = proc(&[(17, &[1]), (18, &[1])]);
    let mut holders = Holders::new(proc.path());
    let mut clock = Clock(Instant::now());
    assert!(clock.update(&mut holders, 0, &[1]));
    assert_eq!(holders.of(1), Some(17));
    remove(proc.path(), 17);
    assert!(!clock.update(&mut holders, 10, &[1]));
    assert_eq!(holders.of(1), None);
    assert!(clock.update(&mut holders, 50, &[1]));
    assert_eq!(holders.of(1), Some(18));
}

#[test]
fn a_descriptor_that_is_another_sockets_now_holds_nothing() {
    let proc = proc(&[(17, &[1])]);
    let mut holders = Holders::new(proc.path());
    let mut clock = Clock(Instant::now());
    assert!(clock.update(&mut holders, 0, &[1]));
    remove(proc.path(), 17);
    let folder = proc.path().join("17/fd");
    fs::create_dir_all(&folder).expect("a folder");
    symlink("socket:[2]", folder.join("0")).expect("a link");
    clock.update(&mut holders, 10, &[1]);
    assert_eq!(holders.of(1), None);
}

#[test]
fn what_is_not_asked_for_any_more_is_forgotten() {
    let proc = proc(&[(17, &[1, 2])]);
    let mut holders = Holders::new(proc.path());
    let mut clock = Clock(Instant::now());
    clock.update(&mut holders, 0, &[1, 2]);
    clock.update(&mut holders, 10, &[2]);
    assert_eq!(holders.known.len(), 1);
    assert_eq!((holders.of(1), holders.of(2)), (None, Some(17)));
}

#[test]
fn a_walk_that_was_cut_short_goes_on_behind_where_it_was() {
    let proc = proc(&[(17, &[1]), (18, &[2])]);
    let mut holders = Holders::new(proc.path());
    let now = Instant::now();
    let walked = holders.update([2, 3].into_iter(), now, now);
    assert_eq!(walked.expect("a walk").cut_short, Some(17));
    let mut clock = Clock(now);
    assert!(clock.update(&mut holders, 60, &[2, 3]));
    assert_eq!(holders.of(2), Some(18));
    // Nobody has looked at the first process so far: the other one may be there.
    assert!(clock.update(&mut holders, 60, &[2, 3]));
    assert!(!clock.update(&mut holders, 60, &[2, 3]));
}
