//! Connections whose bytes begin to travel, in the midst of what they say.

use super::{tap::Random, *};

const HEAD: &[u8] = b"POST /up HTTP/1.1\r\nContent-Length: 3000\r\n\r\n";

/// Path, status, and bytes of both.
type Told = (String, Result<u16, Unanswered>, u64, u64);

fn told(tap: &Tap) -> (Vec<Told>, u64) {
    let (exchanges, counts) = decode(&tap.records);
    let exchanges = exchanges
        .into_iter()
        .map(|exchange| {
            (
                exchange.path,
                exchange.status,
                exchange.request_bytes,
                exchange.response_bytes,
            )
        })
        .collect();
    (exchanges, counts.lost())
}

#[test]
fn a_request_behind_the_body_of_one_that_was_answered_early() {
    let mut tap = Tap::new(SERVER);
    tap.receive(HEAD, 1).receive(&[b'x'; 1000], 2);
    tap.send(OK, 3).receive(&[b'x'; 2000], 4);
    tap.travel(5).receive(GET, 5).send(OK, 6);
    tap.receive(GET, 7).send(OK, 8).close(9);
    let expected = [
        (
            "/up".to_owned(),
            Ok(200),
            HEAD.len() as u64 + 3000,
            OK.len() as u64,
        ),
        (
            "/users/7".to_owned(),
            Ok(200),
            GET.len() as u64,
            OK.len() as u64,
        ),
        (
            "/users/7".to_owned(),
            Ok(200),
            GET.len() as u64,
            OK.len() as u64,
        ),
    ];
    assert_eq!(told(&tap), (expected.to_vec(), 0));
}

#[test]
fn a_body_that_looks_like_a_request_stays_a_body_and_an_answer_goes_on() {
    // A log of requests is uploaded, while the answer is under way.
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n";
    let line = b"GET / HTTP/1.1\r\n\r\n";
    let mut random = Random(7);
    for _ in 0..200 {
        let mut tap = Tap::new(SERVER);
        let first = random.below(2900) as usize;
        tap.receive(HEAD, 1).receive(&vec![b'x'; first], 2);
        let early = random.below(600) as usize;
        tap.send(&[answer, vec![b'y'; early].as_slice()].concat(), 3);
        // The tap sees a body's rest that looks like a request.
        tap.travel(4);
        let mut rest = line.to_vec();
        rest.resize(3000 - first, b'z');
        let cut = random.below(rest.len() as u64) as usize;
        if cut > 0 {
            tap.receive(&rest[..cut], 5);
        }
        tap.receive(&rest[cut..], 6);
        tap.send(&vec![b'y'; 600 - early], 7);
        tap.receive(GET, 8).send(OK, 9).close(10);
        let expected = [
            (
                "/up".to_owned(),
                Ok(200),
                HEAD.len() as u64 + 3000,
                answer.len() as u64 + 600,
            ),
            (
                "/users/7".to_owned(),
                Ok(200),
                GET.len() as u64,
                OK.len() as u64,
            ),
        ];
        assert_eq!(told(&tap), (expected.to_vec(), 0), "{first} {early} {cut}");
    }
}

#[test]
fn what_is_not_known_to_be_over_is_lost_and_counted() {
    let mut tap = Tap::new(SERVER);
    tap.receive(
        b"POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        1,
    );
    tap.send(OK, 2).receive(b"llo\r\n0\r\n\r\n", 3);
    tap.travel(4).receive(GET, 4).send(OK, 5).close(6);
    let (exchanges, lost) = told(&tap);
    assert_eq!(exchanges.len() as u64 + lost, 2, "{exchanges:?}");
    assert!(exchanges.iter().all(|exchange| exchange.0 != "/up"));
}

#[test]
fn a_server_of_http_2_may_speak_first() {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ACKNOWLEDGED: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // GET https / without and 204, by the static table (RFC 7541 appendix A).
    const REQUEST: &[u8] = &[0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x84];
    const ANSWER: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x89];
    for role in [fathom_abi::Role::UNKNOWN, SERVER] {
        for is_unseen in [false, true] {
            let mut tap = Tap::new(role);
            tap.travel(1);
            if !is_unseen {
                tap.send(SETTINGS, 1);
            }
            tap.receive(&[PREFACE, SETTINGS, REQUEST].concat(), 2);
            tap.send(&[ACKNOWLEDGED, ANSWER].concat(), 3).close(4);
            let (exchanges, lost) = told(&tap);
            assert_eq!(lost, 0, "{role:?} {is_unseen}");
            assert_eq!(exchanges.len(), 1, "{role:?} {is_unseen}");
            assert_eq!(exchanges[0].1, Ok(204));
        }
    }
}

#[test]
fn a_request_that_is_seen_behind_its_answer_takes_no_other_ones() {
    let get = |n: u32| format!("GET /{n} HTTP/1.1\r\n\r\n").into_bytes();
    let answer = |n: u32| format!("HTTP/1.1 {n} x\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let mut tap = Tap::new(CLIENT);
    tap.send(&get(1), 1).receive(&answer(201), 2);
    // The second answer is read while the task that sent its request is kept from the tap.
    tap.receive(&answer(202), 3).send(&get(2), 4);
    // The third request seems to come on the heels of the second.
    tap.travel(5).send(&get(3), 5).receive(&answer(203), 6);
    tap.send(&get(4), 7).receive(&answer(204), 8);
    // Nothing is under way any more.
    let later = 2_000_000_000;
    tap.send(&get(5), later)
        .receive(&answer(205), later + 1)
        .close(later + 2);
    let (exchanges, lost) = told(&tap);
    let names: Vec<_> = exchanges
        .iter()
        .map(|exchange| (exchange.0.as_str(), exchange.1))
        .collect();
    assert_eq!(names, [("/1", Ok(201)), ("/5", Ok(205))]);
    assert!(lost >= 3, "{lost}");
}
