mod goroutines;

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

/// Threads that serve at the same time, each one request after the other.
fn prove(parents: &mut Parents) {
    for number in 0..=u64::from(PROOF) {
        let at = number * 5;
        let threads = [(1000 + number, 101), (2000 + number, 102)];
        for (connection, tid) in threads {
            parents.begin(&started(connection, tid, at));
        }
        for (connection, tid) in threads {
            parents.open(&started(connection, tid, at), answer(tid, at + 2));
            parents.ended(&server(connection, tid, [at, at + 2]));
        }
    }
}

#[test]
fn who_serves_several_at_a_time_has_to_be_proven() {
    let mut parents = parents();
    parents.begin(&started(1, 5, 100));
    parents.begin(&started(2, 6, 110));
    assert_eq!(parent(&mut parents, &client(5, [120, 130])), None);
    parents.ended(&server(1, 5, [100, 150]));
    parents.ended(&server(2, 6, [110, 160]));

    prove(&mut parents);
    parents.begin(&started(3, 5, 1000));
    parents.begin(&started(4, 6, 1010));
    assert_eq!(parent(&mut parents, &client(5, [1020, 1030])), Some(3));
    assert_eq!(parent(&mut parents, &client(6, [1020, 1030])), Some(4));

    // A thread that serves nothing sends what another was asked for, perhaps: so may these.
    assert_eq!(parent(&mut parents, &client(7, [1020, 1030])), None);
    assert_eq!(parent(&mut parents, &client(5, [1040, 1050])), None);
}

#[test]
fn a_thread_of_its_own_waits_for_what_it_asked_for() {
    let mut parents = parents();
    prove(&mut parents);
    parents.begin(&started(9, 9, 900));
    parents.begin(&started(1, 5, 1000));
    parents.begin(&request(Side::Client, 7, 5, 1010));
    parents.open(&started(1, 5, 1000), answer(5, 1020));
    parents.ended(&server(1, 5, [1000, 1030]));
    // That was for another, perhaps.
    parents.begin(&started(2, 5, 1040));
    assert_eq!(parent(&mut parents, &client(5, [1050, 1060])), None);
    assert!(
        !parents.is_multiplexing(PROCESS),
        "it may have been a time-out"
    );
}

#[test]
fn an_answer_by_another_thread_says_that_requests_move() {
    let mut parents = parents();
    prove(&mut parents);
    parents.begin(&started(1, 5, 1000));
    parents.open(&started(1, 5, 1000), answer(6, 1010));
    parents.ended(&server(1, 5, [1000, 1010]));
    parents.begin(&started(2, 5, 2000));
    assert_eq!(parent(&mut parents, &client(5, [2010, 2020])), None);
}

/// Whoever of a proven process receives a request is done with those that it has answered, whenever their ends are told.
#[test]
fn a_thread_of_its_own_is_done_with_what_it_has_answered() {
    let mut parents = parents();
    prove(&mut parents);
    parents.begin(&started(9, 9, 900));
    parents.begin(&started(1, 5, 1000));
    parents.open(&started(1, 5, 1000), answer(5, 1010));
    parents.begin(&started(2, 5, 1020));
    assert_eq!(parent(&mut parents, &client(5, [1030, 1040])), Some(2));
    parents.ended(&server(1, 5, [1000, 1012]));
    assert_eq!(parent(&mut parents, &client(5, [1050, 1060])), Some(2));
    assert!(!parents.is_multiplexing(PROCESS));
}

#[test]
fn the_threads_of_http_2_prove_nothing() {
    let mut parents = parents();
    prove(&mut parents);
    let mut http2 = client(5, [110, 120]);
    http2.version = "2";
    parents.begin(&started(1, 5, 1000));
    (http2.start_ns, http2.end_ns) = (BASE + 1010, BASE + 1020);
    assert_eq!(
        parent(&mut parents, &http2),
        Some(1),
        "nothing else is open"
    );
    parents.begin(&started(2, 6, 1030));
    (http2.start_ns, http2.end_ns) = (BASE + 1040, BASE + 1050);
    assert_eq!(parent(&mut parents, &http2), None);

    // Another thread read the answer: the connection is shared.
    let asked = request(Side::Client, 7, 5, 1060);
    parents.open(&asked, answer(8, 1070));
    let mut end = of(Side::Client, 7, 5, [1060, 1080]);
    assert_eq!(parent(&mut parents, &end), None);
    parents.open(&asked, answer(5, 1070));
    assert_eq!(parent(&mut parents, &end), Some(1));

    // It may have had a context of its own.
    let mut asked = asked;
    asked.request.partial = true;
    end.key.message += 2;
    asked.key = end.key;
    parents.open(&asked, answer(5, 1070));
    assert_eq!(parent(&mut parents, &end), None);
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

/// What a program does, as a tap tells it: in the order in which it happened.
enum Told {
    Started(Started),
    Answered(Started, Step),
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
        let answered = answer(thread_of(number), end);
        told.push((end, Told::Answered(started(number, receiver, at), answered)));
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
            Told::Started(started) => parents.begin(&started),
            Told::Answered(started, step) => parents.open(&started, step),
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
fn a_thread_for_each_request_gets_its_own() {
    let mut parents = parents();
    // Many at a time, each on a thread that is its own until it is done.
    let told = program(1000, 10, |number| 100 + (number % 200) as u32);
    let [right, wrong, none] = judge(&mut parents, told);
    assert_eq!((wrong, right + none), (0, 2000));
    // Those before there was a proof, and those that were under way then.
    assert!(none < 400, "{none}");
}

#[test]
fn an_event_loop_gets_nothing_wrong() {
    let mut parents = parents();
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
    let mut parents = parents();
    let mut random = Random(7);
    let told = program(1000, 10, move |_| 1 + random.below(4) as u32);
    let [right, wrong, none] = judge(&mut parents, told);
    assert_eq!(wrong, 0, "{right} right, {none} none");
    let mut random = Random(8);
    let told = program(1000, 5000, move |_| 1 + random.below(4) as u32);
    assert_eq!(judge(&mut parents, told), [0, 0, 2000], "and that stays so");
}
