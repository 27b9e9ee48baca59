use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    process::{self, Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::*;

fn new() -> Listeners {
    Listeners::new(Path::new("/proc"))
}

fn find(sweep: &Sweep, address: SocketAddr) -> Vec<Listener> {
    let all = sweep.listeners.iter().copied();
    all.filter(|one| one.local == address).collect()
}

#[test]
fn a_listener_of_this_process_is_found_with_its_queue_and_owner() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket that listens");
    let address = socket.local_addr().expect("its address");
    let waiting: Vec<_> = (0..3)
        .map(|_| std::net::TcpStream::connect(address))
        .collect();
    assert!(waiting.iter().all(Result::is_ok));
    let mut listeners = new();
    let sweep = listeners.sweep().expect("a sweep");
    let [found] = find(&sweep, address)[..] else {
        panic!("{sweep:?}");
    };
    let inode = rustix::fs::fstat(socket.as_fd()).expect("a file").st_ino;
    let namespace = std::fs::metadata("/proc/self/ns/net").expect("a namespace");
    assert_eq!(u64::from(found.inode), inode);
    assert_eq!(found.namespace, namespace.ino());
    assert_eq!(found.owner, Some(process::id()));
    assert_eq!((found.queue, found.drops), (3, 0));
    // What the standard library asks for.
    assert!(found.limit >= 128, "{found:?}");
    assert!(
        sweep.walked.is_some() && sweep.without_drops == 0,
        "{sweep:?}"
    );
    drop(socket);
    let sweep = listeners.sweep().expect("a sweep");
    assert!(
        find(&sweep, address)
            .iter()
            .all(|one| one.cookie != found.cookie)
    );
}

/// Listens in a network namespace of its own with room for one connection, and does as it is told: `flood` has 20 clients connect at a time of which two find room, and go again;
/// `count` tells what the namespace's kernel has counted.
const SCRIPT: &str = "
import socket, struct, subprocess, sys, time
subprocess.check_call(['ip', 'link', 'set', 'lo', 'up'])
listener = socket.socket()
listener.bind(('127.0.0.1', 4712))
listener.listen(1)
def counters():
    lines = [line.split() for line in open('/proc/net/netstat') if line.startswith('TcpExt')]
    return dict(zip(lines[0], lines[1]))
def flood():
    clients = [socket.socket() for _ in range(20)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(('127.0.0.1', 4712))
    time.sleep(0.2)
    for client in clients:
        # With a reset, so that nobody tries again.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.close()
print('ready', flush=True)
for line in sys.stdin:
    if line.strip() == 'flood':
        flood()
    now = counters()
    print(now['ListenDrops'], now['ListenOverflows'], flush=True)
";

struct Crowded {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Crowded {
    /// None where this process may make no network namespace.
    fn start() -> Option<Self> {
        let mut child = Command::new("unshare")
            .args(["--net", "python3", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let orders = child.stdin.take()?;
        let answers = BufReader::new(child.stdout.take()?);
        let mut crowded = Self {
            child,
            orders,
            answers,
        };
        if crowded.line() == "ready" {
            return Some(crowded);
        }
        drop(crowded.orders);
        let _ = crowded.child.wait();
        None
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.answers.read_line(&mut line);
        line.trim().to_owned()
    }

    /// `ListenDrops` and `ListenOverflows` after this order.
    fn order(&mut self, order: &str) -> (u32, u32) {
        writeln!(self.orders, "{order}").expect("somebody who reads");
        let line = self.line();
        let (drops, overflows) = line.split_once(' ').expect("two numbers");
        (
            drops.parse().expect("a number"),
            overflows.parse().expect("a number"),
        )
    }

    fn end(mut self) {
        drop(self.orders);
        let _ = self.child.wait();
    }
}

#[test]
fn what_a_full_queue_drops_is_what_the_namespaces_kernel_counts() {
    let Some(mut crowded) = Crowded::start() else {
        eprintln!("left out: no network namespace can be made here");
        return;
    };
    let mut listeners = new();
    // Before the first sweep: it is not to be told of.
    let (before, _) = crowded.order("flood");
    let address = "127.0.0.1:4712".parse().expect("an address");
    let sweep = |listeners: &mut Listeners| {
        let sweep = listeners.sweep().expect("a sweep");
        match find(&sweep, address)[..] {
            [one] => one,
            ref other => panic!("{other:?}"),
        }
    };
    let first = sweep(&mut listeners);
    assert_eq!((first.drops, first.owner), (0, Some(crowded.child.id())));
    assert_eq!((first.queue, first.limit), (2, 1));
    let mut told = 0;
    for _ in 0..2 {
        crowded.order("flood");
        told += sweep(&mut listeners).drops;
    }
    let (after, overflows) = crowded.order("count");
    assert!(before >= 18 && after >= before + 36, "{before}, {after}");
    assert_eq!(told, after - before);
    assert_eq!(overflows, after, "nothing else was a reason");
    assert_eq!(sweep(&mut listeners).drops, 0);
    crowded.end();
}
