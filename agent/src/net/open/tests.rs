use super::*;
use crate::net::flows::testing::flow;

fn moved(number: u64, change: Change, sent: u64) -> Flow {
    Flow {
        bytes_sent: sent,
        bytes_received: 2 * sent,
        retransmits: 0,
        ..flow(number, change)
    }
}

#[test]
fn what_moved_is_told_once() {
    let mut open = Open::new(10);
    let begins = open.take(&moved(1, Change::Established, 0), 7);
    assert_eq!((begins.begins, begins.ends, begins.sent), (true, false, 0));
    let alive = open.take(&moved(1, Change::Alive, 100), 8);
    assert_eq!(
        (alive.begins, alive.sent, alive.received, alive.tag),
        (false, 100, 200, 7)
    );
    assert_eq!(open.take(&moved(1, Change::Alive, 100), 8).sent, 0);
    let ends = open.take(&moved(1, Change::Closed, 130), 8);
    assert_eq!(
        (ends.begins, ends.ends, ends.sent, ends.tag),
        (false, true, 30, 7)
    );
    assert!(open.is_empty());
}

#[test]
fn one_of_before_counts_from_when_it_was_first_seen() {
    let mut open = Open::new(10);
    let mut before = moved(1, Change::Existing, 1000);
    before.established_ns = None;
    let begins = open.take(&before, 0);
    assert_eq!((begins.begins, begins.sent), (true, 0));
    let mut closed = moved(1, Change::Closed, 1010);
    closed.established_ns = None;
    let ends = open.take(&closed, 0);
    assert_eq!((ends.ends, ends.sent), (true, 10));
    // Another one, that was at rest until its end.
    closed.id.sock = 2;
    let ends = open.take(&closed, 0);
    assert_eq!((ends.begins, ends.ends, ends.sent), (false, false, 0));
}

#[test]
fn an_end_that_was_not_seen_ends_it_without_a_byte() {
    let mut open = Open::new(10);
    open.take(&moved(1, Change::Established, 0), 0);
    open.take(&moved(1, Change::Alive, 50), 0);
    let lost = open.take(&moved(1, Change::Lost, 0), 0);
    assert_eq!((lost.ends, lost.sent), (true, 0));
}

#[test]
fn those_without_room_are_told_whole_at_their_end() {
    let mut open = Open::new(1);
    let mut begun = 0;
    let mut ended = 0;
    let mut sent = 0;
    let mut count = |progress: Progress| {
        begun += u64::from(progress.begins);
        ended += u64::from(progress.ends);
        sent += progress.sent;
    };
    for number in 0..3 {
        count(open.take(&moved(number, Change::Established, 0), 0));
    }
    for number in 0..3 {
        count(open.take(&moved(number, Change::Alive, 5), 0));
    }
    for number in 0..3 {
        count(open.take(&moved(number, Change::Closed, 10), 0));
    }
    assert_eq!((begun, ended, sent), (3, 3, 30));
}
