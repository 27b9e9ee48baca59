//! Whatever record is missing: no exchange is wrong, and those made and those counted as lost are all that there were.

use super::{
    tap::{CLIENT, Random, SERVER, Tap, decode},
    *,
};

/// What the script's author knows of an exchange.
#[derive(Debug, PartialEq, Eq)]
struct Truth {
    path: String,
    method: &'static str,
    status: u16,
    start_ns: u64,
    end_ns: u64,
    request_bytes: u64,
    response_bytes: u64,
}

impl Truth {
    fn matches(&self, exchange: &Exchange) -> bool {
        self.path == exchange.path
            && self.method == exchange.method
            && Ok(self.status) == exchange.status
            && (self.start_ns, self.end_ns) == (exchange.start_ns, exchange.end_ns)
            && self.request_bytes == exchange.request_bytes
            && self.response_bytes == exchange.response_bytes
    }
}

/// One side's view of a keep-alive connection with random exchanges, split into random I/O calls.
fn session(random: &mut Random, exchanges: usize) -> (Tap, Vec<Truth>) {
    let role = random.one_of(&[SERVER, CLIENT]);
    let mut tap = Tap::new(role);
    let mut now = 0;
    let mut truths = Vec::new();
    for number in 0..exchanges {
        let method = random.one_of(&["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE"]);
        let path = format!("/e/{number}");
        let mut request = format!(
            "{method} {path}?q={} HTTP/1.1\r\nHost: localhost\r\n",
            random.next()
        );
        if random.below(4) == 0 {
            request += &format!("Cookie: {}\r\n", "c".repeat(random.below(1500) as usize));
        }
        let with_body = matches!(method, "POST" | "PUT");
        let body = body(random, with_body);
        let chunked = with_body && random.below(3) == 0;
        let request = message(request, &body, chunked, with_body);

        let status = random.one_of(&[200, 200, 201, 204, 301, 304, 404, 500]);
        let bodyless = method == "HEAD" || matches!(status, 204 | 304);
        let body = self::body(random, !bodyless);
        let chunked = !bodyless && random.below(3) == 0;
        let response = message(
            format!("HTTP/1.1 {status} R\r\nServer: t\r\n"),
            &body,
            chunked,
            !bodyless,
        );

        let (start_ns, _) = play(&mut tap, random, role == SERVER, &request, &mut now, 1);
        // Enough of a response's first call to see that it is one: a real server never splits a status line.
        let (_, end_ns) = play(&mut tap, random, role != SERVER, &response, &mut now, 16);
        truths.push(Truth {
            path,
            method,
            status,
            start_ns,
            end_ns,
            request_bytes: request.len() as u64,
            response_bytes: response.len() as u64,
        });
    }
    tap.close(now + 5);
    (tap, truths)
}

fn body(random: &mut Random, wanted: bool) -> Vec<u8> {
    let length = if wanted {
        random.one_of(&[0, 5, 700, 3000, 20_000])
    } else {
        0
    };
    // A body that looks like heads is no head.
    b"GET /no HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
        .iter()
        .copied()
        .cycle()
        .take(length)
        .collect()
}

fn message(mut head: String, body: &[u8], chunked: bool, framed: bool) -> Vec<u8> {
    if chunked {
        head += "Transfer-Encoding: chunked\r\n\r\n";
        let mut bytes = head.into_bytes();
        for chunk in body.chunks(900) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        return bytes;
    }
    if framed {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    [head.as_bytes(), body].concat()
}

fn play(
    tap: &mut Tap,
    random: &mut Random,
    received: bool,
    mut bytes: &[u8],
    now: &mut u64,
    least: usize,
) -> (u64, u64) {
    let first = *now + 1;
    let mut least = least;
    while !bytes.is_empty() {
        let most = bytes.len() as u64;
        let length = match random.below(4) {
            0 => 1 + random.below(most.min(60)),
            1 => 1 + random.below(most),
            _ => most,
        };
        let (call, rest) = bytes.split_at((length as usize).max(least).min(bytes.len()));
        *now += 1;
        if received {
            tap.receive(call, *now);
        } else {
            tap.send(call, *now);
        }
        bytes = rest;
        least = 1;
    }
    (first, *now)
}

fn check(records: &[Vec<u8>], truths: &[Truth], what: &str) -> u64 {
    let (exchanges, counts) = decode(records);
    for exchange in &exchanges {
        let truth = truths
            .iter()
            .filter(|truth| truth.matches(exchange))
            .count();
        assert_eq!(truth, 1, "{what}: {exchange:#?} is not in {truths:#?}");
    }
    let paths: std::collections::HashSet<&str> = exchanges
        .iter()
        .map(|exchange| exchange.path.as_str())
        .collect();
    assert_eq!(
        paths.len(),
        exchanges.len(),
        "{what}: an exchange was made twice"
    );
    assert_eq!(
        counts.exchanges(ExchangeOutcome::Delivered),
        exchanges.len() as u64,
        "{what}"
    );
    assert_eq!(
        exchanges.len() as u64 + counts.lost(),
        truths.len() as u64,
        "{what}: {counts:?}"
    );
    let outcomes: u64 = RecordOutcome::ALL
        .iter()
        .map(|&outcome| counts.records(outcome))
        .sum();
    assert_eq!(
        outcomes,
        records.len() as u64,
        "{what}: each record has one outcome"
    );
    counts.lost()
}

#[test]
fn nothing_is_lost_where_every_record_arrives() {
    for seed in 0..400 {
        let (tap, truths) = session(&mut Random(seed), 12);
        assert_eq!(
            check(&tap.records, &truths, &format!("seed {seed}")),
            0,
            "seed {seed}"
        );
    }
}

#[test]
fn any_one_record_may_be_missing() {
    let mut lost = 0;
    for seed in 0..40 {
        let (tap, truths) = session(&mut Random(seed), 6);
        for missing in 0..tap.records.len() - 1 {
            let mut records = tap.records.clone();
            records.remove(missing);
            lost += check(
                &records,
                &truths,
                &format!("seed {seed}, without record {missing}"),
            );
        }
    }
    assert!(lost > 100, "records that were needed were among them");
}

#[test]
fn any_two_records_may_be_missing() {
    for seed in 0..8 {
        let (tap, truths) = session(&mut Random(seed), 4);
        for first in 0..tap.records.len() - 2 {
            for second in first + 1..tap.records.len() - 1 {
                let mut records = tap.records.clone();
                records.remove(second);
                records.remove(first);
                check(
                    &records,
                    &truths,
                    &format!("seed {seed}, without {first} and {second}"),
                );
            }
        }
    }
}

#[test]
fn any_number_of_records_may_be_missing() {
    for seed in 0..1000 {
        let mut random = Random(seed);
        let (tap, truths) = session(&mut random, 8);
        let share = 1 + random.below(9);
        let last = tap.records.len() - 1;
        let kept = tap
            .records
            .iter()
            .enumerate()
            .filter(|(at, _)| *at == last || random.below(10) >= share);
        let kept: Vec<Vec<u8>> = kept.map(|(_, record)| record.clone()).collect();
        check(
            &kept,
            &truths,
            &format!("seed {seed}, {share} in 10 missing"),
        );
    }
}
