//! What a program says of itself.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// A kind of exchange: over HTTP method, route and status; over gRPC no method, `service/method` and the status's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The method; empty for a call of gRPC.
    pub method: String,
    /// The route, or `service/method`.
    pub route: String,
    /// The status.
    pub status: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.method, &self.route, &self.status];
        let told: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        f.write_str(&told.join(" "))
    }
}

/// How many there were of each kind.
pub type Answers = BTreeMap<Answer, u64>;

/// How many there were in all.
pub fn total(answers: &Answers) -> u64 {
    answers.values().sum()
}

/// A log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What was asked and answered.
    pub answers: Answers,
    /// How long they took, seconds; empty where the program does not tell closely enough.
    pub times: Vec<f64>,
    /// The most that they took, where `times` has the least.
    pub at_most: Vec<f64>,
}

impl Log {
    /// Adds an exchange.
    pub fn add(&mut self, method: &str, path: &str, status: impl ToString) {
        let answer = Answer {
            method: method.to_owned(),
            route: route(path).to_owned(),
            status: status.to_string(),
        };
        *self.answers.entry(answer).or_insert(0) += 1;
    }

    /// Adds what another log holds.
    pub fn append(&mut self, other: Self) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_insert(0) += count;
        }
        self.times.extend(other.times);
        self.at_most.extend(other.at_most);
    }
}

/// A line of a log; `tests/subjects/README.md` has the form.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Http {
        method: String,
        path: String,
        status: u16,
        #[serde(flatten)]
        time: Option<Time>,
    },
    Grpc {
        service: String,
        rpc: String,
        code: String,
        #[serde(flatten)]
        time: Option<Time>,
    },
    /// Of an exchange that another line tells.
    Alone(Alone),
}

#[derive(Clone, Copy, Deserialize)]
struct Time {
    seconds: f64,
    #[serde(default)]
    at_most: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alone {
    #[serde(rename = "start")]
    _start: f64,
    seconds: f64,
}

/// Reads a log of JSON lines.
pub fn read(path: &Path) -> Result<Log> {
    let text = fs::read_to_string(path).with_context(|| format!("no log {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is not as agreed", path.display()))
}

/// Reads lines of a log.
pub fn parse(text: &str) -> Result<Log> {
    let mut log = Log::default();
    for line in text.lines() {
        let read = serde_json::from_str(line).with_context(|| format!("the line {line}"))?;
        let time = match read {
            Line::Http {
                method,
                path,
                status,
                time,
            } => {
                log.add(&method, &path, status);
                time
            }
            Line::Grpc {
                service,
                rpc,
                code,
                time,
            } => {
                log.add("", &format!("{service}/{rpc}"), code);
                time
            }
            Line::Alone(Alone { seconds, .. }) => Some(Time {
                seconds,
                at_most: None,
            }),
        };
        log.times.extend(time.map(|time| time.seconds));
        log.at_most.extend(time.and_then(|time| time.at_most));
    }
    Ok(log)
}

/// The route of a path: what a person would call it, written here and not taken from fathom.
fn route(path: &str) -> &str {
    if path.starts_with("/users/") {
        "/users/{id}"
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, total};

    #[test]
    fn http_and_grpc_lines_are_read() {
        let log = parse(
            "{\"side\":\"server\",\"method\":\"GET\",\"path\":\"/users/7\",\"status\":200,\"start\":1.5,\"seconds\":0.25}\n\
             {\"side\":\"server\",\"service\":\"a.B\",\"rpc\":\"C\",\"code\":\"OK\",\"start\":2,\"seconds\":1}\n\
             {\"side\":\"server\",\"method\":\"GET\",\"path\":\"/users/8\",\"status\":200}\n\
             {\"start\":2,\"seconds\":1}\n",
        )
        .expect("a log");
        let answers: Vec<_> = log
            .answers
            .iter()
            .map(|(answer, count)| format!("{answer}: {count}"))
            .collect();
        assert_eq!(answers, ["a.B/C OK: 1", "GET /users/{id} 200: 2"]);
        assert_eq!((total(&log.answers), log.times.len()), (3, 3));
    }

    #[test]
    fn a_line_of_another_form_is_an_error() {
        assert!(parse("{\"method\":\"GET\",\"path\":\"/\"}").is_err());
        assert!(parse("{\"method\":\"GET\",\"start\":1,\"seconds\":1}").is_err());
        assert!(parse("GET / 200").is_err());
    }
}
