//! `/metrics`, read by a client of its own: a GET, and the lines of the text format.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// More than a record of a message holds (`fathom_abi::message::MAX_CAPTURE`).
const MAX_CAPTURE: usize = 1024;

/// Longer than records wait in a ring.
const DRAINED: Duration = Duration::from_millis(250);

/// One line: a name, labels and a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name, with its suffix.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
    text: String,
}

impl Metrics {
    /// Scrapes `address`.
    pub fn scrape(address: SocketAddr) -> Result<Self> {
        let (status, text) = get(address, "/metrics")?;
        if status != 200 {
            bail!("/metrics answered {status}");
        }
        Self::parse(text)
    }

    /// Scrapes `address` without a record of the scrape being under way when the page is made: a head that is longer than what
    /// records hold goes out first, its end only when the agent has long drained its rings.
    pub fn scrape_quietly(address: SocketAddr) -> Result<Self> {
        let padding = "x".repeat(9 * MAX_CAPTURE);
        let mut stream = connect(address)?;
        let head = format!(
            "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nPadding: {padding}\r\n"
        );
        stream.write_all(head.as_bytes())?;
        thread::sleep(DRAINED);
        stream.write_all(b"\r\n")?;
        let (status, text) = answer(stream)?;
        if status != 200 {
            bail!("/metrics answered {status}");
        }
        Self::parse(text)
    }

    /// Reads the text format; an exemplar behind a value is left out.
    pub fn parse(text: String) -> Result<Self> {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| sample(line).with_context(|| format!("not a sample: {line}")))
            .collect::<Result<_>>()?;
        Ok(Self { samples, text })
    }

    /// The samples named `name` whose labels are all in `labels`.
    pub fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|has| has == value))
        })
    }

    /// The sum of what [`Self::select`] finds.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.select(name, labels).map(|sample| sample.value).sum()
    }

    /// The sum as a count.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count, far below 2^53"
    )]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels) as u64
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// GET `path` from `address`: the status and the body.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = connect(address)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    answer(stream)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let limit = Duration::from_secs(10);
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

fn answer(mut stream: TcpStream) -> Result<(u16, String)> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).context("the answer is no UTF-8")?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of its head")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("no status in {head}"))?;
    if head.to_ascii_lowercase().contains("transfer-encoding") {
        bail!("the answer is chunked, which this client does not read");
    }
    Ok((status, body.to_owned()))
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        rest = &after[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn samples_are_read_with_their_labels_and_without_exemplars() {
        let text = "# TYPE a counter\na_total{x=\"1\",y=\"q\\\"{}, \\\\\"} 3 # {trace_id=\"ab\"} 1.5 2\na_total{x=\"2\"} 4\nb 0.5\n# EOF\n";
        let metrics = Metrics::parse(text.to_owned()).expect("samples");
        assert_eq!(metrics.count("a_total", &[]), 7);
        assert_eq!(metrics.count("a_total", &[("x", "1")]), 3);
        assert_eq!(metrics.count("a_total", &[("y", "q\"{}, \\")]), 3);
        assert!((metrics.sum("b", &[]) - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_line_that_is_none_is_an_error() {
        for text in ["a{x=\"1\" 3", "a{x} 3", "a", "a b"] {
            assert!(Metrics::parse(text.to_owned()).is_err(), "{text}");
        }
    }
}
