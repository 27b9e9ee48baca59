//! What the sources have, in families of series: each name once, each label set once.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
};

use super::name;
use crate::telemetry::metric::{
    Attributes, Audience, Data, HistogramPoint, Metric, Number, NumberPoint, Source, Value,
};

/// Labels and their values, sorted by name.
pub(super) type Labels = Vec<(String, String)>;

/// All series of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) unit: Option<String>,
    pub(super) kind: Kind,
    pub(super) series: Vec<(Labels, Point)>,
    seen: HashSet<Labels>,
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    /// A counter that keeps its name although it does not end in `_total`.
    NamedCounter,
    Gauge,
    Histogram,
    Info,
}

/// One series' value.
#[derive(Debug)]
pub(super) enum Point {
    Number(Number),
    Histogram(HistogramPoint),
}

/// All families of these metrics, and one that says how many series were left out.
pub(super) fn families(metrics: Vec<Metric>) -> Vec<Family> {
    let mut families = Families::default();
    for metric in metrics {
        families.add(metric);
    }
    families.add(clash_metric(families.clashes));
    families.list
}

fn clash_metric(clashes: u64) -> Metric {
    Metric {
        name: "fathom.export.clashes".into(),
        description:
            "Series left out of this page because another one has the same name and labels".into(),
        unit: "{series}",
        audience: Audience::All,
        data: Data::Gauge(vec![NumberPoint {
            resource: "".into(),
            attributes: Vec::new(),
            value: Number::Int(clashes),
        }]),
    }
}

/// What describes fathom itself, as the series `target_info`.
#[derive(Clone, Debug)]
pub struct TargetInfo(Attributes);

impl TargetInfo {
    /// From fathom's own `service.name` and the attributes that all of its resources share.
    #[must_use]
    pub fn new(service_name: &str, resource: &[(String, String)]) -> Self {
        let text = |key: &str, value: &str| {
            (
                Cow::Owned(key.to_owned()),
                Value::Str(Cow::Owned(value.to_owned())),
            )
        };
        let mut attributes = vec![
            text("service.name", service_name),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ];
        attributes.extend(resource.iter().map(|(key, value)| text(key, value)));
        Self(attributes)
    }
}

impl Source for TargetInfo {
    fn collect(&self, into: &mut Vec<Metric>) {
        into.push(Metric {
            name: "target_info".into(),
            description: "What serves this page".into(),
            unit: "",
            audience: Audience::Prometheus,
            data: Data::Gauge(vec![NumberPoint {
                resource: "".into(),
                attributes: self.0.clone(),
                value: Number::Int(1),
            }]),
        });
    }
}

#[derive(Default)]
struct Families {
    list: Vec<Family>,
    by_name: HashMap<String, usize>,
    clashes: u64,
}

impl Families {
    fn add(&mut self, metric: Metric) {
        if metric.audience == Audience::Otlp {
            return;
        }
        let kind = match &metric.data {
            Data::Counter(_) => Kind::Counter,
            Data::UpDownCounter(_) | Data::Gauge(_) => Kind::Gauge,
            Data::Histogram(_) => Kind::Histogram,
        };
        let (name, unit, kind) = if metric.audience == Audience::Prometheus {
            verbatim(&metric.name, kind)
        } else {
            let is_gauge = matches!(metric.data, Data::Gauge(_));
            let is_counter = kind == Kind::Counter;
            let (name, unit) = name::family(&metric.name, metric.unit, is_counter, is_gauge);
            (name, unit, kind)
        };
        let points: Vec<_> = match metric.data {
            Data::Counter(points) | Data::UpDownCounter(points) | Data::Gauge(points) => {
                points.into_iter().map(number_series).collect()
            }
            Data::Histogram(points) => points.into_iter().map(histogram_series).collect(),
        };
        let count = points.len() as u64;
        let unit = unit.map(String::from);
        let Some(family) = self.family(name, &metric.description, unit, kind) else {
            self.clashes += count;
            return;
        };
        let mut clashes = 0;
        for (labels, point) in points {
            if family.seen.insert(labels.clone()) {
                family.series.push((labels, point));
            } else {
                clashes += 1;
            }
        }
        self.clashes += clashes;
    }

    /// The family of a name; `None` when it is there with another type.
    fn family(
        &mut self,
        name: String,
        help: &str,
        unit: Option<String>,
        kind: Kind,
    ) -> Option<&mut Family> {
        let index = match self.by_name.entry(name) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                self.list.push(Family {
                    name: entry.key().clone(),
                    help: help.to_owned(),
                    unit,
                    kind,
                    series: Vec::new(),
                    seen: HashSet::new(),
                });
                *entry.insert(self.list.len() - 1)
            }
        };
        let family = &mut self.list[index];
        (family.kind == kind).then_some(family)
    }
}

/// The family of a metric that is to have this very name.
fn verbatim(name: &str, kind: Kind) -> (String, Option<Cow<'static, str>>, Kind) {
    let (stem, kind) = match kind {
        Kind::Counter => match name.strip_suffix("_total") {
            Some(stem) => (stem, Kind::Counter),
            None => (name, Kind::NamedCounter),
        },
        Kind::Gauge => match name.strip_suffix("_info") {
            Some(stem) => (stem, Kind::Info),
            None => (name, Kind::Gauge),
        },
        _ => (name, kind),
    };
    (stem.to_owned(), None, kind)
}

fn number_series(point: NumberPoint) -> (Labels, Point) {
    (
        series_labels(&point.resource, &point.attributes),
        Point::Number(point.value),
    )
}

fn histogram_series(point: HistogramPoint) -> (Labels, Point) {
    (
        series_labels(&point.resource, &point.attributes),
        Point::Histogram(point),
    )
}

fn series_labels(service: &str, attributes: &Attributes) -> Labels {
    let texts: Vec<_> = attributes
        .iter()
        .map(|(key, value)| {
            let text = match value {
                Value::Str(text) => text.to_string(),
                Value::Int(number) => number.to_string(),
                Value::Bool(yes) => yes.to_string(),
            };
            (key.as_ref(), text)
        })
        .collect();
    let service = (!service.is_empty()).then_some(("service.name", service));
    labels(
        service
            .into_iter()
            .chain(texts.iter().map(|(key, text)| (*key, text.as_str()))),
    )
}

/// Labels from attributes. Keys that become the same label share it, their values joined by `;`, as the specification
/// has it. An empty value is the same as no label.
fn labels<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in attributes.filter(|(_, value)| !value.is_empty()) {
        let label = labels.entry(name::identifier(key)).or_default();
        if label.is_empty() {
            label.push_str(value);
        } else if label != value {
            label.push(';');
            label.push_str(value);
        }
    }
    labels.into_iter().collect()
}
