use std::num::NonZeroUsize;

use fathom_abi::{
    message::Direction,
    udp::{DNS_PORT, DnsEvent},
};

use super::{Lookup, Lookups, Outcome, TIMEOUT_NS};
use crate::l7::dns::{
    Code, Kind,
    record::encode,
    tests::{message, question, record},
};

const SECOND: u64 = 1_000_000_000;

struct Bench {
    lookups: Lookups,
    records: u64,
    done: Vec<Lookup>,
}

impl Bench {
    fn new(capacity: usize) -> Self {
        Self {
            lookups: Lookups::new(NonZeroUsize::new(capacity).expect("some")),
            records: 0,
            done: Vec::new(),
        }
    }

    fn give(&mut self, sock: u64, at_ns: u64, direction: Direction, payload: &[u8]) {
        let event = DnsEvent {
            sock,
            at_ns,
            tgid: 10,
            tid: 11,
            bytes: payload.len() as u32,
            captured: payload.len() as u16,
            remote_port: DNS_PORT,
            direction,
            ..DnsEvent::default()
        };
        self.records += 1;
        self.lookups
            .record(&encode(&event, payload), &mut |lookup| {
                self.done.push(lookup);
            });
    }

    fn ask(&mut self, sock: u64, at_ns: u64, id: u16, name: &str, kind: Kind) {
        let payload = message(id, 0x0100, [1, 0, 0, 0], &question(name, kind));
        self.give(sock, at_ns, Direction::SENT, &payload);
    }

    fn answer(&mut self, sock: u64, at_ns: u64, id: u16, flags: u16, name: &str, kind: Kind) {
        let payload = message(id, flags, [1, 0, 0, 0], &question(name, kind));
        self.give(sock, at_ns, Direction::RECEIVED, &payload);
    }

    fn expire(&mut self, now_ns: u64) {
        self.lookups
            .expire(now_ns, &mut |lookup| self.done.push(lookup));
    }

    /// Every record and every query is in one count.
    fn check(&self) {
        let counts = self.lookups.counts();
        let of_records = [
            counts.queries(),
            counts.repeated(),
            counts.answers(),
            counts.unasked(),
            counts.served(),
            counts.malformed(),
        ];
        assert_eq!(of_records.iter().sum::<u64>(), self.records);
        assert_eq!(
            counts.queries(),
            counts.answered()
                + counts.timed_out()
                + counts.forgotten()
                + self.lookups.open() as u64
        );
        assert_eq!(
            counts.answered() + counts.timed_out(),
            self.done.len() as u64
        );
    }
}

#[test]
fn a_and_aaaa_on_one_socket_are_two_lookups_whatever_their_order() {
    let mut bench = Bench::new(8);
    bench.ask(1, SECOND, 5, "x.example", Kind::A);
    bench.ask(1, SECOND + 10, 6, "x.example", Kind::AAAA);
    bench.answer(1, SECOND + 500, 6, 0x8183, "x.example", Kind::AAAA);
    bench.answer(1, SECOND + 900, 5, 0x8180, "X.EXAMPLE", Kind::A);
    let [aaaa, a] = &bench.done[..] else {
        panic!("{:?}", bench.done);
    };
    assert_eq!(
        (aaaa.question.kind, aaaa.duration_ns, aaaa.outcome),
        (Kind::AAAA, 490, Outcome::Answered(Code::NXDOMAIN))
    );
    assert_eq!((a.question.kind, a.duration_ns), (Kind::A, 900));
    assert_eq!((a.attempts, a.tgid), (1, 10));
    bench.check();
}

#[test]
fn both_may_have_the_same_number() {
    let mut bench = Bench::new(8);
    bench.ask(1, 0, 5, "x.example", Kind::A);
    bench.ask(1, 0, 5, "x.example", Kind::AAAA);
    bench.answer(1, 100, 5, 0x8180, "x.example", Kind::AAAA);
    assert_eq!(bench.done[0].question.kind, Kind::AAAA);
    assert_eq!(bench.lookups.open(), 1);
    bench.check();
}

