use super::{hierarchies::CGROUPS, *};

const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn process(proc: &Path, pid: u32, comm: &str, cgroup: &str) {
    let folder = proc.join(pid.to_string());
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("status"),
        format!("Name:\t{comm}\nTgid:\t{pid}\n"),
    )
    .unwrap();
    fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
    fs::write(folder.join("cgroup"), cgroup).unwrap();
}

fn node() -> tempfile::TempDir {
    let proc = tempfile::tempdir().unwrap();
    process(proc.path(), 10, "nginx", "0::/system.slice/nginx.service\n");
    process(
        proc.path(),
        11,
        "python3",
        &format!("0::/kubepods.slice/cri-containerd-{CONTAINER}.scope\n"),
    );
    process(
        proc.path(),
        12,
        "nginx",
        "12:cpu:/system.slice/nginx.service2\n0::/init\n",
    );
    proc
}

fn subject(tgid: u32, comm: &str) -> Subject {
    Subject {
        tgid,
        space: 1,
        comm: padded(comm.as_bytes()),
    }
}

/// A selection that has checked nothing against this machine's cgroups.
fn selection(proc: &Path, args: &Args, cgroups: &[&str]) -> Selection {
    let mut selection = Selection::new(args, proc).unwrap();
    selection.cgroups = cgroups.iter().map(|&path| path.to_owned()).collect();
    selection
}

#[test]
fn without_flags_everything_is_wanted() {
    let proc = node();
    let mut all = selection(proc.path(), &Args::default(), &[]);
    assert!(all.wants(subject(10, "nginx")));
    assert!(all.wants(subject(99, "gone")));
}

#[test]
fn names_are_a_threads_or_its_process_s() {
    let proc = node();
    let args = Args {
        comms: vec!["nginx".into(), "a_name_of_more_than_fifteen".into()],
        ..Args::default()
    };
    let mut named = selection(proc.path(), &args, &[]);
    assert!(named.wants(subject(10, "nginx")));
    assert!(named.wants(subject(10, "worker")), "the process's");
    assert!(!named.wants(subject(11, "python3")));
    assert!(
        named.wants(subject(99, "a_name_of_more_")),
        "of one that is gone"
    );
    assert_eq!(named.undecided, 0);
}

#[test]
fn a_cgroup_holds_what_is_below_it_and_not_what_is_called_alike() {
    let proc = node();
    let mut one = selection(
        proc.path(),
        &Args::default(),
        &["/system.slice/nginx.service"],
    );
    assert!(one.wants(subject(10, "nginx")));
    assert!(!one.wants(subject(11, "python3")));
    assert!(!one.wants(subject(12, "nginx")));
    assert!(!one.wants(subject(99, "gone")));
    assert_eq!(one.undecided, 1, "that one may have been in it");
    let mut slice = selection(proc.path(), &Args::default(), &["/system.slice"]);
    assert!(slice.wants(subject(12, "nginx")), "of any hierarchy");
}

#[test]
fn flags_narrow() {
    let proc = node();
    let args = Args {
        comms: vec!["nginx".into()],
        pids: vec![11, 12],
        ..Args::default()
    };
    let mut both = selection(proc.path(), &args, &[]);
    assert_eq!(both.targets(), [11, 12]);
    assert!(!both.wants(subject(10, "nginx")));
    assert!(!both.wants(subject(11, "python3")));
    assert!(both.wants(subject(12, "nginx")));
}

#[test]
fn containers_go_by_the_beginning_of_their_ids() {
    let proc = node();
    let args = Args {
        containers: vec!["0123456789AB".into()],
        ..Args::default()
    };
    let mut one = selection(proc.path(), &args, &[]);
    assert!(one.wants(subject(11, "python3")));
    assert!(!one.wants(subject(10, "nginx")));
}

#[test]
fn a_process_is_wanted_by_what_it_runs_now() {
    let proc = node();
    let args = Args {
        comms: vec!["nginx".into()],
        ..Args::default()
    };
    let mut named = selection(proc.path(), &args, &["/system.slice/nginx.service"]);
    assert!(named.wants_process(10));
    assert!(!named.wants_process(11), "another program");
    assert!(!named.wants_process(12), "another cgroup");
    assert!(!named.wants_process(99), "gone");
    assert_eq!(named.undecided, 0);
}

#[test]
fn the_beginning_of_two_containers_ids_names_neither() {
    let proc = node();
    let other = CONTAINER.replace("abcdef", "abcdee");
    let cgroup = format!("0::/kubepods.slice/cri-containerd-{other}.scope\n");
    process(proc.path(), 13, "sh", &cgroup);
    let args = |id: &str| Args {
        containers: vec![id.to_owned()],
        ..Args::default()
    };
    let error = Selection::new(&args("01234567"), proc.path()).err();
    let said = format!("{:#}", error.expect("two begin so"));
    assert!(said.contains(CONTAINER) && said.contains(&other), "{said}");
    assert!(Selection::new(&args(&other[..16]), proc.path()).is_ok());
}

#[test]
fn a_process_is_looked_at_again_when_it_runs_another_program() {
    let proc = node();
    let args = Args {
        comms: vec!["sh".into()],
        ..Args::default()
    };
    let mut named = selection(proc.path(), &args, &[]);
    assert!(!named.wants(subject(10, "nginx")));
    fs::write(proc.path().join("10/comm"), "sh\n").unwrap();
    assert!(!named.wants(subject(10, "nginx")));
    let later = Subject {
        space: 2,
        ..subject(10, "worker")
    };
    assert!(named.wants(later));
}

#[test]
fn what_is_not_there_is_said() {
    let proc = node();
    let says = |args: &Args| {
        let error = Selection::new(args, proc.path()).err().unwrap();
        error.to_string()
    };
    let pids = Args {
        pids: vec![77],
        ..Args::default()
    };
    assert!(says(&pids).starts_with("--pid 77: there is no such process"));
    let cgroups = Args {
        cgroups: vec!["/no/such.slice".into()],
        ..Args::default()
    };
    assert!(says(&cgroups).contains("systemd-cgls"));
    let root = Args {
        cgroups: vec![CGROUPS.into()],
        ..Args::default()
    };
    assert!(says(&root).contains("the whole node"));
    for id in ["web-1", ""] {
        let containers = Args {
            containers: vec![id.into()],
            ..Args::default()
        };
        assert!(says(&containers).contains("begins so"), "{id:?}");
    }
}

#[test]
fn a_name_that_is_no_text_hides_no_process() {
    let proc = node();
    let folder = proc.path().join("14");
    fs::create_dir(&folder).unwrap();
    // As the kernel cuts it: within the ü.
    let name = b"fourteen_bytes\xc3";
    let mut status = b"Name:\t".to_vec();
    status.extend(name);
    status.extend(b"\nTgid:\t14\n");
    fs::write(folder.join("status"), status).unwrap();
    fs::write(folder.join("comm"), name).unwrap();
    fs::write(folder.join("cgroup"), "0::/system.slice/\u{e4}\n").unwrap();
    let args = Args {
        pids: vec![14],
        comms: vec!["fourteen_bytes\u{fc}".into()],
        ..Args::default()
    };
    let mut named = Selection::new(&args, proc.path()).unwrap();
    assert_eq!(named.targets(), [14]);
    assert!(named.wants_process(14));
    assert!(named.wants(subject(14, "a_thread_of_it")));
}
