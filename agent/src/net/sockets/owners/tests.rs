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
    let walked = each(Path::new("/proc"), soon(), |pid, inode| {
        if inode == own {
            owners.push(pid);
        }
    });
    assert!(owners.contains(&process::id()), "{owners:?}");
    assert!(!walked.cut_short && walked.processes > 0, "{walked:?}");
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
    let walked = each(proc.path(), soon(), |pid, inode| found.push((pid, inode)));
    found.sort_unstable();
    assert_eq!(found, [(17, 4711), (18, 5), (18, 4711)]);
    assert_eq!((walked.processes, walked.descriptors), (2, 6));
}

#[test]
fn it_ends_when_the_time_is_up() {
    let walked = each(Path::new("/proc"), Instant::now(), |_, _| {
        panic!("too late")
    });
    assert!(walked.cut_short);
}
