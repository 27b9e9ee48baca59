use super::*;
use crate::{l7::exchange::Unanswered, telemetry::testing::exchange};

const PROCESS: u32 = 10;

fn thread(tid: u32) -> Thread {
    Thread { tgid: PROCESS, tid }
}

fn key(connection: u64) -> ExchangeKey {
    let mut key = exchange().key;
    key.connection.sock = connection;
    key
}

/// A request on this connection, which the thread received.
fn started(connection: u64, tid: u32, start_ns: u64) -> Started {
    Started {
        key: key(connection),
        thread: thread(tid),
        start_ns,
        parent: None,
    }
}

fn of(side: Side, connection: u64, tid: u32, [start_ns, end_ns]: [u64; 2]) -> Exchange {
    Exchange {
        key: key(connection),
        side,
        tgid: PROCESS,
        tid,
        start_ns,
        end_ns,
        ..exchange()
    }
}

fn server(connection: u64, tid: u32, times: [u64; 2]) -> Exchange {
    of(Side::Server, connection, tid, times)
}

fn client(tid: u32, times: [u64; 2]) -> Exchange {
    of(Side::Client, 1_000_000 + times[0], tid, times)
}

/// The connection of the parent.
fn parent(parents: &mut Parents, client: &Exchange) -> Option<u64> {
    parents
        .ended(client)
        .map(|started| started.key.connection.sock)
}

fn counts(parents: &Parents) -> [u64; 4] {
    let counts = parents.counts();
    [
        counts.parented(),
        counts.own(),
        counts.alone(),
        counts.ambiguous(),
    ]
}

#[test]
fn what_a_thread_asks_for_while_it_serves_is_a_part_of_that() {
    let mut parents = Parents::default();
    parents.started(started(1, 5, 100));
    assert_eq!(parent(&mut parents, &client(5, [110, 120])), Some(1));
    assert_eq!(parent(&mut parents, &client(5, [130, 140])), Some(1));
    assert_eq!(
        parent(&mut parents, &client(6, [110, 120])),
        None,
        "another thread"
    );
    assert_eq!(parent(&mut parents, &client(5, [90, 120])), None, "before");
    parents.ended(&server(1, 5, [100, 200]));
    assert_eq!(parent(&mut parents, &client(5, [210, 220])), None, "after");
    // Its end was found late.
    assert_eq!(parent(&mut parents, &client(5, [150, 230])), Some(1));
    parents.started(started(2, 5, 300));
    assert_eq!(parent(&mut parents, &client(5, [310, 320])), Some(2));
    assert_eq!(counts(&parents), [4, 0, 3, 0]);
}

#[test]
fn another_process_has_threads_of_its_own() {
    let mut parents = Parents::default();
    parents.started(started(1, 5, 100));
    let mut other = client(5, [110, 120]);
    other.tgid = 11;
    assert_eq!(parent(&mut parents, &other), None);
}

#[test]
fn what_the_application_says_stays() {
    let mut parents = Parents::default();
    parents.started(started(1, 5, 100));
    let mut client = client(5, [110, 120]);
    client.parent = Some(TraceParent {
        trace_id: [1; 16],
        span_id: [2; 8],
        flags: 1,
    });
    assert_eq!(parent(&mut parents, &client), None);
    assert_eq!(counts(&parents), [0, 1, 0, 0]);
}

#[test]
fn two_at_a_time_have_no_children() {
    let mut parents = Parents::default();
    parents.started(started(1, 5, 100));
    parents.started(started(2, 5, 110));
    assert_eq!(parent(&mut parents, &client(5, [120, 130])), None);
    // Asked for while there was one, and under way when the second came: the thread did not wait for it.
    assert_eq!(parent(&mut parents, &client(5, [105, 140])), None);
    assert_eq!(counts(&parents), [0, 0, 0, 2]);
}

#[test]
fn a_process_that_served_two_at_a_time_is_not_taken_for_one_that_does_not() {
    let mut parents = Parents::default();
    parents.started(started(1, 5, 100));
    parents.started(started(2, 5, 110));
    parents.ended(&server(1, 5, [100, 150]));
    parents.ended(&server(2, 5, [110, 160]));
    // Now there is only one, on this thread and on another, and still nobody knows.
    for tid in [5, 6] {
        parents.started(started(3, tid, 200));
        assert_eq!(parent(&mut parents, &client(tid, [210, 220])), None);
    }
    assert_eq!(counts(&parents), [0, 0, 0, 2]);
}

#[test]
fn two_at_a_time_are_found_by_their_ends_alone() {
    let mut parents = Parents::default();
    parents.ended(&server(1, 5, [100, 150]));
    parents.ended(&server(2, 5, [110, 140]));
    parents.started(started(3, 5, 200));
    assert_eq!(parent(&mut parents, &client(5, [210, 220])), None);
    assert_eq!(counts(&parents), [0, 0, 0, 1]);
}

