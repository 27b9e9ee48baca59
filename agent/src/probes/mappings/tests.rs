//! What the kernel says of processes that these tests start.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
    time::Instant,
};

use super::*;

/// The events, or nothing where the machine does not give them to us.
fn open(bytes: usize) -> Option<Mappings> {
    match Mappings::open(bytes) {
        Ok(mappings) => Some(mappings),
        Err(Error::Open { cpu, error }) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: a perf event on CPU {cpu}: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[derive(Debug, Default)]
struct Life {
    forked: bool,
    /// One for each exec: a python3 that is a script has several, on several CPUs, and so in any order.
    comms: Vec<Vec<u8>>,
    files: HashMap<String, (u64, Option<u64>)>,
    exited: bool,
    /// When it said so.
    ended_ns: u64,
}

/// What happened to a process until it is said to have ended.
fn life(mappings: &mut Mappings, pid: u32) -> Life {
    let mut life = Life::default();
    let end = Instant::now() + Duration::from_secs(10);
    while !life.exited && Instant::now() < end {
        mappings
            .wait(Duration::from_millis(20))
            .expect("it can wait");
        mappings.drain(10_000, |at_ns, event| match event {
            Event::Exited { pid: other } if other == pid => {
                life.exited = true;
                life.ended_ns = at_ns;
            }
            Event::Mapped(mapped) if mapped.pid == pid => {
                let path = String::from_utf8_lossy(mapped.path).into_owned();
                life.files.insert(path, (mapped.inode, mapped.generation));
            }
            Event::Exec { pid: other, comm } if other == pid => life.comms.push(comm.to_vec()),
            Event::Forked { pid: other, parent } if other == pid => {
                life.forked = parent == std::process::id();
            }
            _ => {}
        });
    }
    life
}

#[test]
fn a_library_that_is_mapped_later_is_heard_of() {
    let Some(mut mappings) = open(1 << 20) else {
        return;
    };
    // Loads libssl when it runs, as a plug-in would.
    let script = "import ctypes.util, ctypes; print(ctypes.CDLL(ctypes.util.find_library('ssl') or 'libssl.so.3').SSL_new)";
    let spawned = Command::new("python3")
        .args(["-c", script])
        .stdout(Stdio::null())
        .spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: it needs python3");
        return;
    };
    let pid = child.id();
    let started_ns = crate::telemetry::Clock::monotonic_ns();
    let status = child.wait().expect("it ends");
    let over_ns = crate::telemetry::Clock::monotonic_ns();
    if !status.success() {
        eprintln!("skipped: it needs a libssl that python3 can load");
        return;
    }
    let life = life(&mut mappings, pid);
    assert!(life.forked && life.exited, "{life:?}");
    assert!((started_ns..over_ns).contains(&life.ended_ns), "{life:?}");
    assert!(
        life.comms.iter().any(|comm| comm.starts_with(b"python")),
        "{life:?}"
    );
    let (path, (inode, generation)) = life
        .files
        .iter()
        .find(|(path, _)| path.contains("/libssl"))
        .unwrap_or_else(|| panic!("{life:?}"));
    assert_eq!(fs::metadata(path).expect("it is there").ino(), *inode);
    assert!(generation.is_some());
    assert!(
        life.files
            .keys()
            .any(|path| path.contains("/ld-") || path.contains("/ld.so"))
    );
    assert!(
        !life
            .files
            .keys()
            .any(|path| path.starts_with('[') || path.starts_with("//"))
    );
    let counts = mappings.counts();
    assert_eq!((counts.lost, counts.malformed), (0, 0));
}

#[test]
fn what_finds_no_room_is_counted() {
    let (Some(mut small), Some(mut large)) = (open(1), open(8 << 20)) else {
        return;
    };
    let mut children = Vec::new();
    for _ in 0..100 {
        let mut child = Command::new("/bin/true").spawn().expect("it starts");
        children.push(child.id());
        assert!(child.wait().expect("it ends").success());
    }
    // What the children did, by the ring that has room for all of it.
    let mut exits = 0;
    let mut all = 0;
    large.drain(usize::MAX, |_, event| {
        let pid = match event {
            Event::Mapped(mapped) => mapped.pid,
            Event::Code(code) => code.pid,
            Event::Exec { pid, .. } | Event::Forked { pid, .. } | Event::Exited { pid } => pid,
            Event::Lost(_) => 0,
        };
        all += u64::from(children.contains(&pid));
        exits += usize::from(matches!(event, Event::Exited { pid } if children.contains(&pid)));
    });
    assert_eq!(large.counts().lost, 0);
    assert_eq!(exits, children.len());
    let mut said = 0;
    let mut add = |_, event: Event<'_>| {
        if let Event::Lost(lost) = event {
            said += lost;
        }
    };
    small.drain(usize::MAX, &mut add);
    // The kernel says what was lost with the next record that has room, on each CPU for itself.
    let end = Instant::now() + Duration::from_secs(10);
    while small.counts().records + small.counts().lost < all && Instant::now() < end {
        assert!(
            Command::new("/bin/true")
                .status()
                .expect("it starts")
                .success()
        );
        small.drain(usize::MAX, &mut add);
    }
    let counts = small.counts();
    assert!(counts.lost > 0 && counts.lost == said, "{counts:?}");
    assert!(counts.records + counts.lost >= all, "{counts:?} of {all}");
    assert_eq!(counts.malformed, 0);
    assert!(small.mapped_bytes() < large.mapped_bytes());
}
