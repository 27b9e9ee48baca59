use std::{
    fs,
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
};

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use self::namespace::Node;
use super::*;

mod namespace;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn tcp(local: SocketAddr, remote: SocketAddr) -> Tuple {
    Tuple {
        protocol: Protocol::TCP,
        source: local,
        destination: remote,
    }
}

/// What a process sees of its connection.
fn seen(stream: &TcpStream) -> Tuple {
    let local = stream.local_addr().expect("an address");
    tcp(local, stream.peer_addr().expect("an address"))
}

/// A node with pods; none, and a word about it, where none can be made.
fn node() -> Option<Node> {
    let node = Node::new();
    if node.is_none() {
        eprintln!("left out: no network namespace can be made here, or there is no nft");
    }
    node
}

fn listen(node: &Node, on: &str) -> TcpListener {
    node.serves
        .within(|| TcpListener::bind(on).expect("a socket that listens"))
}

/// One that asks in the node's namespace, as long as a busy machine may take for it.
fn conntrack(node: &Node) -> Conntrack {
    let conntrack = node.node.within(|| Conntrack::new(Path::new("/proc")));
    Conntrack {
        share: Duration::MAX,
        ..conntrack
    }
}

fn look_up(conntrack: &mut Conntrack, tuple: Tuple) -> Destination {
    let Tuple {
        protocol,
        source,
        destination,
    } = tuple;
    conntrack.destination(protocol, source, destination, Instant::now())
}

fn all(conntrack: &Conntrack) -> u64 {
    let mut all = 0;
    conntrack.counts().each(&mut |_, count| all += count);
    all
}

#[test]
fn a_service_shows_the_pod_behind_it() {
    let Some(node) = node() else { return };
    let mut conntrack = conntrack(&node);
    assert_eq!(conntrack.state(), State::Works);
    for (service, pod) in [
        ("10.96.0.10:80", "10.1.1.2:8080"),
        ("[fd96::10]:80", "[fd01:1::2]:8080"),
    ] {
        let listener = listen(&node, pod);
        for asks in [&node.asks, &node.node] {
            let client = asks.within(|| TcpStream::connect(service).expect("a connection"));
            let (server, _) = listener.accept().expect("its other end");
            // What arrived where, the server says.
            let arrived = server.local_addr().expect("an address");
            assert_eq!(arrived, address(pod));
            let seen = seen(&client);
            assert_eq!(seen.destination, address(service));
            let found = look_up(&mut conntrack, seen);
            assert_eq!(found, Destination::Translated(arrived));
            // Again, as a service is not remembered; and after its end.
            drop((client, server));
            assert_eq!(look_up(&mut conntrack, seen), found);
        }
    }
    let counts = conntrack.counts();
    assert_eq!(counts.get(Lookup::Translated), 8);
    assert_eq!(all(&conntrack), 8);
}

#[test]
fn what_is_not_translated_is_asked_for_once_in_a_while() {
    let Some(node) = node() else { return };
    let mut conntrack = conntrack(&node);
    let listener = listen(&node, "10.1.1.2:8080");
    let connect = || {
        node.asks
            .within(|| TcpStream::connect("10.1.1.2:8080").expect("a connection"))
    };
    let clients = [connect(), connect()];
    let _servers = [listener.accept(), listener.accept()];
    for client in &clients {
        assert_eq!(look_up(&mut conntrack, seen(client)), Destination::Plain);
    }
    let counts = conntrack.counts();
    assert_eq!(counts.get(Lookup::Plain), 1);
    assert_eq!(counts.get(Lookup::Cached), 1);
    let later = Instant::now() + Duration::from_secs(31);
    let tuple = seen(&clients[1]);
    let found = conntrack.destination(tuple.protocol, tuple.source, tuple.destination, later);
    assert_eq!(found, Destination::Plain);
    assert_eq!(counts.get(Lookup::Plain), 2);
}

#[test]
fn each_connection_to_a_service_has_its_own_pod() {
    let Some(node) = node() else { return };
    let mut conntrack = conntrack(&node);
    let listener = listen(&node, "0.0.0.0:80");
    let mut connections = Vec::new();
    for _ in 0..100 {
        let client = node
            .asks
            .within(|| TcpStream::connect("10.96.0.11:80").expect("a connection"));
        connections.push((client, listener.accept().expect("its other end").0));
    }
    let mut tuples: Vec<_> = connections.iter().map(|(client, _)| seen(client)).collect();
    // Strangers between: more than a batch in all, and not every answer an entry.
    let strangers = tuples.clone().into_iter().map(|tuple| Tuple {
        source: address("10.1.0.3:1"),
        destination: SocketAddr::new([10, 96, 1, 0].into(), tuple.source.port()),
        ..tuple
    });
    tuples.extend(strangers.collect::<Vec<_>>());
    let mut found = vec![None; tuples.len()];
    conntrack.destinations(&tuples, Instant::now(), &mut |at, destination| {
        assert_eq!(found[at].replace(destination), None, "told twice");
    });
    let mut pods = [0, 0];
    for ((_, server), found) in connections.iter().zip(&found) {
        let arrived = server.local_addr().expect("an address");
        assert_eq!(*found, Some(Destination::Translated(arrived)));
        pods[usize::from(arrived == address("10.1.1.3:80"))] += 1;
    }
    assert_eq!(pods, [50, 50]);
    assert!(
        found[100..]
            .iter()
            .all(|one| *one == Some(Destination::Unknown))
    );
    let counts = conntrack.counts();
    assert_eq!(counts.get(Lookup::NotFound), 100);
    assert_eq!(all(&conntrack), 200);
}

