//! The table that goes into the documentation: a row for each end of each subject.

use std::fmt::Write as _;

use super::{End, Role, compare::Verdict, latency::Latency};
use crate::subjects::{Protocol, Seen, Subject};

/// One end of a subject.
pub struct Row {
    /// The subject's number.
    pub number: usize,
    library: String,
    tls: Option<String>,
    role: Role,
    protocol: Protocol,
    peer: &'static str,
    floor: Seen,
    is_timed: bool,
    found: Found,
}

enum Found {
    NotTested(String),
    Tested(Verdict, Option<Latency>),
}

/// Whether a row may have less than it must.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bears {
    /// It may not.
    Nothing,
    /// Some exchanges may be missing.
    SomeLost,
}

impl Row {
    /// A row of what could not be tried here.
    pub fn not_tested(number: usize, subject: &Subject, role: Role, why: &str) -> Self {
        let (own, peer) = match role {
            Role::Server => (subject.server, subject.client),
            Role::Client => (subject.client, subject.server),
        };
        Self {
            number,
            library: own.name().to_owned(),
            tls: None,
            role,
            protocol: subject.protocol,
            peer: peer.name(),
            floor: role.floor(subject),
            is_timed: false,
            found: Found::NotTested(why.to_owned()),
        }
    }

    /// A row of what was tried.
    pub fn tested(end: &End, verdict: Verdict, latency: Option<Latency>) -> Self {
        Self {
            library: end.library.name.clone(),
            tls: end.library.tls.clone(),
            is_timed: end.timing.is_some(),
            found: Found::Tested(verdict, latency),
            ..Self::not_tested(end.number, &end.of, end.role, "")
        }
    }

    /// How much is seen; none where it was not tried.
    pub fn seen(&self) -> Option<Seen> {
        match &self.found {
            Found::Tested(verdict, _) => Some(verdict.seen),
            Found::NotTested(_) => None,
        }
    }

    /// What fails the scenario.
    pub fn problem(&self, bears: Bears) -> Option<String> {
        let Found::Tested(verdict, _) = &self.found else {
            return None;
        };
        let mut faults = Vec::new();
        let is_borne = bears == Bears::SomeLost && verdict.seen == Seen::Partly;
        if verdict.seen < self.floor && !is_borne {
            faults.push(format!(
                "must be {} and is {}: {} of {} counted, missing {}",
                self.floor,
                verdict.seen,
                verdict.counted,
                verdict.logged,
                verdict.missing.join(", ")
            ));
        }
        if !verdict.wrong.is_empty() {
            let wrong = verdict.wrong.join(", ");
            faults.push(format!("counted and never happened: {wrong}"));
        }
        faults.extend(self.off_in_time());
        (!faults.is_empty()).then(|| format!("{}: {}", self.name(), faults.join("; ")))
    }

    /// Exchanges that were to be seen and were not.
    pub fn missing(&self) -> u64 {
        match &self.found {
            Found::Tested(verdict, _) if verdict.seen < self.floor => {
                verdict.logged - verdict.counted
            }
            _ => 0,
        }
    }

    /// Exchanges that the program logged.
    pub fn logged(&self) -> u64 {
        match &self.found {
            Found::Tested(verdict, _) => verdict.logged,
            Found::NotTested(_) => 0,
        }
    }

    /// Why it was not tried.
    pub fn why_not_tested(&self) -> Option<String> {
        match &self.found {
            Found::NotTested(why) => Some(format!("{}: {why}", self.name())),
            Found::Tested(..) => None,
        }
    }

    /// More than the floor asks for, so that it can be raised.
    pub fn above_the_floor(&self) -> Option<String> {
        let seen = self.seen().filter(|seen| *seen > self.floor)?;
        Some(format!("{}: {seen}", self.name()))
    }

    /// A median that is further from the truth than promised.
    fn off_in_time(&self) -> Option<String> {
        let latency = match &self.found {
            Found::Tested(_, Some(latency)) => latency,
            // Without clocks no spans were asked for.
            Found::Tested(verdict, None) if self.is_timed && verdict.seen == Seen::Fully => {
                return Some("too few of its requests had a span".to_owned());
            }
            _ => return None,
        };
        let other = latency.other.filter(|_| !latency.is_close())?;
        Some(format!(
            "its median is {:.0} µs, and {other:.0} by another clock: {}",
            latency.fathom, latency.by
        ))
    }

    /// What tells it from every other row.
    fn name(&self) -> String {
        format!(
            "{} as {} of {} over {}",
            self.library,
            self.role.name(),
            self.peer,
            self.protocol
        )
    }
}

