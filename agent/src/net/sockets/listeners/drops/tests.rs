use super::*;
use crate::net::sockets::{
    Socket,
    diag::{Family, State},
};

fn found(namespace: u64, cookie: u64, drops: u32) -> Found {
    let socket = Socket {
        family: Family::V4,
        state: State::LISTEN,
        local: "0.0.0.0:80".parse().expect("an address"),
        remote: "0.0.0.0:0".parse().expect("an address"),
        interface: 0,
        cookie,
        inode: 1,
        uid: 0,
        receive_queue: 0,
        send_queue: 128,
        only_v6: false,
    };
    Found {
        namespace,
        socket,
        drops: Some(drops),
    }
}

/// A list of these (namespace, cookie, drops), whole for namespace 1 and those that are given.
fn list(found_here: &[(u64, u64, u32)], whole: &[u64]) -> List {
    List {
        found: found_here.iter().map(|&(a, b, c)| found(a, b, c)).collect(),
        whole: whole.iter().copied().collect(),
        ..List::default()
    }
}

#[test]
fn what_was_dropped_before_the_first_sweep_does_not_count() {
    let mut drops = Drops::default();
    drops.update(&list(&[(1, 10, 500)], &[1]));
    assert_eq!(drops.since(10), 0);
    drops.update(&list(&[(1, 10, 507)], &[1]));
    assert_eq!(drops.since(10), 7);
    drops.update(&list(&[(1, 10, 507)], &[1]));
    assert_eq!(drops.since(10), 0);
    assert_eq!(drops.since(11), 0);
}

#[test]
fn a_counter_may_wrap() {
    let mut drops = Drops::default();
    drops.update(&list(&[(1, 10, u32::MAX - 1)], &[1]));
    drops.update(&list(&[(1, 10, 3)], &[1]));
    assert_eq!(drops.since(10), 5);
}

#[test]
fn one_that_was_made_since_counts_whole_if_that_is_certain() {
    let mut drops = Drops::default();
    drops.update(&list(&[], &[1]));
    // In namespace 2 it may have been there before.
    drops.update(&list(&[(1, 10, 4), (2, 20, 9)], &[1, 2]));
    assert_eq!((drops.since(10), drops.since(20)), (4, 0));
}

#[test]
fn those_that_are_gone_are_forgotten() {
    let mut drops = Drops::default();
    drops.update(&list(&[(1, 10, 4), (2, 20, 9)], &[1, 2]));
    drops.update(&list(&[(1, 11, 0)], &[1]));
    // With the last socket, a namespace is gone, too.
    assert_eq!(drops.known.keys().collect::<Vec<_>>(), [&11]);
}

#[test]
fn a_list_that_broke_off_forgets_nothing() {
    let mut drops = Drops::default();
    drops.update(&list(&[(1, 10, 4), (2, 20, 9), (2, 21, 1)], &[1, 2]));
    let mut broken = list(&[(2, 21, 2)], &[1]);
    broken.broken = 1;
    drops.update(&broken);
    assert_eq!(drops.since(21), 1);
    // The first is gone, for its namespace's list was whole.
    assert!(!drops.known.contains_key(&10));
    drops.update(&list(&[(2, 20, 12), (2, 21, 2)], &[1, 2]));
    assert_eq!((drops.since(20), drops.since(21)), (3, 0));
}

#[test]
fn lists_that_are_never_whole_do_not_add_up() {
    let mut drops = Drops::default();
    let many = MAX_LISTENERS as u64;
    for sweep in 0..5 {
        let cookies = (0..many).map(|cookie| (1, sweep * many + cookie, 0));
        let mut broken = list(&cookies.collect::<Vec<_>>(), &[]);
        broken.overflowed = 1;
        drops.update(&broken);
    }
    assert!(drops.known.len() <= 2 * MAX_LISTENERS);
}

#[test]
fn without_a_counter_nothing_is_told() {
    let mut drops = Drops::default();
    let mut silent = list(&[(1, 10, 0)], &[1]);
    silent.found[0].drops = None;
    drops.update(&silent);
    assert!(drops.known.is_empty());
}
