use std::{
    net::TcpListener,
    os::{fd::AsRawFd as _, unix::fs::symlink},
    process,
    time::Duration,
};

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn this_process_is_found_by_its_socket() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
    let text = fs::read_link(link).expect("a link");
    let own = inode(text.as_os_str()).expect("a socket's inode");
    let mut owners = Vec::new();
    let proc = Path::new("/proc");
    let walked = each(proc, 0, soon(), |descriptor, inode| {
        if inode == own {
            owners.push(descriptor);
        }
        ControlFlow::Continue(())
    });
    let here = Descriptor {
        pid: process::id(),
        number: u32::try_from(socket.as_raw_fd()).expect("a number"),
    };
    assert!(owners.contains(&here), "{owners:?}");
    assert!(
        walked.cut_short.is_none() && walked.processes > 0,
        "{walked:?}"
    );
    assert_eq!(here.inode(proc), Some(own));
    drop(socket);
    assert_ne!(here.inode(proc), Some(own));
}

#[test]
fn only_sockets_of_processes_are_handed_on() {
    let proc = tempfile::tempdir().expect("a folder");
    for (process, targets) in [
        (
            "17",
            &["socket:[4711]", "/dev/null", "socket:[x]", "pipe:[3]"][..],
        ),
        ("18", &["socket:[4711]", "socket:[5]"]),
        ("self", &["socket:[6]"]),
        ("tty", &["socket:[7]"]),
    ] {
        let folder = proc.path().join(process).join("fd");
        fs::create_dir_all(&folder).expect("a folder");
        for (number, target) in targets.iter().enumerate() {
            symlink(target, folder.join(number.to_string())).expect("a link");
        }
    }
    fs::create_dir(proc.path().join("19")).expect("a process that has ended");
    let mut found = Vec::new();
    let mut from = |from| {
        found.clear();
        let walked = each(proc.path(), from, soon(), |descriptor, inode| {
            found.push((descriptor.pid, inode));
            ControlFlow::Continue(())
        });
        // Within a process they come as they come.
        assert!(found.is_sorted_by_key(|&(pid, _)| pid), "{found:?}");
        found.sort_unstable();
        (found.clone(), walked.processes, walked.descriptors)
    };
    assert_eq!(from(0), (vec![(17, 4711), (18, 5), (18, 4711)], 2, 6));
    assert_eq!(from(18), (vec![(18, 5), (18, 4711)], 1, 2));
    let mut calls = 0;
    each(proc.path(), 0, soon(), |_, _| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert_eq!(calls, 1);
}

#[test]
fn it_ends_when_the_time_is_up() {
    let walked = each(Path::new("/proc"), 0, Instant::now(), |_, _| {
        panic!("too late")
    });
    assert!(walked.cut_short.is_some());
}