/// The page.
pub fn markdown(rows: &[Row]) -> String {
    let mut page = String::from(
        "# What is seen

Written by `scenario run seen --write-docs` and by nobody else. Each row is one end of a server and a client that talk over loopback; both log what they do,
and fathom's RED metrics are compared with that, by method, route and status (over gRPC by service, method and status). *Seen* is each exchange exactly,
*partly* is some of them, *not* is none; connections and bytes are counted whatever is said on them. No row has an exchange that never happened: the
scenario fails on the first.

The medians are of the same requests, made one after the other: fathom's spans, and a clock that is not fathom's. They must be within 5 % or 50 µs of each
other, whichever is more, at the fifth try at the latest, as this machine may have been busy; where a byte takes more than 25 µs over loopback and back, twice that stands for the 50. That clock is the program's own, as close to its connection as its library lets it
look (`tests/subjects/README.md`), with exceptions. nginx's log has milliseconds, and wget has no clock: they are compared, by nginx's log, for answers
that take 40 ms. curl's own clock starts when it has sent the request, which the server may have answered by then: a span may be as long as since its
connection stood. The libraries of gRPC, and Node's HTTP/2 in a server, keep their connections to themselves, and tell when a call came out of their own queues. gRPC is compared with
the kernel's time stamps of the packets as well as with its library's: a span may lie anywhere between the two, as what has come waits for its reader. Where packets are encrypted, and with Node, whose one thread leaves packets waiting, there is no other clock. Medians are left
out where too few of these requests were seen.

| library | TLS by | role | protocol | with | requests | seen | median, fathom's | the other clock's | which is |
|---|---|---|---|---|--:|---|--:|--:|---|
",
    );
    for row in rows {
        let (requests, seen, medians) = match &row.found {
            Found::NotTested(why) => (String::new(), format!("not tested: {why}"), None),
            Found::Tested(verdict, latency) => {
                let seen = match verdict.seen {
                    Seen::Partly => format!("partly ({})", verdict.counted),
                    whole => whole.to_string(),
                };
                (verdict.logged.to_string(), seen, *latency)
            }
        };
        let (of_fathom, own, by) = medians.map_or_else(Default::default, |latency| {
            (
                format!("{:.0} µs", latency.fathom),
                latency
                    .other
                    .map_or_else(String::new, |other| format!("{other:.0} µs")),
                latency.by.to_string(),
            )
        });
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {requests} | {seen} | {of_fathom} | {own} | {by} |",
            row.library,
            row.tls.as_deref().unwrap_or(""),
            row.role.name(),
            row.protocol,
            row.peer,
        );
    }
    page.push_str(NOT_SEEN);
    page
}

/// What no row can show, for there is nothing to compare.
const NOT_SEEN: &str = "
## What is not seen

Connections and bytes are counted whatever is said on them. Requests are not, where TLS is that of

- **Java**: it is code that the virtual machine compiles as it runs;
- **rustls**, in every build: one that keeps its symbols has functions that each byte passes (`CommonState::take_received_plaintext` and `buffer_plaintext` in 0.23), but what they are
  given are Rust types, whose layout no compiler promises; a stripped one has nothing to hold on to;
- **OpenSSL or BoringSSL, linked into a program or a library without its symbols**, as in gRPC's wheels for Python. With symbols they are seen, as in Node;
- Go before 1.18, and any other library (NSS, Mbed TLS, wolfSSL, s2n-tls).

Of these the agent finds the first three out: its log names each such file once, and `fathom.events{stage=\"tap\", signal=\"tls_files\", outcome=\"unseen\"}` counts them. HTTP/3 goes over UDP, and is not seen at all.
";

#[cfg(test)]
mod tests {
    use super::{Bears, Found, Role, Row, markdown};
    use crate::{
        scenarios::seen::{compare::Verdict, latency::Latency, load::Clock},
        subjects::{SUBJECTS, Seen},
    };

    fn row(seen: Seen, floor: Seen, wrong: &[&str]) -> Row {
        let verdict = Verdict {
            seen,
            logged: 10,
            counted: 3,
            missing: Vec::new(),
            wrong: wrong.iter().map(|&text| text.to_owned()).collect(),
        };
        let latency = Latency {
            by: Clock::Own,
            other: Some(280.0),
            bound: None,
            fathom: 300.0,
        };
        Row {
            floor,
            found: Found::Tested(verdict, Some(latency)),
            ..Row::not_tested(0, &SUBJECTS[0], Role::Server, "")
        }
    }

    #[test]
    fn less_than_the_floor_and_what_never_happened_are_problems() {
        assert!(
            row(Seen::Partly, Seen::Fully, &[])
                .problem(Bears::Nothing)
                .is_some()
        );
        assert!(
            row(Seen::Fully, Seen::Fully, &["1 x GET / 200"])
                .problem(Bears::Nothing)
                .is_some()
        );
        assert!(
            row(Seen::Fully, Seen::Not, &[])
                .problem(Bears::Nothing)
                .is_none()
        );
        assert!(row(Seen::Fully, Seen::Not, &[]).above_the_floor().is_some());
        assert!(row(Seen::Not, Seen::Not, &[]).above_the_floor().is_none());
    }

    #[test]
    fn a_median_that_is_off_and_too_few_spans_are_problems() {
        let mut row = row(Seen::Fully, Seen::Fully, &[]);
        row.is_timed = true;
        assert!(row.problem(Bears::Nothing).is_none());
        let Found::Tested(verdict, Some(latency)) = &mut row.found else {
            unreachable!("it was tested");
        };
        let verdict = verdict.clone();
        latency.other = Some(24_000.0);
        assert!(
            row.problem(Bears::Nothing)
                .is_some_and(|why| why.contains("24000"))
        );
        row.found = Found::Tested(verdict, None);
        assert!(
            row.problem(Bears::Nothing)
                .is_some_and(|why| why.contains("span"))
        );
    }

    #[test]
    fn a_row_says_what_was_found_or_why_not() {
        let page = markdown(&[
            row(Seen::Partly, Seen::Not, &[]),
            Row::not_tested(1, &SUBJECTS[1], Role::Client, "no h2load"),
        ]);
        assert!(
            page.contains("| 10 | partly (3) | 300 µs | 280 µs | its own |"),
            "{page}"
        );
        assert!(page.contains("not tested: no h2load"), "{page}");
    }
}