#[test]
fn addresses_of_ipv4_within_ipv6_and_other_protocols_are_found() {
    let Some(node) = node() else { return };
    let mut conntrack = conntrack(&node);
    let listener = listen(&node, "[::]:8080");
    let client = node
        .asks
        .within(|| TcpStream::connect("[::ffff:10.96.0.10]:80").expect("a connection"));
    let _server = listener.accept().expect("its other end");
    let mapped = seen(&client);
    assert!(mapped.source.is_ipv6());
    let pod = Destination::Translated(address("10.1.1.2:8080"));
    assert_eq!(look_up(&mut conntrack, mapped), pod);
    let (server, client) = (
        node.serves
            .within(|| UdpSocket::bind("10.1.1.2:5353").expect("a socket")),
        node.asks
            .within(|| UdpSocket::bind("10.1.0.2:0").expect("a socket")),
    );
    client.connect("10.96.0.10:53").expect("an address");
    client.send(b"?").expect("room");
    server.recv(&mut [0]).expect("what was sent");
    let tuple = Tuple {
        protocol: Protocol::UDP,
        source: client.local_addr().expect("an address"),
        destination: address("10.96.0.10:53"),
    };
    let pod = Destination::Translated(address("10.1.1.2:5353"));
    assert_eq!(look_up(&mut conntrack, tuple), pod);
    // The same ports of TCP are another connection.
    let other = Tuple {
        protocol: Protocol::TCP,
        ..tuple
    };
    assert_eq!(look_up(&mut conntrack, other), Destination::Unknown);
}

#[test]
fn the_end_that_accepted_is_told_nothing() {
    let Some(node) = node() else { return };
    let mut conntrack = conntrack(&node);
    let listener = listen(&node, "10.1.1.2:8080");
    let _client = node
        .asks
        .within(|| TcpStream::connect("10.96.0.10:80").expect("a connection"));
    let (server, _) = listener.accept().expect("its other end");
    let found = look_up(&mut conntrack, seen(&server));
    assert_eq!(found, Destination::Unknown);
    assert_eq!(conntrack.counts().get(Lookup::NotFound), 1);
}

#[test]
fn without_leave_it_says_so_and_asks_no_more() {
    let Some(node) = node() else { return };
    let (state, counts) = node.node.within(|| {
        let mut sets = capabilities(None).expect("this thread's");
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).expect("less is allowed");
        let mut conntrack = Conntrack::new(Path::new("/proc"));
        let tuple = tcp(address("10.1.0.2:1"), address("10.96.0.10:80"));
        for _ in 0..3 {
            assert_eq!(look_up(&mut conntrack, tuple), Destination::Unknown);
        }
        (conntrack.state(), conntrack.counts())
    });
    assert_eq!(state, State::Denied(Errno::PERM));
    assert_eq!(
        (counts.get(Lookup::Denied), counts.get(Lookup::Off)),
        (1, 2)
    );
}

#[test]
fn where_there_is_none_nothing_is_asked_until_there_is() {
    let proc = tempfile::tempdir().expect("a folder");
    let mut conntrack = Conntrack::new(proc.path());
    assert_eq!(conntrack.state(), State::Absent);
    let mut at = |seconds| {
        let now = Instant::now() + Duration::from_secs(seconds);
        let (local, remote) = (address("10.1.0.2:1"), address("10.96.0.10:80"));
        conntrack.destination(Protocol::TCP, local, remote, now);
        conntrack.counts().get(Lookup::Off)
    };
    assert_eq!(at(0), 1);
    let folder = proc.path().join("sys/net/netfilter");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("nf_conntrack_count"), "17\n").expect("a file");
    assert_eq!(at(30), 2);
    assert_eq!(at(61), 2);
    assert_eq!(Usage::read(proc.path()), None);
    fs::write(folder.join("nf_conntrack_max"), "262144\n").expect("a file");
    let usage = Usage {
        entries: 17,
        limit: 262_144,
    };
    assert_eq!(Usage::read(proc.path()), Some(usage));
}

#[test]
fn destinations_that_no_node_translates_are_not_asked_for() {
    let mut conntrack = Conntrack::new(Path::new("/proc"));
    for (local, remote) in [
        ("127.0.0.1:1000", "127.0.0.1:80"),
        ("[::1]:1000", "[::1]:80"),
        ("[::ffff:127.0.0.1]:1000", "[::ffff:127.0.0.1]:80"),
        ("10.0.0.1:1000", "224.0.0.1:80"),
        ("10.0.0.1:1000", "255.255.255.255:80"),
        ("[fe80::1]:1000", "[fe80::2]:80"),
        ("10.0.0.1:1000", "0.0.0.0:80"),
        ("10.0.0.1:1000", "10.0.0.2:0"),
        ("10.0.0.1:1000", "[2001:db8::1]:80"),
    ] {
        let found = look_up(&mut conntrack, tcp(address(local), address(remote)));
        assert_eq!(found, Destination::Plain, "{remote}");
    }
    assert_eq!(conntrack.counts().get(Lookup::Local), 9);
    assert_eq!(all(&conntrack), 9);
}

#[test]
fn look_ups_take_no_more_than_their_share_of_a_second() {
    let mut conntrack = Conntrack::new(Path::new("/proc"));
    if conntrack.state() != State::Works {
        eprintln!("left out: {}", conntrack.state());
        return;
    }
    conntrack.window = (Instant::now(), SHARE);
    let tuple = |last| {
        tcp(
            address("10.0.0.1:1000"),
            SocketAddr::new([10, 0, 0, last].into(), 80),
        )
    };
    look_up(&mut conntrack, tuple(2));
    assert_eq!(conntrack.counts().get(Lookup::Limited), 1);
    thread::sleep(WINDOW);
    look_up(&mut conntrack, tuple(2));
    assert_eq!(conntrack.counts().get(Lookup::Limited), 1);
    assert_eq!(all(&conntrack), 2);
}
