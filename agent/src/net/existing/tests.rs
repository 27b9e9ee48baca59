use std::net::{TcpListener, TcpStream};

use super::*;
use crate::net::sockets::diag::{Family, State};

fn socket(local: &str, remote: &str) -> Socket {
    Socket {
        family: Family::V4,
        state: State::ESTABLISHED,
        local: local.parse().expect("an address"),
        remote: remote.parse().expect("an address"),
        interface: 0,
        cookie: 1,
        inode: 1,
        uid: 0,
        receive_queue: 0,
        send_queue: 0,
        only_v6: false,
    }
}

fn existing(sockets: &[(Socket, Role)]) -> Existing {
    let mut table = Table::default();
    for (socket, role) in sockets {
        table.take(socket, *role);
    }
    Existing::new(table, Listed::default())
}

#[test]
fn roles_are_found_by_both_ends() {
    let server = socket("10.0.0.1:80", "10.0.0.2:40000");
    let client = socket("10.0.0.1:40000", "10.0.0.2:80");
    let unknown = socket("10.0.0.1:8080", "10.0.0.2:80");
    let existing = existing(&[
        (server, Role::SERVER),
        (client, Role::CLIENT),
        (unknown, Role::UNKNOWN),
    ]);
    let role = |socket: Socket| existing.role(socket.local, socket.remote);
    assert_eq!(role(server), Role::SERVER);
    assert_eq!(role(client), Role::CLIENT);
    assert_eq!(role(unknown), Role::UNKNOWN);
    assert_eq!(role(socket("10.0.0.1:81", "10.0.0.2:40000")), Role::UNKNOWN);
    let counts = existing.counts();
    assert_eq!((counts.server, counts.client, counts.unknown), (1, 1, 1));
}

#[test]
fn the_same_ends_in_two_namespaces_have_a_role_only_where_it_is_the_same() {
    let loopback = socket("127.0.0.1:40000", "127.0.0.1:80");
    let same = existing(&[(loopback, Role::CLIENT), (loopback, Role::CLIENT)]);
    assert_eq!(same.role(loopback.local, loopback.remote), Role::CLIENT);
    let two = existing(&[(loopback, Role::CLIENT), (loopback, Role::SERVER)]);
    assert_eq!(two.role(loopback.local, loopback.remote), Role::UNKNOWN);
}

#[test]
fn there_is_an_end_to_what_is_remembered() {
    let one = socket("10.0.0.1:80", "10.0.0.2:40000");
    let mut table = Table::default();
    for _ in 0..MAX_CONNECTIONS + 5 {
        table.take(&one, Role::SERVER);
    }
    assert_eq!(table.folded.len(), MAX_CONNECTIONS);
    assert_eq!(table.counts.forgotten, 5);
    assert_eq!(table.counts.server, MAX_CONNECTIONS as u64 + 5);
}

#[test]
fn the_search_finds_a_connection_of_this_process() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a peer");
    let search = Search::start(Duration::from_secs(20)).expect("a thread");
    let (existing, listed) = search.finish();
    let local = client.local_addr().expect("an address");
    let remote = client.peer_addr().expect("an address");
    assert_eq!(existing.role(local, remote), Role::CLIENT);
    assert_eq!(existing.role(remote, local), Role::SERVER);
    assert!(listed.iter().any(|one| one.socket.local == local));
    assert!(existing.counts().client >= 1 && existing.counts().listed.namespaces >= 1);
}
