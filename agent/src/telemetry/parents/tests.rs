mod goroutines;
mod programs;
mod proof;

use self::proof::prove;
use super::{
    serving::{LOST_AFTER_NS, SERVED},
    *,
};
use crate::{
    l7::exchange::{TraceParent, Unanswered},
    telemetry::testing::exchange,
};

const PROCESS: u32 = 10;
/// Nothing is lost before: all times are from here.
const BASE: u64 = 2 * SETTLE_NS;

fn parents() -> Parents {
    Parents::new(0)
}

fn thread(tid: u32) -> Thread {
    Thread::new(PROCESS, tid)
}

fn key(connection: u64) -> ExchangeKey {
    let mut key = exchange().key;
    key.connection.sock = connection;
    key
}

fn request(side: Side, connection: u64, tid: u32, start_ns: u64) -> Started {
    let key = key(connection);
    Started {
        key,
        side,
        multiplexed: false,
        request: Opened {
            message: key.message,
            part: key.part,
            thread: thread(tid),
            start_ns: BASE + start_ns,
            parent: None,
            trace_state: None,
            partial: false,
        },
    }
}

/// A request on this connection, which the thread received.
fn started(connection: u64, tid: u32, start_ns: u64) -> Started {
    request(Side::Server, connection, tid, start_ns)
}

/// The answer to it, by this thread.
fn answer(tid: u32, at_ns: u64) -> Step {
    Step::Answered {
        thread: thread(tid),
        at_ns: BASE + at_ns,
    }
}

fn of(side: Side, connection: u64, tid: u32, [start_ns, end_ns]: [u64; 2]) -> Exchange {
    Exchange {
        key: key(connection),
        side,
        thread: thread(tid),
        start_ns: BASE + start_ns,
        end_ns: BASE + end_ns,
        ..exchange()
    }
}

fn server(connection: u64, tid: u32, times: [u64; 2]) -> Exchange {
    of(Side::Server, connection, tid, times)
}

fn client(tid: u32, times: [u64; 2]) -> Exchange {
    of(Side::Client, 1_000_000 + times[0], tid, times)
}

fn context(span: u8) -> TraceParent {
    TraceParent {
        trace_id: [1; 16],
        span_id: [span; 8],
        flags: 1,
    }
}

impl Parents {
    fn begin(&mut self, started: &Started) {
        self.open(started, Step::Started);
    }
}

/// The connection of the parent.
fn parent(parents: &mut Parents, client: &Exchange) -> Option<u64> {
    match parents.ended(client) {
        Parent::Server(started) => Some(started.key.connection.sock),
        _ => None,
    }
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
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
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
    parents.begin(&started(2, 5, 300));
    assert_eq!(parent(&mut parents, &client(5, [310, 320])), Some(2));
    assert_eq!(counts(&parents), [4, 0, 3, 0]);
}

#[test]
fn another_process_has_threads_of_its_own() {
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
    let mut other = client(5, [110, 120]);
    other.thread.tgid = 11;
    assert_eq!(parent(&mut parents, &other), None);
}

#[test]
fn what_the_application_says_stays() {
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
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
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
    parents.begin(&started(2, 5, 110));
    assert_eq!(parent(&mut parents, &client(5, [120, 130])), None);
    // Asked for while there was one, and under way when the second came: the thread did not wait for it.
    assert_eq!(parent(&mut parents, &client(5, [105, 140])), None);
    assert_eq!(counts(&parents), [0, 0, 0, 2]);
}

#[test]
fn a_process_that_served_two_at_a_time_is_not_taken_for_one_that_does_not() {
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
    parents.begin(&started(2, 5, 110));
    parents.ended(&server(1, 5, [100, 150]));
    parents.ended(&server(2, 5, [110, 160]));
    // Now there is only one, on this thread and on another, and still nobody knows.
    for tid in [5, 6] {
        parents.begin(&started(3, tid, 200));
        assert_eq!(parent(&mut parents, &client(tid, [210, 220])), None);
    }
    assert_eq!(counts(&parents), [0, 0, 0, 2]);
}

#[test]
fn two_at_a_time_are_found_by_their_ends_alone() {
    let mut parents = parents();
    parents.ended(&server(1, 5, [100, 150]));
    parents.ended(&server(2, 5, [110, 140]));
    parents.begin(&started(3, 5, 200));
    assert_eq!(parent(&mut parents, &client(5, [210, 220])), None);
    assert_eq!(counts(&parents), [0, 0, 0, 1]);
}

