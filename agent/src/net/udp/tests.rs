use fathom_abi::{
    Role,
    udp::{RemoteClass, UdpFlow, UdpKey},
};

use super::{IDLE_NS, SCARCE_NS, Traffic, Udp};

fn key(tgid: u32) -> UdpKey {
    let mut remote_addr = [0; 16];
    remote_addr[10..].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
    UdpKey {
        tgid,
        remote_port: 443,
        remote_addr,
        role: Role::CLIENT,
        ..UdpKey::default()
    }
}

fn flow(born_ns: u64, last_ns: u64, packets: [u64; 2]) -> UdpFlow {
    UdpFlow {
        born_ns,
        last_ns,
        bytes: packets.map(|count| count * 100),
        packets,
        ..UdpFlow::default()
    }
}

fn look(udp: &mut Udp, entries: &[(UdpKey, UdpFlow)], now_ns: u64) -> (Vec<Traffic>, Vec<UdpKey>) {
    let mut seen = Vec::new();
    let idle = udp.look(entries.iter().copied(), now_ns, &mut |traffic, _| {
        seen.push(*traffic);
    });
    (seen, idle)
}

#[test]
fn each_look_gives_what_went_by_since_the_one_before() {
    let mut udp = Udp::new(100);
    let (seen, idle) = look(&mut udp, &[(key(1), flow(5, 6, [1, 2]))], 10);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].packets, seen[0].bytes), ([1, 2], [100, 200]));
    assert_eq!(seen[0].peer(), Some("127.0.0.1:443".parse().expect("one")));
    assert_eq!(seen[0].class, RemoteClass::LOOPBACK);
    assert!(idle.is_empty());
    let (seen, _) = look(&mut udp, &[(key(1), flow(5, 9, [1, 7]))], 11);
    assert_eq!((seen[0].packets, seen[0].bytes), ([0, 5], [0, 500]));
    let (seen, _) = look(&mut udp, &[(key(1), flow(5, 9, [1, 7]))], 12);
    assert!(seen.is_empty());
    assert_eq!(udp.counts().packets(), 8);
}

#[test]
fn an_entry_that_is_made_again_starts_anew() {
    let mut udp = Udp::new(100);
    look(&mut udp, &[(key(1), flow(5, 6, [3, 3]))], 10);
    let (seen, _) = look(&mut udp, &[(key(1), flow(7, 8, [4, 4]))], 10);
    assert_eq!(seen[0].packets, [4, 4]);
    // Gone, and back with the same time of birth as never before.
    look(&mut udp, &[], 10);
    let (seen, _) = look(&mut udp, &[(key(1), flow(9, 9, [1, 0]))], 10);
    assert_eq!(seen[0].packets, [1, 0]);
}

#[test]
fn a_name_that_was_found_stays_until_the_entry_is_made_again() {
    let mut udp = Udp::new(100);
    let mut named = |flow, found: Option<&str>| {
        let mut seen = None;
        udp.look([(key(1), flow)].into_iter(), 10, &mut |_, name| {
            if name.is_none() {
                *name = found.map(Into::into);
            }
            seen.clone_from(name);
        });
        seen
    };
    assert_eq!(named(flow(5, 6, [1, 0]), None), None);
    let name = named(flow(5, 7, [2, 0]), Some("a.example"));
    assert_eq!(name.as_deref(), Some("a.example"));
    let name = named(flow(5, 8, [3, 0]), Some("b.example"));
    assert_eq!(name.as_deref(), Some("a.example"));
    assert_eq!(named(flow(9, 9, [1, 0]), None), None);
}

#[test]
fn idle_entries_are_to_go_sooner_where_there_is_little_room() {
    let mut udp = Udp::new(4);
    let few: Vec<_> = (0..3).map(|tgid| (key(tgid), flow(1, 1, [1, 1]))).collect();
    let (_, idle) = look(&mut udp, &few, SCARCE_NS + 2);
    assert!(idle.is_empty());
    let (_, idle) = look(&mut udp, &few, IDLE_NS + 2);
    assert_eq!(idle.len(), 3);
    let many: Vec<_> = (0..4).map(|tgid| (key(tgid), flow(1, 1, [1, 1]))).collect();
    let (_, idle) = look(&mut udp, &many, SCARCE_NS + 2);
    assert_eq!(idle.len(), 4);
}

#[test]
fn a_servers_other_ends_have_a_class_and_no_address() {
    let mut udp = Udp::new(4);
    let key = UdpKey {
        tgid: 1,
        local_port: 53,
        role: Role::SERVER,
        class: RemoteClass::PRIVATE,
        ..UdpKey::default()
    };
    let (seen, _) = look(&mut udp, &[(key, flow(1, 1, [1, 1]))], 1);
    assert_eq!(
        (seen[0].remote, seen[0].peer(), seen[0].class),
        (None, None, RemoteClass::PRIVATE)
    );
    assert_eq!(seen[0].local_port, 53);
}
