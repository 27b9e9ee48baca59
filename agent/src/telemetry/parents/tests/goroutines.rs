//! Go programs, whose goroutines take the place of threads.

use super::*;

/// A goroutine, and the thread that it is on.
fn on(goroutine: u64, tid: u32) -> Thread {
    Thread {
        goroutine,
        ..thread(tid)
    }
}

fn by(goroutine: u64, tid: u32, mut started: Started) -> Started {
    started.request.thread = on(goroutine, tid);
    started
}

fn client_of(goroutine: u64, times: [u64; 2]) -> Exchange {
    Exchange {
        thread: on(goroutine, 77),
        ..client(7, times)
    }
}

#[test]
fn a_goroutine_takes_its_request_from_thread_to_thread() {
    let mut parents = parents();
    parents.has_goroutines(PROCESS);
    // Two at a time, whose goroutines share a thread and leave it.
    parents.begin(&by(0x1000, 5, started(1, 5, 100)));
    parents.begin(&by(0x2000, 5, started(2, 5, 101)));
    assert_eq!(
        parent(&mut parents, &client_of(0x1000, [110, 120])),
        Some(1)
    );
    assert_eq!(
        parent(&mut parents, &client_of(0x2000, [111, 121])),
        Some(2)
    );
    assert_eq!(
        parent(&mut parents, &client_of(0x3000, [112, 122])),
        None,
        "one that another has started"
    );
    assert_eq!(
        parent(&mut parents, &client_of(0, [113, 123])),
        None,
        "of whom is not known"
    );
    // The answer may come from any thread, and its beginning from any goroutine.
    let request = by(0x1000, 5, started(1, 5, 100));
    let answered = Step::Answered {
        thread: on(0x4000, 9),
        at_ns: BASE + 130,
    };
    parents.open(&request, answered);
    assert_eq!(parent(&mut parents, &client_of(0x1000, [140, 150])), None);
    assert_eq!(
        parent(&mut parents, &client_of(0x2000, [140, 150])),
        Some(2),
        "the process goes on to have parents"
    );
}

#[test]
fn who_reads_the_rest_of_a_head_serves_it() {
    let mut parents = parents();
    parents.has_goroutines(PROCESS);
    let mut first = by(0x9000, 5, started(1, 5, 100));
    first.request.partial = true;
    parents.begin(&first);
    assert_eq!(parent(&mut parents, &client_of(0x9000, [105, 106])), None);
    parents.begin(&by(0x1000, 5, started(1, 5, 100)));
    assert_eq!(parent(&mut parents, &client_of(0x9000, [110, 120])), None);
    assert_eq!(
        parent(&mut parents, &client_of(0x1000, [110, 120])),
        Some(1)
    );
}

#[test]
fn a_goroutine_that_receives_another_request_before_it_has_answered_has_no_children() {
    let mut parents = parents();
    parents.has_goroutines(PROCESS);
    parents.begin(&by(0x1000, 5, started(1, 5, 100)));
    parents.begin(&by(0x1000, 5, started(2, 5, 110)));
    assert_eq!(parent(&mut parents, &client_of(0x1000, [120, 130])), None);
}

#[test]
fn a_thread_is_known_to_serve_its_request_only_where_requests_keep_their_threads() {
    let mut parents = parents();
    assert!(
        !parents.is_multiplexing(PROCESS),
        "nothing speaks against it"
    );
    parents.has_goroutines(PROCESS);
    assert!(!parents.is_multiplexing(PROCESS));
    assert!(!parents.is_multiplexing(PROCESS + 1));
    parents.multiplexes(PROCESS + 1);
    assert!(parents.is_multiplexing(PROCESS + 1));
}
