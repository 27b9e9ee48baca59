//! With processes that map what we want, each under a dynamic linker of its own (python3's ctypes).

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    num::NonZeroUsize,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::*;
use crate::probes::mappings::sweep::parse;

const CAPACITY: NonZeroUsize = NonZeroUsize::new(100).expect("not 0");

/// A process that holds a library until it is dropped.
struct Holder(Child);

impl Holder {
    fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it can be read");
        assert_eq!(line, "ready\n", "{command:?}");
        Self(child)
    }

    fn new(library: &Path) -> Self {
        Self::of(Command::new("python3").arg("-c").arg(SCRIPT).arg(library))
    }

    /// Its mapping of a file of this name.
    fn with_mapping<R>(&self, name: &str, f: impl FnOnce(&Mapped<'_>) -> R) -> R {
        let pid = self.0.id();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
        let line = maps
            .lines()
            .find(|line| line.contains(" r-xp ") && line.contains(name))
            .expect("it is mapped");
        let mapped = parse(pid, line.as_bytes());
        f(&mapped.expect("it is a line of maps"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SCRIPT: &str = "import ctypes, sys
ctypes.CDLL(sys.argv[1])
print('ready', flush=True)
sys.stdin.read()";

/// A library of our own: with some bytes at the end that tell it from others.
fn library(folder: &Path, name: &str, mark: &str) -> PathBuf {
    let source = folder.join("source.c");
    fs::write(
        &source,
        format!("const char *mark(void) {{ return \"{mark}\"; }}"),
    )
    .expect("it can be written");
    let path = folder.join(name);
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&path, &source])
        .status();
    assert!(status.expect("cc runs").success());
    path
}

/// Whether there is what it takes to make a library and have it loaded.
fn has_tools() -> bool {
    let missing = ["cc", "python3"].into_iter().find(|tool| {
        let output = Command::new(tool).arg("--version").output();
        output.is_err()
    });
    if let Some(missing) = missing {
        eprintln!("skipped: it needs {missing}");
    }
    missing.is_none()
}

fn content(file: Option<File>) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.expect("it is seen for the first time")
        .read_to_end(&mut bytes)
        .expect("it can be read");
    bytes
}

#[test]
fn a_file_is_given_once_whoever_maps_it() {
    if !has_tools() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let path = library(folder.path(), "one.so", "one");
    let link = folder.path().join("link.so");
    fs::hard_link(&path, &link).expect("it can be linked");
    let (first, second) = (Holder::new(&path), Holder::new(&link));
    let mut files = Files::new(CAPACITY);
    let file = first
        .with_mapping("one.so", |mapped| files.first_sight(mapped))
        .expect("it opens");
    assert_eq!(content(file), fs::read(&path).expect("it is there"));
    let again = second.with_mapping("link.so", |mapped| files.first_sight(mapped));
    assert!(again.expect("it opens").is_none());
    // Also when its key is forgotten, or old: what stat(2) says is known.
    files.mapped.clear();
    let again = second.with_mapping("link.so", |mapped| files.first_sight(mapped));
    assert!(again.expect("it opens").is_none());
}

#[test]
fn a_deleted_file_is_opened_by_its_mapping() {
    if !has_tools() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let path = library(folder.path(), "gone.so", "gone");
    let holder = Holder::new(&path);
    let bytes = fs::read(&path).expect("it is there");
    fs::remove_file(&path).expect("it can be removed");
    let mut files = Files::new(CAPACITY);
    let file = holder.with_mapping("gone.so (deleted)", |mapped| files.first_sight(mapped));
    if let Err(error) = &file
        && !rustix::process::geteuid().is_root()
    {
        eprintln!("skipped: it needs root: {error}");
        return;
    }
    assert_eq!(content(file.expect("it opens")), bytes);
}

#[test]
fn what_is_written_over_or_replaced_is_a_new_file() {
    if !has_tools() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let path = library(folder.path(), "one.so", "one");
    let mut files = Files::new(CAPACITY);
    let now = Instant::now();
    let see = |files: &mut Files, now| {
        let holder = Holder::new(&path);
        holder
            .with_mapping("one.so", |mapped| files.first_sight_at(mapped, now))
            .expect("it opens")
    };
    assert!(see(&mut files, now).is_some());
    assert!(
        see(&mut files, now + 2 * RECHECK).is_none(),
        "nothing changed"
    );
    let other = library(folder.path(), "other.so", "another one");
    fs::write(&path, fs::read(&other).expect("it is there")).expect("it can be written");
    assert!(
        see(&mut files, now + 4 * RECHECK).is_some(),
        "the same inode with other bytes"
    );
    fs::rename(&other, &path).expect("it can be renamed");
    assert!(
        see(&mut files, now + 4 * RECHECK).is_some(),
        "another inode"
    );
}

#[test]
fn memory_stays_bounded_and_the_least_recently_mapped_is_forgotten() {
    if !has_tools() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let holders: Vec<_> = ["a.so", "b.so", "c.so"]
        .map(|name| (name, Holder::new(&library(folder.path(), name, name))))
        .into();
    let mut files = Files::new(NonZeroUsize::new(2).expect("not 0"));
    let mut see = |place: usize| {
        let (name, holder) = &holders[place];
        let file = holder.with_mapping(name, |mapped| files.first_sight(mapped));
        file.expect("it opens").is_some()
    };
    assert!(see(0) && see(1) && !see(0) && see(2));
    assert!(!see(0), "it was used last");
    assert!(see(1), "it made room");
}

#[test]
fn a_process_that_is_gone_is_an_error_and_tried_again() {
    if !has_tools() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let path = library(folder.path(), "one.so", "one");
    let mut files = Files::new(CAPACITY);
    let holder = Holder::new(&path);
    let error = holder.with_mapping("one.so", |mapped| {
        let gone = Mapped {
            pid: u32::MAX,
            ..*mapped
        };
        files.first_sight(&gone).expect_err("no such process")
    });
    assert!(error.to_string().contains("one.so"), "{error}");
    let file = holder.with_mapping("one.so", |mapped| files.first_sight(mapped));
    assert!(file.expect("it opens").is_some());
}

#[test]
fn another_file_than_was_mapped_is_refused() {
    if !has_tools() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let path = library(folder.path(), "one.so", "one");
    let holder = Holder::new(&path);
    let mut files = Files::new(CAPACITY);
    let error = holder.with_mapping("one.so", |mapped| {
        let other = Mapped {
            inode: mapped.inode + 1,
            ..*mapped
        };
        files.first_sight(&other).expect_err("another inode")
    });
    assert!(matches!(error, OpenError::Changed { .. }), "{error}");
    // By a path that leads to a device, which must not be opened for reading.
    let error = holder.with_mapping("one.so", |mapped| {
        let device = Mapped {
            address: 0,
            path: b"/dev/zero",
            ..*mapped
        };
        files.first_sight(&device).expect_err("no regular file")
    });
    assert!(matches!(error, OpenError::Changed { .. }), "{error}");
}

#[test]
fn no_link_leads_out_of_a_process_s_root() {
    let folder = TempDir::new().expect("a folder");
    fs::create_dir(folder.path().join("etc")).expect("a folder");
    fs::write(folder.path().join("etc/passwd"), "within").expect("it can be written");
    for (name, target) in [
        ("absolute", "/etc/passwd"),
        ("relative", "../../../../../../etc/passwd"),
    ] {
        std::os::unix::fs::symlink(target, folder.path().join(name)).expect("it can be linked");
        let found = in_root(folder.path(), format!("/{name}").as_bytes()).expect("it opens");
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        assert_eq!(
            fs::read_to_string(path).expect("it can be read"),
            "within",
            "{name}"
        );
    }
}

/// Two overlays over one folder, as two containers of one image.
#[test]
fn containers_of_one_image_share_a_file() {
    if !has_tools() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in [
        "lower", "upper1", "upper2", "work1", "work2", "merged1", "merged2",
    ] {
        fs::create_dir(at(name)).expect("a folder");
    }
    // Overlays don't stack on all file systems: a memory file system of its own is sure to do.
    let script = format!(
        "cd {} && mount -t tmpfs none lower && cp one.so lower/ && mount -t tmpfs none upper1 && mkdir upper1/u1 upper1/u2 upper1/w1 upper1/w2 &&
        for n in 1 2; do mount -t overlay -o lowerdir=lower,upperdir=upper1/u$n,workdir=upper1/w$n none merged$n || exit 1; done",
        folder.path().display()
    );
    library(folder.path(), "one.so", "one");
    let load = "python3 -c \"import ctypes, sys
held = [ctypes.CDLL(name) for name in sys.argv[1:]]
print('ready', flush=True)
sys.stdin.read()\"";
    let probe = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: it needs to mount overlayfs");
        return;
    }
    let holder = Holder::of(Command::new("unshare").args([
        "-m",
        "sh",
        "-c",
        &format!("{script} && touch merged2/one.so.mark && exec {load} $PWD/merged1/one.so $PWD/merged2/one.so"),
    ]));
    let mut files = Files::new(CAPACITY);
    let first = holder.with_mapping("merged1/one.so", |mapped| files.first_sight(mapped));
    let second = holder.with_mapping("merged2/one.so", |mapped| files.first_sight(mapped));
    assert_eq!(
        content(first.expect("it opens")),
        fs::read(at("one.so")).expect("it is there")
    );
    assert!(
        second.expect("it opens").is_none(),
        "the same inode of the layer below"
    );
    drop(holder);
    // One that has made the file its own.
    let holder = Holder::of(Command::new("unshare").args([
        "-m",
        "sh",
        "-c",
        &format!("{script} && chmod 700 merged2/one.so && exec {load} $PWD/merged1/one.so $PWD/merged2/one.so"),
    ]));
    let mut files = Files::new(CAPACITY);
    let first = holder.with_mapping("merged1/one.so", |mapped| files.first_sight(mapped));
    let second = holder.with_mapping("merged2/one.so", |mapped| files.first_sight(mapped));
    assert!(first.expect("it opens").is_some());
    assert!(second.expect("it opens").is_some(), "an inode of its own");
}