#[test]
fn one_behind_the_other_are_not_two_at_a_time() {
    let mut parents = parents();
    for number in 0..100 {
        let times = [number * 100, number * 100 + 99];
        parents.begin(&started(number, 5, times[0]));
        let asked = client(5, [times[0] + 1, times[0] + 50]);
        assert_eq!(parent(&mut parents, &asked), Some(number));
        parents.ended(&server(number, 5, times));
    }
    assert_eq!(counts(&parents), [100, 0, 0, 0]);
}

/// An answer's end can be told long after the thread has gone on to the next request.
#[test]
fn between_an_answers_begin_and_its_late_end_nothing_is_certain() {
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
    parents.open(&started(1, 5, 100), answer(5, 150));
    assert_eq!(parent(&mut parents, &client(5, [140, 160])), Some(1));
    assert_eq!(parent(&mut parents, &client(5, [170, 180])), None);
    parents.begin(&started(2, 5, 200));
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
fn what_became_of_is_not_known_may_go_on_for_a_while() {
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
    parents.open(&started(1, 5, 100), Step::Dropped);
    parents.begin(&started(2, 5, 200));
    assert_eq!(parent(&mut parents, &client(5, [210, 220])), None);
    parents.ended(&server(2, 5, [200, 230]));
    let later = 2 * SETTLE_NS;
    parents.begin(&started(3, 5, later));
    let asked = client(5, [later + 1, later + 2]);
    assert_eq!(parent(&mut parents, &asked), Some(3));
    assert!(!parents.is_multiplexing(PROCESS));

    // The same of one whose client has gone: its thread may not have noticed.
    let mut closed = server(3, 5, [later, later + 10]);
    closed.status = Err(Unanswered::Closed);
    parents.ended(&closed);
    parents.begin(&started(4, 5, later + 20));
    let asked = client(5, [later + 30, later + 40]);
    assert_eq!(parent(&mut parents, &asked), None);
    parents.ended(&server(4, 5, [later + 20, later + 50]));
    let later = 2 * later;
    parents.begin(&started(5, 5, later));
    let asked = client(5, [later + 1, later + 2]);
    assert_eq!(parent(&mut parents, &asked), Some(5));
}

#[test]
fn an_end_that_nobody_tells_costs_no_more_than_it_must() {
    let mut parents = parents();
    // HTTP/1 answers one request of a connection after the other.
    parents.begin(&started(2, 5, 300));
    let mut later = server(2, 5, [400, 450]);
    later.key.message += 2;
    let mut next = started(2, 5, 400);
    next.key = later.key;
    parents.begin(&next);
    parents.ended(&later);
    parents.begin(&started(3, 5, 500));
    assert_eq!(parent(&mut parents, &client(5, [510, 520])), Some(3));

    // Nobody ever says: for an hour it may be going on.
    let hour = LOST_AFTER_NS;
    parents.begin(&started(4, 5, hour));
    assert_eq!(parent(&mut parents, &client(5, [hour + 1, hour + 2])), None);
    parents.ended(&server(4, 5, [hour, hour + 3]));
    let later = 3 * hour;
    parents.begin(&started(5, 5, later));
    let asked = client(5, [later + 1, later + 2]);
    assert_eq!(parent(&mut parents, &asked), Some(5));
}

#[test]
fn a_pipeline_is_worked_through_by_one_thread() {
    let mut parents = parents();
    let mut second = started(1, 5, 100);
    second.key.part = 1;
    parents.begin(&started(1, 5, 100));
    parents.begin(&second);
    assert_eq!(
        parent(&mut parents, &client(5, [110, 120])),
        None,
        "which of the two?"
    );
    parents.ended(&server(1, 5, [100, 150]));
    let mut end = server(1, 5, [100, 200]);
    end.key = second.key;
    parents.ended(&end);
    parents.begin(&started(2, 5, 300));
    assert_eq!(parent(&mut parents, &client(5, [310, 320])), Some(2));
}

#[test]
fn streams_of_one_connection_are_many_at_a_time() {
    let mut parents = parents();
    for stream in [1, 3] {
        let mut end = server(1, 5, [100 + u64::from(stream), 200]);
        (end.key.message, end.version) = (stream, "2");
        parents.ended(&end);
    }
    parents.begin(&started(2, 5, 300));
    assert_eq!(parent(&mut parents, &client(5, [310, 320])), None);
}

#[test]
fn what_is_known_beforehand_counts() {
    let mut parents = parents();
    parents.multiplexes(PROCESS);
    parents.begin(&started(1, 5, 100));
    assert_eq!(parent(&mut parents, &client(5, [110, 120])), None);
    assert_eq!(counts(&parents), [0, 0, 0, 1]);
}

#[test]
fn one_that_was_forgotten_may_be_going_on() {
    let mut parents = parents();
    for connection in 0..=SERVED as u64 {
        parents.begin(&started(connection, 5, 100 + connection));
    }
    for connection in 1..=SERVED as u64 {
        parents.open(&started(connection, 5, 100), Step::Dropped);
    }
    parents.begin(&started(100, 5, 200));
    assert_eq!(parent(&mut parents, &client(5, [210, 220])), None);
    assert_eq!(counts(&parents), [0, 0, 0, 1]);
}

#[test]
fn memory_is_bounded() {
    let mut parents = parents();
    for number in 0..20_000_u32 {
        parents.begin(&started(1, number, 100));
        for connection in 0..10 {
            parents.begin(&started(connection, 1, u64::from(number)));
        }
        parents.multiplexes(number + 1000);
    }
    assert_eq!(parents.workers.len(), WORKERS.get());
    assert_eq!(parents.processes.len(), PROCESSES.get());
    assert!(
        parents
            .workers
            .iter()
            .all(|(_, serving)| serving.served.len() <= SERVED)
    );
}

#[test]
fn an_exchange_is_judged_when_its_answer_begins() {
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
    let asked = request(Side::Client, 7, 5, 110);
    parents.open(&asked, answer(5, 120));
    parents.ended(&server(1, 5, [100, 130]));
    for number in 2..20 {
        parents.begin(&started(number, 5, number * 100));
        parents.ended(&server(number, 5, [number * 100, number * 100 + 50]));
    }
    let end = of(Side::Client, 7, 5, [110, 2000]);
    assert_eq!(parent(&mut parents, &end), Some(1));
}

#[test]
fn what_was_received_before_a_loss_has_no_children() {
    let mut parents = parents();
    prove(&mut parents);
    parents.begin(&started(9, 9, 900));
    parents.begin(&started(1, 5, 1000));
    parents.lost(BASE + 1010);
    // Its answer and another request may be what is missing.
    assert_eq!(parent(&mut parents, &client(5, [1020, 1030])), None);
    parents.ended(&server(1, 5, [1000, 1040]));
    parents.begin(&started(2, 5, 1050));
    assert_eq!(parent(&mut parents, &client(5, [1060, 1070])), Some(2));

    // Of a process that is not proven, any request may be missing for a while.
    let other = |mut started: Started| {
        started.request.thread.tgid = 11;
        started
    };
    let asked = |times| Exchange {
        thread: Thread::new(11, 5),
        ..client(5, times)
    };
    parents.begin(&other(started(3, 5, 1100)));
    assert_eq!(parent(&mut parents, &asked([1110, 1120])), None);
    let later = 1010 + SETTLE_NS;
    assert_eq!(
        parent(&mut parents, &asked([later + 1, later + 2])),
        Some(3)
    );
}

#[test]
fn a_context_that_is_passed_on_tells_whose_it_is() {
    let mut parents = parents();
    // A proxy, with many requests on a thread.
    parents.multiplexes(PROCESS);
    for (connection, span) in [(1, 11), (2, 12), (3, 13), (4, 13)] {
        let mut started = started(connection, 5, 100 + connection);
        started.request.parent = Some(context(span));
        parents.begin(&started);
    }
    let mut judge = |span| {
        let mut client = client(5, [200 + u64::from(span), 300]);
        client.parent = Some(context(span));
        match parents.ended(&client) {
            Parent::Server(started) => Some(started.key.connection.sock),
            Parent::Passed => Some(0),
            Parent::Own | Parent::Unknown => None,
        }
    };
    assert_eq!(judge(12), Some(2));
    assert_eq!(judge(11), Some(1));
    assert_eq!(judge(13), Some(0), "two had it");
    assert_eq!(judge(14), None, "the application's own");
    let counts = parents.counts();
    assert_eq!(
        [counts.parented(), counts.passed(), counts.own()],
        [2, 1, 1]
    );
}
