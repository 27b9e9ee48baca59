//! Exchanges that are finished by a look at the kernel's own state.

use fathom_abi::message::ConnectionState;

use super::{
    tap::{SERVER, Tap},
    *,
};

const MS: u64 = 1_000_000;

/// Feeds the records that were made since, and looks.
struct Bench {
    decoder: Decoder,
    fed: usize,
    looks: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            decoder: Decoder::new(Limits::default()),
            fed: 0,
            looks: 0,
        }
    }

    fn poll(&mut self, tap: &Tap, now_ns: u64) -> Vec<Exchange> {
        self.poll_with(tap, now_ns, Some(tap.state()))
    }

    fn poll_with(
        &mut self,
        tap: &Tap,
        now_ns: u64,
        state: Option<ConnectionState>,
    ) -> Vec<Exchange> {
        let mut exchanges = self.feed(tap);
        let looks = &mut self.looks;
        let mut lookup = |_: u64| {
            *looks += 1;
            state
        };
        self.decoder
            .poll_idle(now_ns, &mut lookup, &mut |exchange: Exchange| {
                exchanges.push(exchange)
            });
        exchanges
    }

    fn feed(&mut self, tap: &Tap) -> Vec<Exchange> {
        let mut exchanges = Vec::new();
        for record in &tap.records[self.fed..] {
            self.decoder
                .record(record, &mut |exchange: Exchange| exchanges.push(exchange));
        }
        self.fed = tap.records.len();
        exchanges
    }
}

fn big_answer(tap: &mut Tap) {
    tap.receive(GET, MS)
        .send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n", 2 * MS);
    tap.send(&[b'y'; 3000], 3 * MS);
}

#[test]
fn a_whole_answer_is_handed_on_with_the_time_of_its_last_call() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    big_answer(&mut tap);
    assert!(bench.poll(&tap, 50 * MS).is_empty(), "too early to look");
    assert_eq!(bench.looks, 0);
    let exchanges = bench.poll(&tap, 150 * MS);
    assert_eq!(
        (exchanges[0].end_ns, exchanges[0].response_bytes),
        (3 * MS, 41 + 3000)
    );
    // The next record tells the same totals, which count no second time.
    tap.receive(GET, 200 * MS)
        .send(OK, 201 * MS)
        .close(300 * MS);
    assert_eq!(bench.feed(&tap).len(), 1);
    assert_eq!(
        bench.decoder.counts().exchanges(ExchangeOutcome::Delivered),
        2
    );
    assert_eq!(bench.decoder.counts().lost(), 0);
    assert!(bench.poll(&tap, 1000 * MS).is_empty());
    assert_eq!(bench.looks, 1, "nothing is open");
}

#[test]
fn an_answer_that_is_not_whole_waits() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    tap.receive(GET, MS)
        .send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n", 2 * MS);
    assert!(bench.poll(&tap, 5000 * MS).is_empty());
    tap.send(&[b'y'; 3000], 6000 * MS);
    let exchanges = bench.poll(&tap, 6200 * MS);
    assert_eq!(exchanges[0].end_ns, 6000 * MS);
}

#[test]
fn a_chunked_answer_ends_when_it_has_been_quiet_for_a_second() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    tap.receive(GET, MS).send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        2 * MS,
    );
    tap.send(b"5\r\nhello\r\n0\r\n\r\n", 300 * MS);
    assert!(bench.poll(&tap, 900 * MS).is_empty());
    let exchanges = bench.poll(&tap, 1301 * MS);
    assert_eq!(
        (exchanges[0].end_ns, exchanges[0].response_bytes),
        (300 * MS, 62)
    );
    tap.receive(GET, 2000 * MS).send(OK, 2001 * MS);
    assert_eq!(bench.feed(&tap).len(), 1);
    assert_eq!(bench.decoder.counts().lost(), 0);
}

#[test]
fn an_answer_that_lasts_until_the_close_waits_for_it() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    tap.receive(GET, MS)
        .send(b"HTTP/1.1 200 OK\r\n\r\nabc", 2 * MS);
    for now in 1..100 {
        assert!(bench.poll(&tap, now * 500 * MS).is_empty());
    }
    tap.close(60_000 * MS);
    assert_eq!(bench.feed(&tap)[0].end_ns, 2 * MS);
}

#[test]
fn a_slow_request_is_looked_at_ever_more_rarely() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    tap.receive(GET, MS);
    for tick in 1..=600 {
        assert!(bench.poll(&tap, tick * 100 * MS).is_empty());
    }
    assert!(
        (60..=75).contains(&bench.looks),
        "{} looks in a minute",
        bench.looks
    );
    tap.send(OK, 61_000 * MS);
    assert_eq!(bench.feed(&tap).len(), 1);
}

