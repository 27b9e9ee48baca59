use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;

const CAPACITY: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// A procfs of files.
struct Proc(tempfile::TempDir);

impl Proc {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn add(&self, pid: u32, start: u64, exe: &str, environ: &[u8], cgroup: &str) {
        let folder = self.0.path().join(pid.to_string());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder");
        // As on a real system; the name holds what a naive split would stumble over.
        let stat = format!(
            "{pid} (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 {start} 20 21\n"
        );
        fs::write(folder.join("stat"), stat).expect("stat");
        symlink(exe, folder.join("exe")).expect("exe");
        fs::write(folder.join("environ"), environ).expect("environ");
        fs::write(folder.join("cgroup"), cgroup).expect("cgroup");
    }

    fn remove(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join(pid.to_string())).expect("it was there");
    }

    fn identity(&self) -> Identity {
        Identity::new(self.0.path(), CAPACITY)
    }
}

#[test]
fn this_very_process_is_known() {
    let mut identity = Identity::new("/proc", CAPACITY);
    let process = identity.process(std::process::id(), 0);
    let exe = std::env::current_exe().expect("this program's path");
    assert_eq!(process.executable.as_deref(), Some(exe.as_path()));
    assert_eq!(
        process.executable_name().as_deref(),
        exe.file_name().and_then(|name| name.to_str())
    );
    assert!(process.start_ticks > 0);
    assert_eq!(identity.unknown(), 0);
}

#[test]
fn the_service_is_what_the_process_says_else_its_executable() {
    let proc = Proc::new();
    for (pid, environ, expected) in [
        (
            1,
            b"A=1\0OTEL_SERVICE_NAME=checkout\0OTEL_RESOURCE_ATTRIBUTES=service.name=no\0"
                .as_slice(),
            "checkout",
        ),
        (
            2,
            b"OTEL_RESOURCE_ATTRIBUTES=a=b, service.name = pay%20ment%zz ,c=d\0",
            "pay ment%zz",
        ),
        (3, b"OTEL_SERVICE_NAME=\0", "nginx"),
        (4, b"XOTEL_SERVICE_NAME=x\0OTEL_SERVICE_NAMES=y\0", "nginx"),
        (5, b"", "nginx"),
        (6, b"OTEL_SERVICE_NAME=two\nlines\x1b[0m\0", "twolines[0m"),
    ] {
        proc.add(pid, 7, "/usr/sbin/nginx (deleted)", environ, "0::/\n");
        let process = proc.identity().process(pid, 0);
        assert_eq!(&*process.service, expected);
        assert_eq!(
            process.executable.as_deref(),
            Some(Path::new("/usr/sbin/nginx"))
        );
        assert_eq!((process.comm.as_str(), process.start_ticks), ("a) b (c", 7));
    }
}

