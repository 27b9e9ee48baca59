//! Metrics as text, for Prometheus and all who read its formats.
//!
//! Two formats, since both are needed: OpenMetrics 1.0, which has exemplars, and the older text format 0.0.4, in which a
//! counter may have any name, as the DCGM exporter's do. Names follow the OpenTelemetry specification's "Prometheus and
//! OpenMetrics compatibility": `.` becomes `_`, the unit becomes a suffix, counters end in `_total`. The encoder is our own
//! because `prometheus-client` writes only the first of the two.

use std::{collections::HashSet, fmt::Write as _, sync::Arc};

use crate::telemetry::metric::{
    Attributes, Audience, Data, Exemplar, HistogramPoint, Metric, Number, NumberPoint, Source,
    Value,
};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
    /// `text/plain; version=0.0.4`
    Text,
}

impl Format {
    /// The format to answer an `Accept` header with: OpenMetrics for those who name it, text for all others.
    pub fn for_accept(accept: &str) -> Self {
        let named = accept.split(',').any(|part| {
            let mut fields = part.split(';').map(str::trim);
            let refused = part.replace(' ', "").ends_with(";q=0");
            fields.next() == Some("application/openmetrics-text") && !refused
        });
        if named { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of the answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Asks all sources and writes what they have.
pub fn render(sources: &[Arc<dyn Source>], format: Format) -> String {
    let mut metrics = Vec::new();
    for source in sources {
        source.collect(&mut metrics);
    }
    write(&metrics, format)
}

/// Writes metrics. Those of one name stand together; a series that comes twice is written once, the first time.
pub fn write(metrics: &[Metric], format: Format) -> String {
    let mut writer = Writer {
        out: String::with_capacity(16 << 10),
        seen: HashSet::new(),
        format,
    };
    let mut done = HashSet::new();
    for (index, metric) in metrics.iter().enumerate() {
        if metric.audience == Audience::Otlp || !done.insert(metric.name.as_ref()) {
            continue;
        }
        let same = metrics[index..]
            .iter()
            .filter(|other| other.name == metric.name && other.audience != Audience::Otlp);
        writer.family(metric, same);
    }
    if format == Format::OpenMetrics {
        writer.out.push_str("# EOF\n");
    }
    writer.out
}

struct Writer {
    out: String,
    /// Series that were written, with their labels.
    seen: HashSet<String>,
    format: Format,
}

impl Writer {
    fn family<'a>(&mut self, first: &Metric, all: impl Iterator<Item = &'a Metric>) {
        let (family, kind) = self.name(first);
        let mut body = String::new();
        for metric in all {
            match &metric.data {
                Data::Counter(points) => {
                    let name = self.counter_name(&family, metric);
                    self.numbers(&mut body, &name, points);
                }
                Data::UpDownCounter(points) | Data::Gauge(points) => {
                    self.numbers(&mut body, &family, points);
                }
                Data::Histogram(points) => self.histograms(&mut body, &family, points),
            }
        }
        if body.is_empty() {
            return;
        }
        // In text 0.0.4 a counter's family carries the name of its samples.
        let header = if kind == "counter" && self.format == Format::Text {
            self.counter_name(&family, first)
        } else {
            family
        };
        let help = escape(&first.description, false);
        let _ = writeln!(self.out, "# HELP {header} {help}");
        let _ = writeln!(self.out, "# TYPE {header} {kind}");
        if self.format == Format::OpenMetrics
            && let Some(unit) = unit_suffix(first)
            && header.ends_with(unit)
        {
            let _ = writeln!(self.out, "# UNIT {header} {unit}");
        }
        self.out.push_str(&body);
    }

    /// A metric's family name and type.
    fn name(&self, metric: &Metric) -> (String, &'static str) {
        let kind = match &metric.data {
            Data::Counter(_) => "counter",
            Data::UpDownCounter(_) | Data::Gauge(_) => "gauge",
            Data::Histogram(_) => "histogram",
        };
        if metric.audience == Audience::Prometheus {
            return (metric.name.clone().into_owned(), kind);
        }
        let mut name = sanitize(&metric.name);
        if let Some(unit) = unit_suffix(metric)
            && !name.ends_with(unit)
        {
            let _ = write!(name, "_{unit}");
        }
        (name, kind)
    }

    /// OpenMetrics demands `_total`; in the text format the DCGM exporter's counters keep their very names.
    fn counter_name(&self, family: &str, metric: &Metric) -> String {
        if self.format == Format::Text && metric.audience == Audience::Prometheus {
            family.to_owned()
        } else {
            format!("{family}_total")
        }
    }

    fn numbers(&mut self, body: &mut String, name: &str, points: &[NumberPoint]) {
        for point in points {
            let labels = labels(&point.resource, &point.attributes, None);
            if !self.seen.insert(format!("{name}{labels}")) {
                continue;
            }
            let _ = writeln!(body, "{name}{labels} {}", number(point.value));
        }
    }

    fn histograms(&mut self, body: &mut String, name: &str, points: &[HistogramPoint]) {
        for point in points {
            let plain = labels(&point.resource, &point.attributes, None);
            if !self.seen.insert(format!("{name}{plain}")) {
                continue;
            }
            let mut below = 0;
            for (index, count) in point.counts.iter().enumerate() {
                below += count;
                let bound = point
                    .bounds
                    .get(index)
                    .map_or_else(|| "+Inf".to_owned(), |&bound| float(bound));
                let with_bound = labels(&point.resource, &point.attributes, Some(&bound));
                let _ = write!(body, "{name}_bucket{with_bound} {below}");
                if self.format == Format::OpenMetrics
                    && let Some(Some(exemplar)) = point.exemplars.get(index)
                {
                    write_exemplar(body, exemplar);
                }
                body.push('\n');
            }
            let _ = writeln!(body, "{name}_sum{plain} {}", float(point.sum));
            let _ = writeln!(body, "{name}_count{plain} {below}");
        }
    }
}

fn write_exemplar(body: &mut String, exemplar: &Exemplar) {
    let nanos = exemplar.time_unix_nano;
    let _ = write!(
        body,
        " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {}.{:03}",
        hex(&exemplar.trace_id),
        hex(&exemplar.span_id),
        float(exemplar.value),
        nanos / 1_000_000_000,
        nanos / 1_000_000 % 1000,
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The suffix that a UCUM unit becomes; none for what is only a note, such as `{request}`.
fn unit_suffix(metric: &Metric) -> Option<&'static str> {
    if metric.audience == Audience::Prometheus {
        return None;
    }
    Some(match metric.unit {
        "s" => "seconds",
        "ms" => "milliseconds",
        "By" => "bytes",
        "Cel" => "celsius",
        "W" => "watts",
        "J" => "joules",
        "Hz" => "hertz",
        // A share between 0 and 1.
        "1" if matches!(metric.data, Data::Gauge(_)) => "ratio",
        _ => return None,
    })
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
fn sanitize(name: &str) -> String {
    let mut clean: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}

fn labels(resource: &str, attributes: &Attributes, bound: Option<&str>) -> String {
    let mut pairs = Vec::with_capacity(attributes.len() + 2);
    if !resource.is_empty() {
        pairs.push(format!("service_name=\"{}\"", escape(resource, true)));
    }
    for (key, value) in attributes {
        let value = match value {
            Value::Str(text) => escape(text, true),
            Value::Int(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
        };
        pairs.push(format!("{}=\"{value}\"", sanitize(key)));
    }
    if let Some(bound) = bound {
        pairs.push(format!("le=\"{bound}\""));
    }
    if pairs.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", pairs.join(","))
    }
}

fn escape(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes {
        text.replace('"', "\\\"")
    } else {
        text
    }
}

fn number(value: Number) -> String {
    match value {
        Number::Int(value) => value.to_string(),
        Number::Float(value) => float(value),
    }
}

/// A float as both formats read it, always with a point or an exponent.
fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests;