#[test]
fn a_connection_whose_last_record_is_missing_is_given_up_once() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    big_answer(&mut tap);
    for tick in 1..20 {
        assert!(bench.poll_with(&tap, tick * 150 * MS, None).is_empty());
    }
    assert_eq!(
        bench
            .decoder
            .counts()
            .exchanges(ExchangeOutcome::RecordLost),
        1
    );
    assert_eq!(bench.decoder.counts().lost(), 1);
    assert_eq!(bench.decoder.connections(), 0);
}

#[test]
fn a_sock_that_is_used_again_is_another_connection() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    big_answer(&mut tap);
    let other = ConnectionState {
        born_ns: 77,
        ..tap.state()
    };
    for tick in 1..20 {
        assert!(
            bench
                .poll_with(&tap, tick * 150 * MS, Some(other))
                .is_empty()
        );
    }
    assert_eq!(bench.decoder.counts().lost(), 1);
}

#[test]
fn records_that_never_come_are_noticed_on_a_quiet_connection() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    tap.receive(GET, MS);
    bench.feed(&tap);
    tap.send(OK, 2 * MS).receive(GET, 3 * MS).send(OK, 4 * MS);
    bench.fed = tap.records.len();
    for tick in 1..20 {
        assert!(bench.poll(&tap, tick * 150 * MS).is_empty());
    }
    let counts = bench.decoder.counts();
    assert_eq!(
        counts.exchanges(ExchangeOutcome::RecordLost),
        2,
        "{counts:?}"
    );
    tap.receive(GET, 9000 * MS).send(OK, 9001 * MS);
    assert_eq!(bench.feed(&tap).len(), 1, "it goes on");
    assert_eq!(counts.lost(), 2);
}

#[test]
fn a_record_that_is_still_in_the_ring_is_waited_for() {
    let (mut tap, mut bench) = (Tap::new(SERVER), Bench::new());
    tap.receive(GET, MS);
    bench.feed(&tap);
    let ahead = {
        let mut ahead = Tap::new(SERVER);
        ahead.receive(GET, MS).send(OK, 149 * MS);
        ahead.state()
    };
    assert!(bench.poll_with(&tap, 150 * MS, Some(ahead)).is_empty());
    tap.send(OK, 149 * MS);
    assert_eq!(bench.feed(&tap).len(), 1);
    assert_eq!(bench.decoder.counts().lost(), 0);
}

/// What a server reads of a connection that the client has reset: its answer goes nowhere.
fn left_over() -> Tap {
    let mut tap = Tap::new(Role::UNKNOWN);
    tap.over = true;
    tap
}

fn is_unanswered(exchanges: &[Exchange]) {
    let [exchange] = exchanges else {
        panic!("{exchanges:?}")
    };
    assert_eq!(
        (exchange.side, exchange.status),
        (Side::Server, Err(Unanswered::Closed))
    );
}

#[test]
fn a_request_of_a_connection_that_was_over_is_not_answered() {
    let (mut tap, mut bench) = (left_over(), Bench::new());
    tap.receive(GET, MS);
    assert!(bench.poll(&tap, 150 * MS).is_empty(), "more may be read");
    is_unanswered(&bench.poll(&tap, 1200 * MS));
    assert_eq!(bench.decoder.take_over(), [tap.id]);
    assert_eq!(bench.decoder.connections(), 0);
}

#[test]
fn nor_is_it_lost_when_the_kernel_has_used_the_socket_again() {
    let (mut tap, mut bench) = (left_over(), Bench::new());
    tap.receive(GET, MS);
    let mut exchanges = Vec::new();
    for look in 1..=4 {
        exchanges.extend(bench.poll_with(&tap, look * 150 * MS, None));
    }
    is_unanswered(&exchanges);
    assert_eq!(bench.decoder.connections(), 0);
}

#[test]
fn of_a_connection_that_was_over_nothing_is_kept() {
    let (mut tap, mut bench) = (left_over(), Bench::new());
    tap.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", MS);
    assert!(bench.poll(&tap, 50 * MS).is_empty());
    assert_eq!(bench.decoder.connections(), 1);
    assert!(bench.poll(&tap, 150 * MS).is_empty());
    assert_eq!(bench.decoder.take_over(), [tap.id]);
    assert_eq!(bench.decoder.connections(), 0);
}
