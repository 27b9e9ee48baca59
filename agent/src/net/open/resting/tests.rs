use std::net::SocketAddr;

use fathom_abi::ConnectionId;

use super::*;
use crate::net::{
    Flow, Open,
    flows::{Change, testing::flow},
};

/// A record of connection `number`, on which so much was sent; as it is after the programs have made its entry anew so many times.
fn record(number: u16, births: u64, change: Change, sent: u64) -> Flow {
    let flow = flow(number.into(), change);
    Flow {
        id: ConnectionId {
            born_ns: flow.id.born_ns + births,
            ..flow.id
        },
        established_ns: flow.established_ns.filter(|_| births == 0),
        local: SocketAddr::new(flow.local.ip(), number),
        bytes_sent: sent,
        bytes_received: 2 * sent,
        retransmits: 0,
        ..flow
    }
}

fn ends(number: u16) -> Ends {
    Ends::of(&record(number, 0, Change::Alive, 0))
}

fn moved(sent: u64) -> Moved {
    Moved {
        sent,
        received: 2 * sent,
        retransmits: 0,
    }
}

/// One that has begun with tag 7, sent a hundred bytes, and rests.
fn at_rest(open: &mut Open, number: u16) {
    open.take(&record(number, 0, Change::Established, 0), 7);
    let rests = open.take(&record(number, 0, Change::Resting, 100), 8);
    assert_eq!((rests.begins, rests.ends, rests.sent), (false, false, 100));
}

#[test]
fn one_at_rest_is_remembered_and_not_asked_about() {
    let mut open = Open::new(10);
    at_rest(&mut open, 1);
    assert_eq!((open.len(), open.resting()), (1, 1));
    assert_eq!(open.ids().count(), 0);
}

#[test]
fn what_comes_next_goes_on_where_it_stood_whatever_its_id_is() {
    for change in [Change::Existing, Change::Alive] {
        let mut open = Open::new(10);
        at_rest(&mut open, 1);
        let goes_on = open.take(&record(1, 1, change, 130), 8);
        assert_eq!(
            (goes_on.begins, goes_on.sent, goes_on.received, goes_on.tag),
            (false, 30, 60, 7)
        );
        assert_eq!((open.len(), open.resting()), (1, 0));
        let id = record(1, 1, change, 0).id;
        assert_eq!(open.ids().collect::<Vec<_>>(), [id]);
        let ends = open.take(&record(1, 1, Change::Closed, 140), 8);
        assert_eq!((ends.ends, ends.sent, ends.tag), (true, 10, 7));
        assert!(open.is_empty());
    }
}

#[test]
fn one_that_ends_at_rest_ends_once() {
    // A report may have found it at rest while it ended: then its last record has its first id.
    for births in [0, 1] {
        let mut open = Open::new(10);
        at_rest(&mut open, 1);
        let ends = open.take(&record(1, births, Change::Closed, 101), 8);
        assert_eq!(
            (ends.begins, ends.ends, ends.sent, ends.tag),
            (false, true, 1, 7)
        );
        assert!(open.is_empty());
    }
}

#[test]
fn it_rests_again() {
    let mut open = Open::new(10);
    at_rest(&mut open, 1);
    open.take(&record(1, 1, Change::Existing, 130), 8);
    let rests = open.take(&record(1, 1, Change::Resting, 150), 8);
    assert_eq!((rests.sent, rests.tag), (20, 7));
    assert_eq!((open.len(), open.resting()), (1, 1));
}

#[test]
fn one_that_begins_with_the_same_ends_is_another() {
    let mut open = Open::new(10);
    at_rest(&mut open, 1);
    let begins = open.take(&record(1, 2, Change::Established, 0), 9);
    assert_eq!(
        (begins.begins, begins.tag, begins.replaces),
        (true, 9, Some(7))
    );
    assert_eq!((open.len(), open.resting()), (1, 0));
    // Nor is one whose begin was not seen, and that rests.
    at_rest(&mut open, 2);
    let mut unseen = record(2, 2, Change::Alive, 0);
    unseen.local = record(3, 0, Change::Alive, 0).local;
    open.take(&unseen, 9);
    let rests = open.take(&record(2, 2, Change::Resting, 10), 9);
    assert_eq!((rests.tag, rests.replaces), (9, Some(7)));
    assert_eq!((open.len(), open.resting()), (2, 1));
}

#[test]
fn those_at_rest_count_against_the_limit() {
    let mut open = Open::new(2);
    at_rest(&mut open, 1);
    at_rest(&mut open, 2);
    let begins = open.take(&record(3, 0, Change::Established, 0), 7);
    assert!(begins.begins && begins.is_forgotten);
    assert_eq!(open.len(), 2);
    assert_eq!(open.ids().count(), 0);
    // One with the ends of one at rest takes its place.
    let begins = open.take(&record(1, 2, Change::Established, 0), 7);
    assert!(begins.begins && !begins.is_forgotten && begins.replaces == Some(7));
    assert_eq!((open.len(), open.asked()), (2, 1));
}

