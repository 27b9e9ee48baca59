//! Metrics as plain data: a source makes a [`Vec<Metric>`] when it is asked, the exporters translate it.
//!
//! Names, units and attributes are OpenTelemetry's; `/metrics` derives its own by the rules of the OpenTelemetry
//! specification's "Prometheus and OpenMetrics compatibility" (`.` to `_`, unit as a suffix, `_total` on counters).

use std::borrow::Cow;

/// One attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Str(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// Yes or no (`otel.metric.overflow`).
    Bool(bool),
}

/// A point's attributes, in the order in which they are shown.
pub type Attributes = Vec<(Cow<'static, str>, Value)>;

/// Which backends see a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Both.
    #[default]
    All,
    /// `/metrics` only, under this very name (the DCGM exporter's names).
    Prometheus,
    /// OTLP only.
    Otlp,
}

/// One metric with its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// OpenTelemetry's name, or for [`Audience::Prometheus`] the very name.
    pub name: Cow<'static, str>,
    /// What it says.
    pub description: Cow<'static, str>,
    /// The unit in UCUM: `s`, `By`, `{connection}`, `1`.
    pub unit: &'static str,
    /// Who sees it.
    pub audience: Audience,
    /// Its points.
    pub data: Data,
}

/// The points of a metric. Counters and histograms are cumulative since the agent's start.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Only grows.
    Counter(Vec<NumberPoint>),
    /// A sum that can shrink (OpenTelemetry's UpDownCounter; a gauge on `/metrics`).
    UpDownCounter(Vec<NumberPoint>),
    /// The value now.
    Gauge(Vec<NumberPoint>),
    /// A distribution over fixed bounds.
    Histogram(Vec<HistogramPoint>),
}

/// A number, whole or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(u64),
    /// Any number.
    Float(f64),
}

/// One series of a counter or gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberPoint {
    /// What it is about; empty for the agent itself.
    pub resource: ResourceKey,
    /// The series' attributes.
    pub attributes: Attributes,
    /// The value.
    pub value: Number,
}

/// One series of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramPoint {
    /// What it is about; empty for the agent itself.
    pub resource: ResourceKey,
    /// The series' attributes.
    pub attributes: Attributes,
    /// Upper bounds, growing; the last bucket is above them all.
    pub bounds: &'static [f64],
    /// Counts, one more than `bounds`, not cumulative over buckets.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: f64,
    /// The newest exemplar of each bucket, as many as `counts`.
    pub exemplars: Vec<Option<Exemplar>>,
}

/// One measured value with the span that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The value.
    pub value: f64,
    /// Nanoseconds since the Unix epoch.
    pub time_unix_nano: u64,
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
}

/// What a series is about: the service's name (`service.name`) for now; on `/metrics` it is the label `service_name`.
/// Empty means fathom itself.
pub type ResourceKey = std::sync::Arc<str>;

/// Something that has metrics to show. Called at each scrape and each export, from any thread.
pub trait Source: Send + Sync {
    /// Appends what it has.
    fn collect(&self, into: &mut Vec<Metric>);
}
