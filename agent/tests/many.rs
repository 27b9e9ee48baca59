//! The agent beside many processes and with a backend that takes nothing: what it has stays within its limit.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The default limit, which the documentation promises for heap and maps together.
const LIMIT: u64 = 64 << 20;

/// What of the program's own file is resident where it is optimized. A debug build's takes several times that, so that what is resident of it is not counted here.
const PROGRAM: u64 = 8 << 20;

const PROCESSES: u32 = 200;

/// Processes that each work for 2 ms in a second, with stacks of some twenty frames of the interpreter.
const SUBJECT: &str = r#"
import json, os, random, time
def work(depth):
    if depth: return work(depth - 1)
    end = time.process_time() + 0.002
    while time.process_time() < end: json.dumps({"a": list(range(50))})
for _ in range(int(os.environ["PROCESSES"])):
    if os.fork() == 0:
        time.sleep(random.random())
        while True:
            work(random.randrange(20))
            time.sleep(1)
print("ready", flush=True)
time.sleep(1000)
"#;

/// What ends with the test, with all that it started: it is the leader of a process group.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt as _;
        let child = command.process_group(0).stdin(Stdio::null()).spawn();
        Self(child.expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A port of the loopback interface that nobody listens on.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it has an address")
}

/// The sum of a metric's series whose labels hold this.
fn metric(address: SocketAddr, name: &str, label: &str) -> Option<f64> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let labels = series.strip_prefix(name)?;
        (labels.starts_with('{') && labels.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    Some(values.sum())
}

/// Bytes of BPF maps: as the kernel charges them for those that the process has open, and as they are in its memory for those that it has only mapped to write.
fn map_bytes(pid: u32) -> u64 {
    let mut open = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it lives") {
        // It may have been closed since.
        let text = fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default();
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            open.insert(id, bytes);
        }
    }
    open.values().sum::<u64>()
        + resident(pid, |name| {
            name.contains("rw-s") && name.ends_with("bpf-map")
        })
}

/// Bytes that are resident of those mappings whose line of /proc/PID/smaps is wanted.
fn resident(pid: u32, wanted: impl Fn(&str) -> bool) -> u64 {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("it lives");
    let mut is_wanted = false;
    let mut kib = 0;
    for line in smaps.lines() {
        if let Some(size) = line.strip_prefix("Rss:") {
            let size: u64 = size.trim().trim_end_matches(" kB").parse().expect("a size");
            kib += if is_wanted { size } else { 0 };
        } else if line
            .split_once('-')
            .is_some_and(|(start, _)| u64::from_str_radix(start, 16).is_ok())
        {
            is_wanted = wanted(line);
        }
    }
    kib * 1024
}

#[test]
fn two_hundred_processes_and_no_backend_stay_within_the_limit() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "SKIPPED two_hundred_processes_and_no_backend_stay_within_the_limit: to sample other processes takes root"
        );
        return;
    }
    let _subjects = Running::start(
        Command::new("python3")
            .args(["-c", SUBJECT])
            .env("PROCESSES", PROCESSES.to_string())
            .stdout(Stdio::null()),
    );
    let address = free();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("fathom.yaml");
    fs::write(&config, "profile:\n  interval: 2s\n").expect("written");
    let agent = Running::start(
        Command::new(env!("CARGO_BIN_EXE_fathom"))
            .args(["agent", "--no-table", "--capabilities", "net,profile"])
            .args(["--listen", &address.to_string()])
            .args(["--otlp-endpoint", &format!("http://{}", free())])
            .arg("--config")
            .arg(&config),
    );
    let pid = agent.0.id();
    // A debug build on a busy machine takes its time to start.
    let received = || {
        metric(
            address,
            "fathom_export_received_total",
            r#"signal="profiles""#,
        )
    };
    let patience = Instant::now() + Duration::from_secs(90);
    let wait_for = |profiles: f64| {
        while received().unwrap_or(0.0) < profiles {
            assert!(Instant::now() < patience, "not {profiles} profiles");
            thread::sleep(Duration::from_millis(100));
        }
    };
    wait_for(1.0);
    let end = Instant::now() + Duration::from_secs(6);
    let mut all = Vec::new();
    while Instant::now() < end {
        let own = resident(pid, |line| {
            !line.ends_with("bpf-map") && !line.contains("/fathom")
        });
        let maps = map_bytes(pid);
        all.push((own + maps, own, maps));
        thread::sleep(Duration::from_millis(50));
    }
    // So that it was not measured beside processes that nobody saw.
    wait_for(PROCESSES.into());
    let profiles = received().expect("it answers");
    // Half of the time: what is read of other large programs that run here, compilers most of all, is there for some hundredths of a second each.
    all.sort_unstable();
    let (sum, own, maps) = all[all.len() / 2];
    let said = format!(
        "{profiles} profiles; {} KiB of memory and {} KiB of maps, {} KiB at most",
        own >> 10,
        maps >> 10,
        all[all.len() - 1].0 >> 10,
    );
    eprintln!("{said}");
    assert!(sum + PROGRAM <= LIMIT, "{said}");
}
