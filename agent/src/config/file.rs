//! The file's keys.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_saphyr::Spanned;

use super::{
    Capabilities, ConfigError,
    document::Node,
    value::{self, Bad},
};
use crate::{
    export::otlp::settings::Given,
    probes::net::Tap,
    telemetry::{
        flow_logs::Rule,
        route::{Pattern, Patterns},
    },
};

const TOP: &[&str] = &[
    "capabilities",
    "tap",
    "listen",
    "memory_limit",
    "http",
    "profile",
    "flows",
    "otlp",
];
const HTTP: &[&str] = &["head_limit", "routes"];
const PROFILE: &[&str] = &["frequency", "interval", "trace_contexts"];
const OTLP: &[&str] = &["endpoint", "headers", "interval", "timeout", "compression"];

/// What the file says; `None` where it says nothing.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) capabilities: Option<Capabilities>,
    pub(super) tap: Option<Option<Tap>>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) memory_limit: Option<u64>,
    pub(super) head_limit: Option<u32>,
    pub(super) routes: Patterns,
    pub(super) profile_frequency: Option<u32>,
    pub(super) profile_interval: Option<Duration>,
    pub(super) trace_contexts: Option<Option<PathBuf>>,
    pub(super) flow_interval: Option<Duration>,
    pub(super) flow_logs: Vec<Rule>,
    pub(super) otlp: Given,
    /// The line of each key under `otlp`, for those of its values that are judged later.
    pub(super) lines: HashMap<String, u64>,
}

impl File {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut file = Self::default();
        // A file of comments only is a configuration of defaults; YAML has no document for it.
        let bare = |line: &str| matches!(line.trim(), "" | "---") || line.trim().starts_with('#');
        if text.lines().all(bare) {
            return Ok(file);
        }
        let root: Spanned<Node> = serde_saphyr::from_str(text).map_err(|error| ConfigError {
            place: Some((
                path.to_owned(),
                error.location().map_or(0, |location| location.line()),
            )),
            key: String::new(),
            wrong: first_line(&error.without_snippet().to_string()),
            accepted: "YAML with each key once".to_owned(),
        })?;
        let at = Place { path, prefix: "" };
        for (key, entry) in at.entries(&root, TOP)? {
            match key {
                "capabilities" => file.capabilities = Some(at.capabilities(key, entry)?),
                "tap" => file.tap = Some(at.scalar(key, entry, value::tap)?),
                "listen" => file.listen = Some(at.scalar(key, entry, value::listen)?),
                "memory_limit" => {
                    file.memory_limit = Some(at.scalar(key, entry, value::memory_limit)?);
                }
                "http" => file.http(entry, path)?,
                "profile" => file.profile(entry, path)?,
                "flows" => file.flows(entry, path)?,
                _ => file.otlp(entry, path)?,
            }
        }
        Ok(file)
    }

    fn http(&mut self, section: &Spanned<Node>, path: &Path) -> Result<(), ConfigError> {
        let at = Place {
            path,
            prefix: "http.",
        };
        for (key, entry) in at.entries(section, HTTP)? {
            match key {
                "head_limit" => self.head_limit = Some(at.scalar(key, entry, value::head_limit)?),
                _ => self.routes = at.routes(key, entry)?,
            }
        }
        Ok(())
    }

    fn profile(&mut self, section: &Spanned<Node>, path: &Path) -> Result<(), ConfigError> {
        let at = Place {
            path,
            prefix: "profile.",
        };
        for (key, entry) in at.entries(section, PROFILE)? {
            match key {
                "frequency" => {
                    self.profile_frequency = Some(at.scalar(key, entry, value::frequency)?);
                }
                "interval" => {
                    self.profile_interval = Some(at.scalar(key, entry, value::duration)?);
                }
                _ => self.trace_contexts = Some(at.scalar(key, entry, value::trace_contexts)?),
            }
        }
        Ok(())
    }

    fn otlp(&mut self, section: &Spanned<Node>, path: &Path) -> Result<(), ConfigError> {
        let at = Place {
            path,
            prefix: "otlp.",
        };
        for (key, entry) in at.entries(section, OTLP)? {
            self.lines
                .insert(format!("otlp.{key}"), entry.referenced.line());
            match key {
                "endpoint" => {
                    let endpoint = at.scalar(key, entry, |text| Ok(text.to_owned()))?;
                    self.otlp.endpoint = Some(endpoint);
                }
                "headers" => self.otlp.headers = headers(entry, path)?,
                "interval" => self.otlp.interval = Some(at.scalar(key, entry, value::duration)?),
                "timeout" => self.otlp.timeout = Some(at.scalar(key, entry, value::duration)?),
                _ => self.otlp.gzip = Some(at.scalar(key, entry, value::gzip)?),
            }
        }
        Ok(())
    }
}

