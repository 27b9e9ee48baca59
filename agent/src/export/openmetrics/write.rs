//! The text itself.

use std::fmt::{self, Write as _};

use super::page::{Family, Kind, Labels, Point};
use crate::telemetry::metric::{Exemplar, HistogramPoint, Number};

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4: no exemplars, no units.
    Text,
}

impl Format {
    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What a scraper wants most of what there is, by its Accept header; without a wish it is OpenMetrics.
    #[must_use]
    pub fn for_accept(accept: &str) -> Self {
        let (mut openmetrics, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts
                .find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok())
                .unwrap_or(1.0);
            match media.as_str() {
                "application/openmetrics-text" => openmetrics = openmetrics.max(weight),
                "text/plain" | "text/*" => text = text.max(weight),
                "*/*" | "application/*" => openmetrics = openmetrics.max(weight),
                _ => {}
            }
        }
        if text > openmetrics {
            Self::Text
        } else {
            Self::OpenMetrics
        }
    }
}

/// Writes a whole page.
pub(super) fn page(families: &[Family], format: Format) -> String {
    let mut text = String::new();
    let written = families
        .iter()
        .filter(|family| !family.series.is_empty())
        .try_for_each(|family| write_family(&mut text, family, format));
    debug_assert!(written.is_ok(), "writing to a string can't fail");
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn write_family(text: &mut String, family: &Family, format: Format) -> fmt::Result {
    let open = format == Format::OpenMetrics;
    let sample = match family.kind {
        Kind::Counter => format!("{}_total", family.name),
        Kind::Info => format!("{}_info", family.name),
        Kind::NamedCounter | Kind::Gauge | Kind::Histogram => family.name.clone(),
    };
    // In OpenMetrics these lines name the family, in the classic format the sample.
    let name = if open { &family.name } else { &sample };
    let kind = match (family.kind, open) {
        (Kind::Counter, _) | (Kind::NamedCounter, false) => "counter",
        // OpenMetrics has no counter without `_total`; the name matters more to dashboards than the type.
        (Kind::NamedCounter, true) => "unknown",
        (Kind::Gauge, _) | (Kind::Info, false) => "gauge",
        (Kind::Histogram, _) => "histogram",
        (Kind::Info, true) => "info",
    };
    writeln!(text, "# TYPE {name} {kind}")?;
    if open && let Some(unit) = &family.unit {
        writeln!(text, "# UNIT {name} {unit}")?;
    }
    writeln!(text, "# HELP {name} {}", Help(&family.help, open))?;
    for (labels, point) in &family.series {
        match point {
            Point::Number(value) => {
                writeln!(text, "{sample}{} {}", Set(labels, None), Value(*value))?;
            }
            Point::Histogram(point) => write_histogram(text, &family.name, labels, point, open)?,
        }
    }
    Ok(())
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &Labels,
    point: &HistogramPoint,
    open: bool,
) -> fmt::Result {
    let bounds = point.bounds.iter().map(Some).chain([None]);
    let mut cumulative = 0;
    for (index, bound) in bounds.enumerate() {
        cumulative += point.counts.get(index).copied().unwrap_or(0);
        let le = match bound {
            Some(bound) if open => format!("{bound:?}"),
            Some(bound) => bound.to_string(),
            None => "+Inf".to_owned(),
        };
        write!(text, "{name}_bucket{} {cumulative}", Set(labels, Some(&le)))?;
        let exemplar = point.exemplars.get(index).and_then(Option::as_ref);
        if let Some(exemplar) = exemplar.filter(|_| open) {
            write_exemplar(text, exemplar)?;
        }
        text.push('\n');
    }
    let sum = Number::Float(point.sum);
    writeln!(text, "{name}_sum{} {}", Set(labels, None), Value(sum))?;
    writeln!(text, "{name}_count{} {cumulative}", Set(labels, None))
}

fn write_exemplar(text: &mut String, exemplar: &Exemplar) -> fmt::Result {
    const SECOND: u64 = 1_000_000_000;
    write!(
        text,
        " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {}.{:09}",
        Hex(&exemplar.trace_id),
        Hex(&exemplar.span_id),
        Value(Number::Float(exemplar.value)),
        exemplar.time_unix_nano / SECOND,
        exemplar.time_unix_nano % SECOND,
    )
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct Value(Number);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Number::Int(value) => write!(f, "{value}"),
            Number::Float(value) if value.is_nan() => f.write_str("NaN"),
            Number::Float(value) if value.is_infinite() => {
                f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
            }
            Number::Float(value) => write!(f, "{value:?}"),
        }
    }
}

/// A label set, with `le` where it is a bucket's.
struct Set<'a>(&'a Labels, Option<&'a str>);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let mut separator = '{';
        for (name, value) in own.chain(self.1.map(|le| ("le", le))) {
            write!(f, "{separator}{name}=\"")?;
            escape(f, value, true)?;
            f.write_char('"')?;
            separator = ',';
        }
        if separator == ',' {
            f.write_char('}')
        } else {
            Ok(())
        }
    }
}

/// A help text; OpenMetrics escapes quotes in it, the classic format does not.
struct Help<'a>(&'a str, bool);

impl fmt::Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, self.1)
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str, quotes: bool) -> fmt::Result {
    for character in text.chars() {
        match character {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '"' if quotes => f.write_str("\\\"")?,
            _ => f.write_char(character)?,
        }
    }
    Ok(())
}
