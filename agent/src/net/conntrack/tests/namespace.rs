//! Network namespaces that a test makes for itself, as a node with its pods has them.

use std::{
    fs::{self, File},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
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

    /// Runs these commands there, one a line; `@` stands for the process that keeps the namespace `other`.
    pub(super) fn run(&self, lines: &str, other: Option<&Self>) {
        let lines = match other {
            Some(other) => lines.replace('@', &other.pid().to_string()),
            None => lines.to_owned(),
        };
        self.within(|| {
            let output = Command::new("sh").args(["-ec", &lines]).output();
            let output = output.expect("a shell");
            assert!(
                output.status.success(),
                "{lines}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        });
    }
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
const RULES: &str = "nft -f - <<'END'
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
END";

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
            node.node.run(
                &format!(
                    "ip link add {name} type veth peer name eth0 netns @
                    ip addr add 10.1.{net}.1/24 dev {name}
                    ip addr add fd01:{net}::1/64 dev {name} nodad
                    ip link set {name} up"
                ),
                Some(pod),
            );
            pod.run(
                &format!(
                    "ip link set lo up
                    ip addr add 10.1.{net}.2/24 dev eth0
                    ip addr add 10.1.{net}.3/24 dev eth0
                    ip addr add fd01:{net}::2/64 dev eth0 nodad
                    ip link set eth0 up
                    ip route add default via 10.1.{net}.1
                    ip -6 route add default via fd01:{net}::1"
                ),
                None,
            );
        }
        node.node.run(
            &format!(
                "ip link set lo up
                echo 1 > /proc/sys/net/ipv4/ip_forward
                echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
                {RULES}"
            ),
            None,
        );
        // A route that the node's own connections to a service have before they are translated.
        node.node.run(
            "ip route add 10.96.0.0/24 via 10.1.1.2
            ip -6 route add fd96::/64 via fd01:1::2",
            None,
        );
        Some(node)
    }
}
