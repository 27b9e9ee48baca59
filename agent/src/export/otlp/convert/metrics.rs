//! Metrics as OTLP messages: one `ResourceMetrics` a service, cumulative sums and histograms.

use std::collections::HashMap;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        AggregationTemporality, Exemplar as OtlpExemplar, Gauge, Histogram, HistogramDataPoint,
        Metric as OtlpMetric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar,
        metric, number_data_point,
    },
};

use super::{Common, key_values, scope};
use crate::telemetry::metric::{
    Audience, Data, Exemplar, HistogramPoint, Metric, Number, NumberPoint, ResourceKey,
};

/// Points in one request: far below the 4 MiB that a gRPC server takes unless told otherwise.
const POINTS: usize = 4000;

/// When a cumulative series began and when it was read, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Period {
    pub(in super::super) start: u64,
    pub(in super::super) now: u64,
}

/// Requests from what the sources had, each with the number of its points. Metrics of one name from several sources
/// become one.
pub(in super::super) fn metrics(
    metrics: &[Metric],
    period: Period,
    common: &Common,
) -> Vec<(ExportMetricsServiceRequest, u64)> {
    let mut requests = Vec::new();
    let mut builder = Builder::default();
    let wanted = metrics
        .iter()
        .filter(|metric| metric.audience != Audience::Prometheus);
    for metric in wanted {
        for point in points(&metric.data) {
            if builder.points == POINTS {
                requests.push(std::mem::take(&mut builder).finish(common));
            }
            builder.add(metric, point, period);
        }
    }
    if builder.points > 0 {
        requests.push(builder.finish(common));
    }
    requests
}

enum Point<'a> {
    Number(&'a NumberPoint),
    Histogram(&'a HistogramPoint),
}

fn points(data: &Data) -> Vec<Point<'_>> {
    match data {
        Data::Counter(points) | Data::UpDownCounter(points) | Data::Gauge(points) => {
            points.iter().map(Point::Number).collect()
        }
        Data::Histogram(points) => points.iter().map(Point::Histogram).collect(),
    }
}

#[derive(Default)]
struct Builder {
    resources: Vec<(ResourceKey, Vec<OtlpMetric>)>,
    by_key: HashMap<ResourceKey, usize>,
    /// Where a resource has the metric of a name.
    by_name: HashMap<(usize, String), usize>,
    points: usize,
}

impl Builder {
    fn add(&mut self, metric: &Metric, point: Point<'_>, period: Period) {
        let key = match point {
            Point::Number(point) => &point.resource,
            Point::Histogram(point) => &point.resource,
        };
        let resource = match self.by_key.get(key) {
            Some(&index) => index,
            None => {
                self.resources.push((key.clone(), Vec::new()));
                self.by_key.insert(key.clone(), self.resources.len() - 1);
                self.resources.len() - 1
            }
        };
        let list = &mut self.resources[resource].1;
        let index = *self
            .by_name
            .entry((resource, metric.name.clone().into_owned()))
            .or_insert_with(|| {
                list.push(empty(metric));
                list.len() - 1
            });
        push(&mut list[index], &metric.data, point, period);
        self.points += 1;
    }

    fn finish(self, common: &Common) -> (ExportMetricsServiceRequest, u64) {
        let request = ExportMetricsServiceRequest {
            resource_metrics: self
                .resources
                .into_iter()
                .map(|(key, metrics)| ResourceMetrics {
                    resource: Some(common.resource(&key, &Vec::new())),
                    scope_metrics: vec![ScopeMetrics {
                        scope: Some(scope()),
                        metrics,
                        schema_url: String::new(),
                    }],
                    schema_url: String::new(),
                })
                .collect(),
        };
        (request, self.points as u64)
    }
}

fn empty(metric: &Metric) -> OtlpMetric {
    let cumulative = AggregationTemporality::Cumulative.into();
    let sum = |is_monotonic| {
        metric::Data::Sum(Sum {
            data_points: Vec::new(),
            aggregation_temporality: cumulative,
            is_monotonic,
        })
    };
    OtlpMetric {
        name: metric.name.clone().into_owned(),
        description: metric.description.clone().into_owned(),
        unit: metric.unit.to_owned(),
        metadata: Vec::new(),
        data: Some(match &metric.data {
            Data::Counter(_) => sum(true),
            Data::UpDownCounter(_) => sum(false),
            Data::Gauge(_) => metric::Data::Gauge(Gauge::default()),
            Data::Histogram(_) => metric::Data::Histogram(Histogram {
                data_points: Vec::new(),
                aggregation_temporality: cumulative,
            }),
        }),
    }
}

/// Adds a point to a metric that `empty` made for the same name. Two sources that give one name two kinds of data are
/// a fault in fathom; the first one's kind holds then, and the sources' own tests look for it.
fn push(metric: &mut OtlpMetric, data: &Data, point: Point<'_>, period: Period) {
    match (&mut metric.data, point) {
        (Some(metric::Data::Sum(sum)), Point::Number(point)) => {
            sum.data_points
                .push(number(point, period.start, period.now));
        }
        (Some(metric::Data::Gauge(gauge)), Point::Number(point)) => {
            // A gauge has no beginning.
            gauge.data_points.push(number(point, 0, period.now));
        }
        (Some(metric::Data::Histogram(histogram)), Point::Histogram(point)) => {
            histogram.data_points.push(distribution(point, period));
        }
        _ => debug_assert!(
            false,
            "{}: {data:?} under a name of another kind",
            metric.name
        ),
    }
}

fn number(point: &NumberPoint, start: u64, now: u64) -> NumberDataPoint {
    let value = match point.value {
        Number::Int(value) => i64::try_from(value).map_or_else(
            // Beyond what OTLP's whole numbers hold.
            |_| number_data_point::Value::AsDouble(value as f64),
            number_data_point::Value::AsInt,
        ),
        Number::Float(value) => number_data_point::Value::AsDouble(value),
    };
    NumberDataPoint {
        attributes: key_values(&point.attributes).collect(),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn distribution(point: &HistogramPoint, period: Period) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: key_values(&point.attributes).collect(),
        start_time_unix_nano: period.start,
        time_unix_nano: period.now,
        count: point.counts.iter().sum(),
        sum: Some(point.sum),
        bucket_counts: point.counts.clone(),
        explicit_bounds: point.bounds.to_vec(),
        exemplars: point.exemplars.iter().flatten().map(exemplar).collect(),
        ..HistogramDataPoint::default()
    }
}

fn exemplar(exemplar: &Exemplar) -> OtlpExemplar {
    OtlpExemplar {
        time_unix_nano: exemplar.time_unix_nano,
        span_id: exemplar.span_id.to_vec(),
        trace_id: exemplar.trace_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
        ..OtlpExemplar::default()
    }
}
