use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    sync::Arc,
};

use super::{CEILING_NS, FLOOR_NS, Limits, Names};

const SECOND: u64 = 1_000_000_000;

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn names() -> Names {
    Names::new(Limits::default())
}

#[test]
fn a_name_holds_from_its_answer_for_its_ttl() {
    let names = names();
    let name: Arc<str> = "x.example".into();
    names.learn(7, ip(1), &name, 60, 100 * SECOND);
    assert_eq!(names.name(7, ip(1), 100 * SECOND - 1), None);
    assert_eq!(names.name(7, ip(1), 100 * SECOND).as_ref(), Some(&name));
    assert_eq!(names.name(7, ip(1), 160 * SECOND - 1), Some(name));
    assert_eq!(names.name(7, ip(1), 160 * SECOND), None);
    assert_eq!(names.name(7, ip(2), 100 * SECOND), None);
}

#[test]
fn asking_again_lengthens_a_name_and_takes_nothing_from_it() {
    let names = names();
    let name: Arc<str> = "x.example".into();
    names.learn(7, ip(1), &name, 60, 0);
    names.learn(7, ip(1), &"x.example".into(), 60, 50_000_000);
    // The record of a connection from between comes after the second answer.
    assert_eq!(names.name(7, ip(1), 10_000_000).as_ref(), Some(&name));
    assert_eq!(names.name(7, ip(1), 60 * SECOND), Some(name));
    // A shorter answer takes nothing back.
    names.learn(7, ip(1), &"x.example".into(), 0, SECOND);
    assert!(names.name(7, ip(1), 60 * SECOND).is_some());
    // What has ended begins anew: between the two nobody had the name.
    names.learn(7, ip(1), &"x.example".into(), 60, 100 * SECOND);
    assert!(names.name(7, ip(1), 50 * SECOND).is_none());
}

#[test]
fn another_name_holds_from_its_answer_on_and_takes_nothing_from_the_one_before() {
    let names = names();
    names.learn(7, ip(1), &"x.example".into(), 60, 100 * SECOND);
    names.learn(7, ip(1), &"y.example".into(), 60, 101 * SECOND);
    let at = |at_ns| names.name(7, ip(1), at_ns);
    assert_eq!(at(100 * SECOND - 1), None);
    // The record of a connection from between the two comes after both.
    assert_eq!(at(101 * SECOND - 1).as_deref(), Some("x.example"));
    assert_eq!(at(101 * SECOND).as_deref(), Some("y.example"));
    assert_eq!(at(160 * SECOND).as_deref(), Some("y.example"));
    assert_eq!(at(161 * SECOND), None);
    let both = "x.example".len() + "y.example".len();
    assert_eq!(names.bytes(), 2 * (super::ENTRY + both));
    // One that has ended is not kept beside the next.
    names.learn(7, ip(1), &"z.example".into(), 60, 200 * SECOND);
    assert_eq!(at(150 * SECOND), None);
    assert_eq!(names.bytes(), 2 * (super::ENTRY + "z.example".len()));
}

#[test]
fn a_short_ttl_is_lengthened_and_a_long_one_cut() {
    let names = names();
    names.learn(7, ip(1), &"x.example".into(), 0, 0);
    names.learn(7, ip(2), &"y.example".into(), u32::MAX, 0);
    assert!(names.name(7, ip(1), FLOOR_NS - 1).is_some());
    assert!(names.name(7, ip(1), FLOOR_NS).is_none());
    assert!(names.name(7, ip(2), CEILING_NS - 1).is_some());
    assert!(names.name(7, ip(2), CEILING_NS).is_none());
}

#[test]
fn what_a_process_asked_for_itself_goes_before_what_others_did() {
    let names = names();
    names.learn(7, ip(1), &"a.example".into(), 60, 0);
    names.learn(8, ip(1), &"b.example".into(), 60, 1);
    assert_eq!(names.name(7, ip(1), 2).as_deref(), Some("a.example"));
    assert_eq!(names.name(8, ip(1), 2).as_deref(), Some("b.example"));
    // It asked for nothing: a resolver on the node did.
    assert_eq!(names.name(9, ip(1), 2).as_deref(), Some("b.example"));
    names.learn(7, ip(1), &"c.example".into(), 60, 3);
    assert_eq!(names.name(7, ip(1), 4).as_deref(), Some("c.example"));
}

#[test]
fn entries_and_bytes_are_bounded() {
    let names = Names::new(Limits {
        entries: NonZeroUsize::new(10).expect("some"),
        bytes: 1 << 20,
    });
    for last in 0..100 {
        names.learn(7, ip(last), &"x.example".into(), 60, 0);
    }
    assert_eq!(names.counts().learned, 100);
    assert_eq!(names.counts().evicted, 190);
    assert!(names.name(7, ip(99), 1).is_some());
    assert!(names.name(7, ip(0), 1).is_none());

    let names = Names::new(Limits {
        entries: NonZeroUsize::new(1000).expect("some"),
        bytes: 4096,
    });
    let long: Arc<str> = "x".repeat(250).into();
    for last in 0..100 {
        names.learn(7, ip(last), &long, 60, 0);
        names.learn(7, ip(last), &long, 60, 1);
    }
    assert!((1000..=4096).contains(&names.bytes()), "{}", names.bytes());
    assert!(names.name(7, ip(99), 1).is_some());
}
