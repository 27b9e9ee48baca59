//! The section `flows`: how often open connections are read, and which flows have records.

use std::path::Path;

use serde_saphyr::Spanned;

use super::{
    ConfigError,
    document::Node,
    file::{File, Place},
    value::{self, Bad},
};
use crate::{
    net::{Filter, filter::parse},
    telemetry::flow_logs::{Rule, Share},
};

const FLOWS: &[&str] = &["interval", "logs"];
const RULE: &[&str] = &[
    "pid",
    "process",
    "port",
    "address",
    "state",
    "slower_than",
    "failed",
    "sample",
];

/// Each flow is held against all of them.
const MAX_RULES: usize = 64;

impl File {
    pub(super) fn flows(
        &mut self,
        section: &Spanned<Node>,
        path: &Path,
    ) -> Result<(), ConfigError> {
        let at = Place {
            path,
            prefix: "flows.",
        };
        for (key, entry) in at.entries(section, FLOWS)? {
            match key {
                "interval" => {
                    self.flow_interval = Some(at.scalar(key, entry, value::flow_interval)?);
                }
                _ => self.flow_logs = rules(&at, key, entry)?,
            }
        }
        Ok(())
    }
}

fn rules(at: &Place, key: &str, entry: &Spanned<Node>) -> Result<Vec<Rule>, ConfigError> {
    let bad = |line, wrong| {
        let accepted = "a list of at most 64 rules, such as - state: [failed, reset]";
        Err(at.error(key, line, Bad { wrong, accepted }))
    };
    let Node::List(list) = &entry.value else {
        let wrong = format!("{} where a list should be", entry.value.kind());
        return bad(entry.referenced.line(), wrong);
    };
    if let Some(first_too_many) = list.get(MAX_RULES) {
        let wrong = format!("there are more than {MAX_RULES}");
        return bad(first_too_many.referenced.line(), wrong);
    }
    list.iter().map(|item| rule(at.path, item)).collect()
}

fn rule(path: &Path, item: &Spanned<Node>) -> Result<Rule, ConfigError> {
    let at = Place {
        path,
        prefix: "flows.logs.",
    };
    let mut filter = Filter::default();
    let mut share = Share::ALL;
    for (key, entry) in at.entries(item, RULE)? {
        match key {
            "pid" => filter.pids = values(&at, key, entry, parse::pid)?,
            "process" => filter.processes = values(&at, key, entry, parse::process)?,
            "port" => filter.ports = values(&at, key, entry, parse::port)?,
            "address" => filter.addresses = values(&at, key, entry, parse::address)?,
            "state" => filter.states = values(&at, key, entry, parse::state)?,
            "slower_than" => {
                let time = |text: &str| parse::time(text).map_err(Bad::from);
                filter.slower_than = Some(at.scalar(key, entry, time)?);
            }
            "failed" => filter.failed = at.scalar(key, entry, value::yes_or_no)?,
            _ => share = at.scalar(key, entry, value::share)?,
        }
    }
    Ok(Rule { filter, share })
}

/// One value, or a list of them that holds at least one.
fn values<T>(
    at: &Place,
    key: &str,
    entry: &Spanned<Node>,
    parse: impl Fn(&str) -> Result<T, parse::Bad>,
) -> Result<Vec<T>, ConfigError> {
    let parse = |text: &str| parse(text).map_err(Bad::from);
    let Node::List(list) = &entry.value else {
        return Ok(vec![at.scalar(key, entry, parse)?]);
    };
    if list.is_empty() {
        // It would fit everything.
        let bad = Bad {
            wrong: "the list is empty".to_owned(),
            accepted: "at least one value, or no such key",
        };
        return Err(at.error(key, entry.referenced.line(), bad));
    }
    list.iter()
        .map(|item| at.scalar(key, item, parse))
        .collect()
}