#[test]
fn one_behind_the_other_are_not_two_at_a_time() {
    let mut parents = Parents::default();
    for number in 0..100 {
        let times = [number * 100, number * 100 + 99];
        parents.started(started(number, 5, times[0]));
        let asked = client(5, [times[0] + 1, times[0] + 50]);
        assert_eq!(parent(&mut parents, &asked), Some(number));
        parents.ended(&server(number, 5, times));
    }
    assert_eq!(counts(&parents), [100, 0, 0, 0]);
}

/// An answer's end can be told long after the thread has gone on to the next request.
#[test]
fn between_an_answers_begin_and_its_late_end_nothing_is_certain() {
    let mut parents = Parents::default();
    parents.started(started(1, 5, 100));
    parents.answered(thread(5), &key(1), 150);
    assert_eq!(parent(&mut parents, &client(5, [140, 160])), Some(1));
    assert_eq!(parent(&mut parents, &client(5, [170, 180])), None);
    parents.started(started(2, 5, 200));
    assert_eq!(parent(&mut parents, &client(5, [210, 220])), None);
    parents.ended(&server(1, 5, [100, 160]));
    assert_eq!(
        parent(&mut parents, &client(5, [230, 240])),
        Some(2),
        "now it is known"
    );
    assert_eq!(counts(&parents), [2, 0, 0, 2]);
}

#[test]
fn a_lost_end_costs_no_more_than_it_must() {
    let mut parents = Parents::default();
    parents.started(started(1, 5, 100));
    parents.lost(thread(5), &key(1));
    parents.started(started(2, 5, 200));
    assert_eq!(parent(&mut parents, &client(5, [210, 220])), Some(2));
    parents.ended(&server(2, 5, [200, 230]));

    // Not told, but HTTP/1 answers one request of a connection after the other.
    let mut next = started(2, 5, 300);
    next.key.message = 5;
    parents.started(next);
    let mut later = server(2, 5, [400, 450]);
    later.key.message = 7;
    parents.started(Started {
        key: later.key,
        start_ns: 400,
        ..next
    });
    parents.ended(&later);
    parents.started(started(3, 5, 500));
    assert_eq!(parent(&mut parents, &client(5, [510, 520])), Some(3));

    // Nobody ever says: for an hour it may be going on.
    let hour = LOST_AFTER_NS;
    parents.started(started(4, 5, hour));
    assert_eq!(parent(&mut parents, &client(5, [hour + 1, hour + 2])), None);
    parents.ended(&server(4, 5, [hour, hour + 3]));
    parents.started(started(5, 5, 2 * hour));
    let asked = client(5, [2 * hour + 1, 2 * hour + 2]);
    assert_eq!(parent(&mut parents, &asked), Some(5));
}

#[test]
fn a_request_that_was_given_up_says_nothing_of_its_process() {
    let mut parents = Parents::default();
    parents.started(started(1, 5, 100));
    parents.started(started(2, 5, 200));
    let mut closed = server(1, 5, [100, 900]);
    closed.status = Err(Unanswered::Closed);
    parents.ended(&closed);
    parents.ended(&server(2, 5, [200, 300]));
    parents.started(started(3, 5, 400));
    assert_eq!(parent(&mut parents, &client(5, [410, 420])), Some(3));
}

#[test]
fn a_pipeline_is_worked_through_by_one_thread() {
    let mut parents = Parents::default();
    let mut second = started(1, 5, 100);
    second.key.part = 1;
    parents.started(started(1, 5, 100));
    parents.started(second);
    assert_eq!(
        parent(&mut parents, &client(5, [110, 120])),
        None,
        "which of the two?"
    );
    parents.ended(&server(1, 5, [100, 150]));
    let mut end = server(1, 5, [100, 200]);
    end.key = second.key;
    parents.ended(&end);
    parents.started(started(2, 5, 300));
    assert_eq!(parent(&mut parents, &client(5, [310, 320])), Some(2));
}

#[test]
fn streams_of_one_connection_are_many_at_a_time() {
    let mut parents = Parents::default();
    for stream in [1, 3] {
        let mut end = server(1, 5, [100 + u64::from(stream), 200]);
        (end.key.message, end.version) = (stream, "2");
        parents.ended(&end);
    }
    parents.started(started(2, 5, 300));
    assert_eq!(parent(&mut parents, &client(5, [310, 320])), None);
}

#[test]
fn what_is_known_beforehand_counts() {
    let mut parents = Parents::default();
    parents.multiplexes(PROCESS);
    parents.started(started(1, 5, 100));
    assert_eq!(parent(&mut parents, &client(5, [110, 120])), None);
    assert_eq!(counts(&parents), [0, 0, 0, 1]);
}

