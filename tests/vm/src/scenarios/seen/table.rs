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
    found: Found,
}

enum Found {
    NotTested(String),
    Tested(Verdict, Option<Latency>),
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
            found: Found::NotTested(why.to_owned()),
        }
    }

    /// A row of what was tried.
    pub fn tested(end: &End, verdict: Verdict, latency: Option<Latency>) -> Self {
        Self {
            library: end.library.name.clone(),
            tls: end.library.tls.clone(),
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
    pub fn problem(&self) -> Option<String> {
        let Found::Tested(verdict, _) = &self.found else {
            return None;
        };
        let mut faults = Vec::new();
        if verdict.seen < self.floor {
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
        (!faults.is_empty()).then(|| format!("{}: {}", self.name(), faults.join("; ")))
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
    pub fn off_in_time(&self) -> Option<String> {
        match &self.found {
            Found::Tested(_, Some(latency)) if !latency.is_close() => Some(format!(
                "{}: {:.0} µs, by its own clock {:.0}",
                self.name(),
                latency.fathom,
                latency.own
            )),
            _ => None,
        }
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

The medians are of the same requests, made one after the other: fathom's spans, and the program's own clock (nginx's and wget's are too coarse to compare with).
They are to be within 5 % or 50 µs of each other, whichever is more; where they are not, they are in *italics*. A program's clock runs where its library lets
it look, which for Node's HTTP/2 and for gRPC is some way from the socket.

| library | TLS by | role | protocol | with | requests | seen | median, fathom's | its own |
|---|---|---|---|---|--:|---|--:|--:|
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
        let (of_fathom, own) = medians.map_or_else(Default::default, |latency| {
            let mark = if latency.is_close() { "" } else { "*" };
            (
                format!("{mark}{:.0} µs{mark}", latency.fathom),
                format!("{mark}{:.0} µs{mark}", latency.own),
            )
        });
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {requests} | {seen} | {of_fathom} | {own} |",
            row.library,
            row.tls.as_deref().unwrap_or(""),
            row.role.name(),
            row.protocol,
            row.peer,
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::{Found, Role, Row, markdown};
    use crate::{
        scenarios::seen::{compare::Verdict, latency::Latency},
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
            own: 100.0,
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
        assert!(row(Seen::Partly, Seen::Fully, &[]).problem().is_some());
        assert!(
            row(Seen::Fully, Seen::Fully, &["1 x GET / 200"])
                .problem()
                .is_some()
        );
        assert!(row(Seen::Fully, Seen::Not, &[]).problem().is_none());
        assert!(row(Seen::Fully, Seen::Not, &[]).above_the_floor().is_some());
        assert!(row(Seen::Not, Seen::Not, &[]).above_the_floor().is_none());
    }

    #[test]
    fn a_row_says_what_was_found_or_why_not() {
        let page = markdown(&[
            row(Seen::Partly, Seen::Not, &[]),
            Row::not_tested(1, &SUBJECTS[1], Role::Client, "no h2load"),
        ]);
        assert!(
            page.contains("| 10 | partly (3) | *300 µs* | *100 µs* |"),
            "{page}"
        );
        assert!(page.contains("not tested: no h2load"), "{page}");
    }
}
