//! A pprof file as Go's own reader shows it (`go tool pprof -raw`).

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::subjects::process;

/// A sample, as far as the scenario looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How often it was seen.
    pub count: u64,
    /// The process.
    pub pid: u32,
    /// The thread's name.
    pub comm: String,
    /// What fathom says of its stack.
    pub quality: Option<String>,
    /// The outermost function, where it has a name.
    pub root: Option<String>,
    /// The file in which it lies.
    pub root_file: String,
}

/// Reads a file.
pub fn read(file: &Path) -> Result<Vec<Sample>> {
    let mut go = process::command("go")?;
    go.args(["tool", "pprof", "-raw", "-symbolize=none"])
        .arg(file);
    // Go looks for its caches where nobody is at home, too.
    go.env("HOME", file.parent().unwrap_or(file));
    let text = process::run(go).context("Go's pprof does not read the profile")?;
    parse(&text)
}

/// The parts of the text: samples, locations, mappings.
fn parse(text: &str) -> Result<Vec<Sample>> {
    let (samples, rest) = text
        .split_once("\nLocations\n")
        .context("no locations in what Go's pprof prints")?;
    let (locations, mappings) = rest
        .split_once("\nMappings\n")
        .context("no mappings in what Go's pprof prints")?;
    let (_, samples) = samples
        .split_once("\nSamples:\n")
        .context("no samples in what Go's pprof prints")?;
    let files: HashMap<&str, &str> = mappings.lines().filter_map(mapping).collect();
    let locations = Locations::parse(locations);
    let mut found: Vec<Sample> = Vec::new();
    // The first line names the values.
    for line in samples.lines().skip(1) {
        if let Some((count, stack)) = sample(line) {
            let root = stack.last().and_then(|id| locations.0.get(id));
            let file = root.and_then(|root| files.get(root.mapping));
            found.push(Sample {
                count,
                pid: 0,
                comm: String::new(),
                quality: None,
                root: root.and_then(|root| root.function).map(str::to_owned),
                root_file: (*file.unwrap_or(&"nothing")).to_owned(),
            });
        } else if let Some(last) = found.last_mut() {
            for (key, value) in labels(line) {
                match key {
                    "pid" => last.pid = value.parse().unwrap_or(0),
                    "comm" => last.comm = value.to_owned(),
                    "quality" => last.quality = Some(value.to_owned()),
                    _ => {}
                }
            }
        }
    }
    ensure!(!found.is_empty(), "a profile without samples");
    Ok(found)
}

/// `  18  180000000: 1 2 `: the count, the time, the locations from the leaf on.
fn sample(line: &str) -> Option<(u64, Vec<u64>)> {
    let (values, stack) = line.split_once(": ")?;
    let count = values.split_whitespace().next()?.parse().ok()?;
    let stack = stack.split_whitespace().map(|id| id.parse().ok());
    Some((count, stack.collect::<Option<_>>()?))
}

/// `comm:[a b] quality:[whole]`
fn labels(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.trim().split("] ").filter_map(|label| {
        let (key, value) = label.split_once(":[")?;
        Some((key, value.trim_end_matches(']')))
    })
}

/// `1: 0x5555/0x6666/0x1000 /usr/bin/x 0123abcd [FN]`
fn mapping(line: &str) -> Option<(&str, &str)> {
    let (id, rest) = line.split_once(": ")?;
    let path = rest.split_whitespace().nth(1)?;
    Some((id.trim(), path.rsplit('/').next().unwrap_or(path)))
}

/// A location: its mapping, and the function that all inlined ones of it lie in, which comes last.
struct Location<'a> {
    mapping: &'a str,
    function: Option<&'a str>,
}

struct Locations<'a>(HashMap<u64, Location<'a>>);

impl<'a> Locations<'a> {
    /// `     1: 0x5555 M=1 name file:12:3 s=10`; lines of the same location follow without a number.
    fn parse(text: &'a str) -> Self {
        let mut locations = HashMap::new();
        let mut last = 0;
        for line in text.lines() {
            let begins = line
                .split_once(": 0x")
                .and_then(|(id, rest)| Some((id.trim().parse::<u64>().ok()?, rest)));
            if let Some((id, rest)) = begins {
                last = id;
                let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
                let (mapping, rest) = match rest.strip_prefix("M=") {
                    Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
                    None => ("", rest),
                };
                locations.insert(
                    id,
                    Location {
                        mapping,
                        function: function(rest),
                    },
                );
            } else if let (Some(location), Some(outer)) = (locations.get_mut(&last), function(line))
            {
                location.function = Some(outer);
            }
        }
        Self(locations)
    }
}

/// The name in `name file:12:3 s=10`. It may hold blanks; what follows it does not.
fn function(line: &str) -> Option<&str> {
    let (rest, _) = line.trim().rsplit_once(" s=")?;
    let name = rest.rsplit_once(' ').map_or(rest, |(name, _)| name).trim();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "PeriodType: cpu nanoseconds
Samples:
samples/count cpu/nanoseconds[dflt]
         18  180000000: 1 2 
                comm:[a b] quality:[whole]
                pid:[9219] tid:[9219]
          2   20000000: 3 
                comm:[c] quality:[no_rule]
Locations
     1: 0x5555 M=1 half :0 s=0
     2: 0x6666 M=1 inner /src/a.c:3:1 s=2
             void outer<int>(int) /src/a.c:9:1 s=8
     3: 0x7777 M=2 
Mappings
1: 0x5555/0x6666/0x1000 /usr/bin/x 7278 [FN]
2: 0x7777/0x8888/0x0 /lib/liby.so.1 
";

    #[test]
    fn roots_are_the_outermost_functions_of_the_last_locations() {
        let samples = parse(TEXT).expect("a profile");
        assert_eq!(
            samples,
            [
                Sample {
                    count: 18,
                    pid: 9219,
                    comm: "a b".to_owned(),
                    quality: Some("whole".to_owned()),
                    root: Some("void outer<int>(int)".to_owned()),
                    root_file: "x".to_owned(),
                },
                Sample {
                    count: 2,
                    pid: 0,
                    comm: "c".to_owned(),
                    quality: Some("no_rule".to_owned()),
                    root: None,
                    root_file: "liby.so.1".to_owned(),
                },
            ]
        );
        assert!(parse("nothing").is_err());
    }
}
