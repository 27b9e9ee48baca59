//! Network namespaces that a test makes for itself, as a node with its pods has them.

use std::{
    fs::{self, File},
    io::Write as _,
    os::fd::AsFd as _,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// One of them; a process that sleeps keeps it.
pub(super) struct Namespace(Child);

impl Namespace {
    /// None where this process may make none.
    pub(super) fn new() -> Option<Self> {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut namespace = Self(child);
        let own = fs::read_link("/proc/self/ns/net").ok()?;
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if namespace.0.try_wait().ok()?.is_some() {
                return None;
            }
            // It has moved, and is `sleep` already: else what is seen may be a copy of this process.
            let comm = fs::read_to_string(format!("/proc/{}/comm", namespace.0.id()));
            let moved = fs::read_link(namespace.path()).is_ok_and(|link| link != own);
            if moved && comm.is_ok_and(|comm| comm.trim() == "sleep") {
                return Some(namespace);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Calls `f` in it, on a thread that ends with it. Sockets that it opens stay there.
    pub(super) fn within<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).expect("a namespace");
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("it may be entered");
                f()
            });
            inside.join().expect("no panic within")
        })
    }

    /// Runs these commands there, one a line, of words that are set apart by spaces.
    pub(super) fn run(&self, lines: &str) {
        for line in lines.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(program) = words.next() else {
                continue;
            };
            let mut command = Command::new(program);
            let output = self.within(|| command.args(words).output());
            assert_ran(line, &output.expect("a program"));
        }
    }

    /// Writes `1` into a switch of `/proc/sys/net`.
    fn switch_on(&self, name: &str) {
        let path = format!("/proc/sys/net/{name}");
        self.within(|| fs::write(&path, "1"))
            .expect("a switch of this namespace");
    }

    /// Gives it these rules of nft.
    fn rules(&self, rules: &str) {
        let mut child = self.within(|| {
            let mut command = Command::new("nft");
            command.args(["-f", "-"]).stdin(Stdio::piped());
            command.stderr(Stdio::piped()).spawn().expect("nft")
        });
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(rules.as_bytes()).expect("it reads");
        drop(input);
        assert_ran(rules, &child.wait_with_output().expect("its end"));
    }
}

fn assert_ran(what: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node with two pods: one that asks (10.1.0.2), and one that has two addresses (10.1.1.2 and 10.1.1.3) behind the services 10.96.0.10 and fd96::10.
pub(super) struct Node {
    pub(super) node: Namespace,
    pub(super) asks: Namespace,
    pub(super) serves: Namespace,
}

/// As kube-proxy does: what pods send is translated when it comes in, what the node itself sends when it goes out.
const RULES: &str = "
table inet services {
  chain service {
    ip daddr 10.96.0.10 tcp dport 80 dnat ip to 10.1.1.2:8080
    ip daddr 10.96.0.11 tcp dport 80 dnat ip to numgen inc mod 2 map { 0 : 10.1.1.2, 1 : 10.1.1.3 }
    ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.1.1.2:5353
    ip6 daddr fd96::10 tcp dport 80 dnat ip6 to [fd01:1::2]:8080
  }
  chain prerouting { type nat hook prerouting priority -100; jump service; }
  chain output { type nat hook output priority -100; jump service; }
}
";

impl Node {
    /// None where this process may make none, or the machine has no nft.
    pub(super) fn new() -> Option<Self> {
        let has_nft = Command::new("nft").arg("--version").output().is_ok();
        if !has_nft {
            return None;
        }
        let node = Self {
            node: Namespace::new()?,
            asks: Namespace::new()?,
            serves: Namespace::new()?,
        };
        for (pod, name, net) in [(&node.asks, "asks", 0), (&node.serves, "serves", 1)] {
            let pid = pod.pid();
            node.node.run(&format!(
                "ip link add {name} type veth peer name eth0 netns {pid}
                ip addr add 10.1.{net}.1/24 dev {name}
                ip addr add fd01:{net}::1/64 dev {name} nodad
                ip link set {name} up"
            ));
            pod.run(&format!(
                "ip link set lo up
                ip addr add 10.1.{net}.2/24 dev eth0
                ip addr add 10.1.{net}.3/24 dev eth0
                ip addr add fd01:{net}::2/64 dev eth0 nodad
                ip link set eth0 up
                ip route add default via 10.1.{net}.1
                ip -6 route add default via fd01:{net}::1"
            ));
        }
        node.node.switch_on("ipv4/ip_forward");
        node.node.switch_on("ipv6/conf/all/forwarding");
        node.node.rules(RULES);
        // A route that the node's own connections to a service have before they are translated.
        node.node.run(
            "ip link set lo up
            ip route add 10.96.0.0/24 via 10.1.1.2
            ip -6 route add fd96::/64 via fd01:1::2",
        );
        Some(node)
    }
}