fn headers(section: &Spanned<Node>, path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let at = Place {
        path,
        prefix: "otlp.headers.",
    };
    let Node::Map(entries) = &section.value else {
        // What stands there instead may be a secret.
        return Err(ConfigError {
            place: Some((path.to_owned(), section.referenced.line())),
            key: "otlp.headers".to_owned(),
            wrong: "is no mapping".to_owned(),
            accepted: "a mapping of header names to values".to_owned(),
        });
    };
    entries
        .iter()
        .map(|(key, entry)| match &entry.value {
            Node::Text(text) => Ok((key.value.clone(), text.clone())),
            _ => Err(at.error(
                &key.value,
                key.referenced.line(),
                Bad {
                    wrong: "the value is no text".to_owned(),
                    accepted: "text, in quotes where it looks like a number",
                },
            )),
        })
        .collect()
}

/// A mapping of the file.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    /// What stands before its keys: `otlp.`.
    pub(super) prefix: &'static str,
}

impl Place<'_> {
    pub(super) fn error(&self, key: &str, line: u64, bad: Bad) -> ConfigError {
        ConfigError {
            place: Some((self.path.to_owned(), line)),
            key: format!("{}{key}", self.prefix),
            wrong: bad.wrong,
            accepted: bad.accepted.to_owned(),
        }
    }

    /// The entries of a mapping that have a value; every key must be known.
    pub(super) fn entries<'n>(
        &self,
        node: &'n Spanned<Node>,
        known: &[&str],
    ) -> Result<Vec<(&'n str, &'n Spanned<Node>)>, ConfigError> {
        let entries = match &node.value {
            Node::Map(entries) => entries,
            Node::Null => return Ok(Vec::new()),
            other => {
                return Err(ConfigError {
                    place: Some((self.path.to_owned(), node.referenced.line())),
                    key: self.prefix.trim_end_matches('.').to_owned(),
                    wrong: format!("{} where keys should be", other.kind()),
                    accepted: one_of(known),
                });
            }
        };
        for (key, _) in entries {
            if !known.contains(&key.value.as_str()) {
                return Err(ConfigError {
                    place: Some((self.path.to_owned(), key.referenced.line())),
                    key: format!("{}{}", self.prefix, key.value),
                    wrong: "there is no such key".to_owned(),
                    accepted: one_of(known),
                });
            }
        }
        Ok(entries
            .iter()
            .filter(|(_, entry)| entry.value != Node::Null)
            .map(|(key, entry)| (key.value.as_str(), entry))
            .collect())
    }

    pub(super) fn scalar<T>(
        &self,
        key: &str,
        entry: &Spanned<Node>,
        parse: impl Fn(&str) -> Result<T, Bad>,
    ) -> Result<T, ConfigError> {
        let line = entry.referenced.line();
        match &entry.value {
            Node::Text(text) | Node::Typed(text) => {
                parse(text).map_err(|bad| self.error(key, line, bad))
            }
            // The value of an impossible text says what would be right.
            other => Err(match parse("") {
                Err(bad) => self.error(
                    key,
                    line,
                    Bad {
                        wrong: format!("{} where one value should be", other.kind()),
                        ..bad
                    },
                ),
                Ok(_) => self.error(
                    key,
                    line,
                    Bad {
                        wrong: format!("{} where one value should be", other.kind()),
                        accepted: "text",
                    },
                ),
            }),
        }
    }

    fn capabilities(&self, key: &str, entry: &Spanned<Node>) -> Result<Capabilities, ConfigError> {
        let mut line = entry.referenced.line();
        let names: Vec<&str> = match &entry.value {
            Node::Text(text) => text.split(',').collect(),
            Node::List(list) => {
                let mut names = Vec::new();
                for item in list {
                    let Node::Text(text) = &item.value else {
                        let bad = Bad {
                            wrong: format!("{} where a name should be", item.value.kind()),
                            accepted: "a list of net, profile and gpu",
                        };
                        return Err(self.error(key, item.referenced.line(), bad));
                    };
                    if value::capabilities(std::iter::once(text.as_str())).is_err() {
                        line = item.referenced.line();
                    }
                    names.push(text.as_str());
                }
                names
            }
            other => {
                let bad = Bad {
                    wrong: format!("{} where a list should be", other.kind()),
                    accepted: "a list of net, profile and gpu",
                };
                return Err(self.error(key, line, bad));
            }
        };
        value::capabilities(names.into_iter()).map_err(|bad| self.error(key, line, bad))
    }

    fn routes(&self, key: &str, entry: &Spanned<Node>) -> Result<Patterns, ConfigError> {
        let bad = |line, wrong| {
            let accepted = value::ROUTES;
            self.error(key, line, Bad { wrong, accepted })
        };
        let Node::List(list) = &entry.value else {
            let wrong = format!("{} where a list should be", entry.value.kind());
            return Err(bad(entry.referenced.line(), wrong));
        };
        let mut patterns = Patterns::default();
        for item in list {
            let line = item.referenced.line();
            let Node::Text(text) = &item.value else {
                let wrong = format!("{} where a pattern should be", item.value.kind());
                return Err(bad(line, wrong));
            };
            if patterns.len() == Patterns::MAX {
                return Err(bad(line, format!("there are more than {}", Patterns::MAX)));
            }
            Pattern::parse(text)
                .and_then(|pattern| patterns.push(pattern))
                .map_err(|error| bad(line, format!("{text:?} {error}")))?;
        }
        Ok(patterns)
    }
}

fn one_of(known: &[&str]) -> String {
    format!("one of {}", known.join(", "))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
