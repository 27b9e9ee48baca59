//! Programs of random timing, in which every parent is known.

use super::*;

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