#[test]
fn what_is_sent_again_is_one_lookup_since_the_first_time() {
    let mut bench = Bench::new(8);
    bench.ask(1, 0, 5, "x.example", Kind::A);
    bench.ask(1, 5 * SECOND, 5, "x.example", Kind::A);
    bench.expire(10 * SECOND);
    assert!(bench.done.is_empty());
    bench.answer(1, 10 * SECOND, 5, 0x8180, "x.example", Kind::A);
    assert_eq!(
        (bench.done[0].duration_ns, bench.done[0].attempts),
        (10 * SECOND, 2)
    );
    bench.check();
}

#[test]
fn a_query_without_an_answer_times_out_and_a_late_answer_is_not_asked_for() {
    let mut bench = Bench::new(8);
    bench.ask(1, SECOND, 5, "x.example", Kind::A);
    bench.ask(2, 2 * SECOND, 6, "y.example", Kind::A);
    bench.expire(SECOND + TIMEOUT_NS - 1);
    assert!(bench.done.is_empty());
    bench.expire(SECOND + TIMEOUT_NS);
    assert_eq!(bench.done.len(), 1);
    assert_eq!(bench.done[0].outcome, Outcome::TimedOut);
    assert_eq!(bench.done[0].duration_ns, TIMEOUT_NS);
    bench.answer(1, 9 * SECOND, 5, 0x8180, "x.example", Kind::A);
    assert_eq!(bench.lookups.counts().unasked(), 1);
    bench.check();
}

#[test]
fn an_answer_to_another_question_or_on_another_socket_is_not_taken() {
    let mut bench = Bench::new(8);
    bench.ask(1, 0, 5, "x.example", Kind::A);
    bench.answer(1, 1, 5, 0x8180, "evil.example", Kind::A);
    bench.answer(1, 1, 6, 0x8180, "x.example", Kind::A);
    bench.answer(2, 1, 5, 0x8180, "x.example", Kind::A);
    assert!(bench.done.is_empty());
    assert_eq!(bench.lookups.counts().unasked(), 3);
    // An error without the question.
    bench.give(
        1,
        2,
        Direction::RECEIVED,
        &message(5, 0x8181, [0, 0, 0, 0], &[]),
    );
    assert_eq!(bench.done[0].outcome, Outcome::Answered(Code(1)));
    bench.check();
}

#[test]
fn the_servers_side_is_no_lookup() {
    let mut bench = Bench::new(8);
    let query = message(5, 0x0100, [1, 0, 0, 0], &question("x.example", Kind::A));
    let answer = message(5, 0x8180, [1, 0, 0, 0], &question("x.example", Kind::A));
    bench.give(1, 0, Direction::RECEIVED, &query);
    bench.give(1, 1, Direction::SENT, &answer);
    assert_eq!(bench.lookups.counts().served(), 2);
    assert_eq!(bench.lookups.open(), 0);
    bench.check();
}

#[test]
fn a_full_table_forgets_the_oldest_and_counts_it() {
    let mut bench = Bench::new(2);
    for sock in 0..5 {
        bench.ask(sock, sock, 5, "x.example", Kind::A);
    }
    // And many questions under one number.
    for kind in 0..9 {
        bench.ask(4, 10, 5, "x.example", Kind(kind));
    }
    assert!(bench.lookups.open() <= 2 * super::QUESTIONS);
    assert!(bench.lookups.counts().forgotten() > 0);
    bench.check();
}

#[test]
fn addresses_come_with_the_lookup() {
    let mut bench = Bench::new(8);
    bench.ask(1, 0, 5, "x.example", Kind::A);
    let mut rest = question("x.example", Kind::A);
    rest.extend(record(&[0xc0, 12], Kind::A, 60, &[192, 0, 2, 1]));
    bench.give(
        1,
        7,
        Direction::RECEIVED,
        &message(5, 0x8180, [1, 1, 0, 0], &rest),
    );
    assert_eq!(bench.done[0].addresses.len(), 1);
    assert_eq!(bench.done[0].ended_ns(), 7);
    bench.check();
}

#[test]
fn records_that_are_cut_are_malformed() {
    let mut bench = Bench::new(8);
    let query = message(5, 0x0100, [1, 0, 0, 0], &question("x.example", Kind::A));
    bench.give(1, 0, Direction::SENT, &query[..20]);
    bench.give(1, 0, Direction::NONE, &query);
    assert_eq!(bench.lookups.counts().malformed(), 2);
    bench.check();
}