#[test]
fn the_kernel_is_asked_about_what_it_knows() {
    let mut open = Open::new(10);
    let mut listed = record(1, 0, Change::Existing, 0);
    listed.id.born_ns = 0;
    open.take(&listed, 7);
    open.take(&record(2, 0, Change::Established, 0), 7);
    at_rest(&mut open, 3);
    assert_eq!((open.len(), open.asked(), open.ids().count()), (3, 1, 1));
    listed.change = Change::Closed;
    open.take(&listed, 7);
    assert_eq!((open.len(), open.asked()), (2, 1));
}

#[test]
fn a_look_tells_what_has_moved_once() {
    let mut open = Open::new(10);
    at_rest(&mut open, 1);
    open.look_begins();
    let found = open.stands(&ends(1), moved(120)).expect("it rests");
    assert_eq!((found.sent, found.received, found.tag), (20, 40, 7));
    let again = open.stands(&ends(1), moved(120)).expect("it rests");
    assert_eq!((again.sent, again.received), (0, 0));
    assert_eq!(open.stands(&ends(2), moved(1)), None);
    let ends = open.take(&record(1, 1, Change::Closed, 125), 8);
    assert_eq!((ends.sent, ends.tag), (5, 7));
}

/// A look that finds these, in the namespace that all of them are in.
fn look(open: &mut Open, found: &[u16]) -> Vec<Missing> {
    open.look_begins();
    for &number in found {
        open.stands(&ends(number), moved(100));
    }
    open.look_is_done(&[ends(1).netns()].into())
}

#[test]
fn one_that_two_looks_have_not_found_has_ended() {
    let mut open = Open::new(10);
    for number in [1, 2] {
        at_rest(&mut open, number);
    }
    assert_eq!(look(&mut open, &[1, 2]), []);
    assert_eq!(look(&mut open, &[2]), []);
    let missing = look(&mut open, &[2]);
    assert_eq!(missing.len(), 1);
    assert_eq!(open.lose(missing[0]), Some(7));
    assert_eq!(open.lose(missing[0]), None);
    assert_eq!(open.resting(), 1);
    let woken = open.take(&record(1, 1, Change::Existing, 200), 8);
    assert!(woken.begins, "it is over");
}

#[test]
fn one_that_ends_before_it_was_looked_for_is_missing_where_looks_see_its_namespace() {
    let mut open = Open::new(10);
    at_rest(&mut open, 1);
    let mut elsewhere = record(2, 0, Change::Established, 0);
    elsewhere.netns = 2;
    open.take(&elsewhere, 7);
    elsewhere.change = Change::Resting;
    open.take(&elsewhere, 7);
    assert_eq!(look(&mut open, &[]), []);
    assert_eq!(look(&mut open, &[]).len(), 1);
    assert_eq!(open.look_is_done(&HashSet::new()), []);
}

#[test]
fn looks_have_numbers_for_ever() {
    let mut open = Open::new(10);
    at_rest(&mut open, 1);
    for _ in 0..600 {
        assert_eq!(look(&mut open, &[1]), []);
    }
    assert_eq!(look(&mut open, &[]), []);
    assert_eq!(look(&mut open, &[]).len(), 1);
}

#[test]
fn one_that_rests_behind_a_looks_back_is_not_missing_in_it() {
    let mut open = Open::new(10);
    look(&mut open, &[]);
    look(&mut open, &[]);
    open.look_begins();
    at_rest(&mut open, 1);
    assert_eq!(open.look_is_done(&[ends(1).netns()].into()), []);
    assert_eq!(look(&mut open, &[]), []);
    assert_eq!(look(&mut open, &[]).len(), 1);
}

#[test]
fn who_opened_it_is_known_later_where_no_byte_had_moved_before() {
    let mut open = Open::new(10);
    for (number, sent) in [(1, 0), (2, 1)] {
        open.take(&record(number, 0, Change::Established, 0), 7);
        open.take(&record(number, 0, Change::Resting, sent), 7);
        let woken = record(number, 1, Change::Existing, sent + 10);
        open.take(&woken, 8);
        let tag = open.tag_before_rest(woken.id);
        assert_eq!(tag, (sent == 0).then_some(7));
        let ends = open.take(&record(number, 1, Change::Closed, sent + 20), 8);
        assert_eq!(ends.was_at_rest, sent == 0);
    }
}

#[test]
fn one_of_which_a_record_tells_meanwhile_is_not_missing() {
    let mut open = Open::new(10);
    at_rest(&mut open, 1);
    look(&mut open, &[]);
    let missing = look(&mut open, &[]);
    assert_eq!(missing.len(), 1);
    open.take(&record(1, 1, Change::Existing, 110), 8);
    assert_eq!(open.lose(missing[0]), None);
    open.take(&record(1, 1, Change::Resting, 110), 8);
    assert_eq!(open.lose(missing[0]), None);
    assert_eq!(open.resting(), 1);
}

#[test]
fn both_ways_to_show_an_end_are_one() {
    let end = |text: &str| -> SocketAddr { text.parse().expect("an end") };
    let to = |text: &str| Ends::new(1, end(text), end("10.0.0.2:1"));
    assert_eq!(to("[::ffff:10.0.0.1]:80"), to("10.0.0.1:80"));
    assert_ne!(to("10.0.0.1:80"), to("10.0.0.1:81"));
}