#[test]
fn one_that_was_forgotten_may_be_going_on() {
    let mut parents = Parents::default();
    for connection in 0..=SERVED as u64 {
        parents.started(started(connection, 5, 100 + connection));
    }
    for connection in 1..=SERVED as u64 {
        parents.lost(thread(5), &key(connection));
    }
    parents.started(started(100, 5, 200));
    assert_eq!(parent(&mut parents, &client(5, [210, 220])), None);
    assert_eq!(counts(&parents), [0, 0, 0, 1]);
}

#[test]
fn memory_is_bounded() {
    let mut parents = Parents::default();
    for number in 0..20_000_u32 {
        parents.started(started(1, number, 100));
        for connection in 0..10 {
            parents.started(started(connection, 1, u64::from(number)));
        }
        parents.multiplexes(number + 1000);
    }
    assert_eq!(parents.threads.len(), THREADS.get());
    assert_eq!(parents.multiplexing.len(), PROCESSES.get());
    assert!(
        parents
            .threads
            .iter()
            .all(|(_, serving)| serving.served.len() <= SERVED)
    );
}

/// What a program does, as a tap tells it: in the order in which it happened.
enum Told {
    Started(Started),
    Answered(Thread, ExchangeKey, u64),
    /// With the connection that it is in truth a part of.
    Ended(Box<Exchange>, Option<u64>),
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Requests that begin at random times, each with two requests of its own, on threads that `thread_of` chooses for each step.
fn program(requests: u64, gap: u64, mut thread_of: impl FnMut(u64) -> u32) -> Vec<Told> {
    let mut random = Random(42);
    let mut told: Vec<(u64, Told)> = Vec::new();
    let mut at = 1;
    for number in 0..requests {
        at += random.below(gap);
        let receiver = thread_of(number);
        let mut end = at;
        told.push((at, Told::Started(started(number, receiver, at))));
        for _ in 0..2 {
            let begin = end + 1 + random.below(20);
            end = begin + 1 + random.below(50);
            let asked = client(thread_of(number), [begin, end]);
            told.push((end, Told::Ended(Box::new(asked), Some(number))));
        }
        end += 1 + random.below(20);
        told.push((end, Told::Answered(thread(receiver), key(number), end)));
        // The end is told when the next look finds it.
        let server = server(number, receiver, [at, end]);
        told.push((end + random.below(3), Told::Ended(Box::new(server), None)));
        at = if gap > 1000 { end + 1 } else { at };
    }
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, told)| told).collect()
}

/// How many got their parent, a wrong one, and none.
fn judge(parents: &mut Parents, told: Vec<Told>) -> [u64; 3] {
    let [mut right, mut wrong, mut none] = [0; 3];
    for told in told {
        match told {
            Told::Started(started) => parents.started(started),
            Told::Answered(thread, key, at_ns) => parents.answered(thread, &key, at_ns),
            Told::Ended(exchange, truth) => match (parent(parents, &exchange), truth) {
                (found, Some(_)) if found == truth => right += 1,
                (Some(_), _) => wrong += 1,
                (None, Some(_)) => none += 1,
                (None, None) => {}
            },
        }
    }
    [right, wrong, none]
}

#[test]
fn a_thread_for_each_request_gets_all_right() {
    let mut parents = Parents::default();
    // Many at a time, each on a thread that is its own until it is done.
    let told = program(1000, 10, |number| 100 + (number % 200) as u32);
    assert_eq!(judge(&mut parents, told), [2000, 0, 0]);
}

#[test]
fn an_event_loop_gets_nothing_wrong() {
    let mut parents = Parents::default();
    let told = program(1000, 10, |_| 1);
    let [right, wrong, none] = judge(&mut parents, told);
    assert_eq!(wrong, 0);
    assert!(none > 1990, "{right} {none}");
    // At night there is one request at a time: nobody knows that the others are gone for good.
    let told = program(100, 5000, |_| 1);
    assert_eq!(judge(&mut parents, told), [0, 0, 200]);
}

/// Goroutines and tasks go from thread to thread; four threads for all.
#[test]
fn requests_that_change_threads_are_found_out_soon() {
    let mut parents = Parents::default();
    let mut random = Random(7);
    let told = program(1000, 10, move |_| 1 + random.below(4) as u32);
    let [right, wrong, none] = judge(&mut parents, told);
    assert!(wrong <= 5, "{right} right, {wrong} wrong, {none} none");
    let mut random = Random(8);
    let told = program(1000, 5000, move |_| 1 + random.below(4) as u32);
    assert_eq!(judge(&mut parents, told), [0, 0, 2000], "and that stays so");
}
