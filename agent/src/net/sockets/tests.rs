use std::{
    collections::BTreeMap,
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

type Ends = (SocketAddr, SocketAddr);

fn all_here() -> BTreeMap<Ends, (Socket, Role)> {
    let mut found = BTreeMap::new();
    here(soon(), Extensions::NONE, &mut |socket, _, role| {
        found.insert((socket.local, socket.remote), (*socket, role));
    })
    .expect("a list");
    found
}

/// A connection, with the listening socket, on this address.
fn pair(address: &str) -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).expect("a socket that listens");
    let client =
        TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let (server, _) = listener.accept().expect("its other end");
    (listener, client, server)
}

fn ends(stream: &TcpStream) -> Ends {
    let local = stream.local_addr().expect("an address");
    (local, stream.peer_addr().expect("an address"))
}

#[test]
fn both_ends_of_a_connection_are_listed_with_their_roles() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, client, server) = pair(address);
        let found = all_here();
        let (socket, role) = found[&ends(&client)];
        assert_eq!(
            (socket.state, role),
            (diag::State::ESTABLISHED, Role::CLIENT)
        );
        assert!(socket.inode != 0 && socket.cookie != 0);
        let (other, role) = found[&ends(&server)];
        assert_eq!(role, Role::SERVER);
        assert_ne!(other.cookie, socket.cookie);
        // Nobody listens any more: the port is one that clients may have, too, and a server is taken for one.
        drop(listener);
        drop((client, server));
        let found = all_here();
        assert!(found.values().all(|(one, _)| one.cookie != socket.cookie));
    }
}

#[test]
fn what_waits_in_a_socket_is_told() {
    use std::io::Write as _;
    let (_listener, mut client, server) = pair("127.0.0.1:0");
    client.write_all(b"twelve bytes").expect("room");
    let found = all_here();
    assert_eq!(found[&ends(&server)].0.receive_queue, 12);
}

#[test]
fn what_is_asked_for_too_late_is_an_error() {
    let error = here(Instant::now(), Extensions::NONE, &mut |_, _, _| {
        panic!("too late")
    });
    assert!(matches!(error, Err(dump::Error::TooLate)));
}

/// A process in a network namespace of its own, with a connection to itself. None where this process may not make one.
fn elsewhere() -> Option<Child> {
    let script = "
import socket, subprocess, sys
subprocess.check_call(['ip', 'link', 'set', 'lo', 'up'])
listener = socket.create_server(('127.0.0.1', 4711))
client = socket.create_connection(('127.0.0.1', 4711))
server, _ = listener.accept()
print(client.getsockname()[1], flush=True)
sys.stdin.read()
";
    let mut child = Command::new("unshare")
        .args(["--net", "python3", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut said = [0; 6];
    match child.stdout.as_mut()?.read_exact(&mut said) {
        Ok(()) => Some(child),
        Err(_) => {
            let _ = child.wait();
            None
        }
    }
}

#[test]
fn connections_in_another_namespace_are_listed_and_this_thread_stays() {
    let Some(mut child) = elsewhere() else {
        eprintln!("left out: no network namespace can be made here");
        return;
    };
    let before = fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
    let search = list(
        Duration::from_secs(20),
        Extensions::NONE,
        Vec::new(),
        |all: &mut Vec<_>, found: &Found<'_>| all.push((found.socket.local, found.role)),
    )
    .expect("a thread");
    let list = search.join().expect("an end");
    let (found, listed) = (list.into, list.listed);
    let server: SocketAddr = "127.0.0.1:4711".parse().expect("an address");
    assert!(found.contains(&(server, Role::SERVER)), "{found:?}");
    assert!(listed.namespaces >= 2, "{listed:?}");
    assert_eq!(listed.connections, found.len() as u64);
    let after = fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
    assert_eq!(before, after);
    drop(child.stdin.take());
    let _ = child.wait();
}