#[test]
fn containers_are_found_in_the_cgroups_of_each_runtime() {
    let id = "3f1c0d5e9b7a48c2a1b2c3d4e5f60718293a4b5c6d7e8f901234567890abcdef";
    for (cgroup, expected) in [
        (format!("0::/system.slice/docker-{id}.scope\n"), true),
        (
            format!("12:cpu,cpuacct:/docker/{id}\n11:memory:/docker/{id}\n"),
            true,
        ),
        (
            format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope\n"),
            true,
        ),
        (format!("0::/kubepods/burstable/pod1/{id}\n"), true),
        (
            format!("0::/kubepods.slice/crio-{id}.scope/container\n"),
            true,
        ),
        (format!("0::/k8s.io:cri-containerd:{id}\n"), true),
        (format!("0::/machine.slice/libpod-{id}.scope\n"), true),
        (
            "0::/user.slice/user-1000.slice/session-3.scope\n".to_owned(),
            false,
        ),
        (format!("0::/docker/{}\n", &id[1..]), false),
        ("garbage".to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(
            container::id(&cgroup),
            expected.then(|| id.to_owned()),
            "{cgroup}"
        );
    }
}

#[test]
fn a_process_is_looked_up_once_and_remembered_after_its_end() {
    let proc = Proc::new();
    proc.add(9, 100, "/bin/a", b"", "");
    let mut identity = proc.identity();
    let first = identity.process(9, 0);
    proc.remove(9);
    assert!(
        Arc::ptr_eq(&first, &identity.process(9, TRUST_NS / 2)),
        "not looked at again so soon"
    );
    assert!(
        Arc::ptr_eq(&first, &identity.process(9, TRUST_NS * 3)),
        "gone, and still the best that is known"
    );
    assert_eq!(identity.unknown(), 0);
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    let proc = Proc::new();
    proc.add(9, 100, "/bin/a", b"", "");
    let mut identity = proc.identity();
    assert_eq!(&*identity.process(9, 0).service, "a");
    proc.add(9, 200, "/bin/b", b"", "");
    assert_eq!(&*identity.process(9, TRUST_NS).service, "b");
    proc.add(9, 200, "/bin/c", b"", "");
    assert_eq!(
        &*identity.process(9, TRUST_NS * 2).service,
        "c",
        "the same process after execve"
    );
}

#[test]
fn a_number_that_was_used_again_and_is_free_again_is_not_its_first_process_s() {
    const CURL: [u8; 16] = *b"curl\0\0\0\0\0\0\0\0\0\0\0\0";
    let proc = Proc::new();
    let mut identity = proc.identity();
    // One whose end is seen as it is asked for, and one that nobody asks for any more.
    for (number, is_asked_for) in [(9, true), (8, false)] {
        proc.add(number, 100, "/bin/server", b"", "");
        let server = identity.process(number, 0);
        proc.remove(number);
        if is_asked_for {
            identity.process(number, TRUST_NS * 2);
        }
        identity.sweep(TRUST_NS * 2);
        // A thread's name, and a connection that it had.
        identity.name_alive(number, *b"worker\0\0\0\0\0\0\0\0\0\0", TRUST_NS);
        identity.name(number, CURL);
        assert!(Arc::ptr_eq(
            &server,
            &identity.process(number, TRUST_NS * 4)
        ));
        identity.name_alive(number, CURL, TRUST_NS * 5);
        assert_eq!(&*identity.process(number, TRUST_NS * 6).service, "curl");
        // So is the next one that nobody sees alive.
        identity.name_alive(number, *b"wget\0\0\0\0\0\0\0\0\0\0\0\0", TRUST_NS * 9);
        assert_eq!(&*identity.process(number, TRUST_NS * 9).service, "wget");
    }
    assert_eq!(identity.unknown(), 0);
}

#[test]
fn a_sweep_comes_to_all_and_takes_none_for_gone_that_lives() {
    let proc = Proc::new();
    let mut identity = Identity::new(proc.0.path(), NonZeroUsize::new(100).expect("some"));
    for pid in 1..=50 {
        proc.add(pid, 1, "/bin/a", b"", "");
        identity.process(pid, 0);
    }
    for pid in 1..=25 {
        proc.remove(pid);
    }
    for _ in 0..50_usize.div_ceil(SWEPT) {
        identity.sweep(1);
    }
    let mut gone: Vec<u32> = identity
        .cache
        .iter()
        .filter_map(|(&pid, entry)| entry.gone_ns.map(|_| pid))
        .collect();
    gone.sort_unstable();
    assert_eq!(gone, (1..=25).collect::<Vec<u32>>());
}

#[test]
fn a_process_that_was_never_seen_alive_is_unknown_and_counted() {
    let mut identity = Proc::new().identity();
    let process = identity.process(9, 0);
    assert_eq!(
        (&*process.service, process.pid, identity.unknown()),
        ("unknown", 9, 1)
    );
}

#[test]
fn the_cache_is_bounded() {
    let proc = Proc::new();
    let mut identity = proc.identity();
    for pid in 1..100 {
        proc.add(pid, 1, "/bin/a", b"", "");
        identity.process(pid, 0);
    }
    assert_eq!(identity.cache.len(), CAPACITY.get());
}

#[test]
fn a_process_that_was_gone_at_once_has_the_name_that_the_kernel_saw() {
    let proc = Proc::new();
    proc.add(2, 100, "/bin/server", b"", "");
    let mut identity = proc.identity();
    identity.name(1, *b"curl\0\0\0\0\0\0\0\0\0\0\0\0");
    identity.name(2, *b"worker\0\0\0\0\0\0\0\0\0\0");
    identity.name(3, [0; 16]);
    assert_eq!(&*identity.process(1, 0).service, "curl");
    assert_eq!(
        &*identity.process(2, 0).service,
        "server",
        "/proc knows more"
    );
    assert_eq!(&*identity.process(3, 0).service, "unknown");
    assert_eq!(identity.unknown(), 1);
}
