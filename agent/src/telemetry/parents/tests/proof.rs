//! Who serves several requests at a time, and whether each has a thread of its own.

use super::*;

/// Threads that serve at the same time, each one request after the other.
pub(super) fn prove(parents: &mut Parents) {
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
