//! `fathom.tcp.listen.*`: the sockets that listen, their accept queues and what they dropped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::metric::{Audience, Data, Metric, Number, NumberPoint, ResourceKey, Source, Value};

/// Services and ports that are told apart; those beyond are counted together, with `otel.metric.overflow=true`.
const MAX_SERIES: usize = 1024;

/// One socket that listens, of a service.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Whose it is.
    pub service: Arc<str>,
    /// Where.
    pub port: u16,
    /// Connections that wait for accept(2).
    pub queue: u32,
    /// How many of them may.
    pub limit: u32,
    /// SYNs and ends of handshakes that were dropped since the last sweep.
    pub drops: u32,
}

/// The source of the three metrics.
#[derive(Default)]
pub struct Listen {
    series: Mutex<BTreeMap<Key, Series>>,
}

/// `None` stands for all that is too much.
type Key = Option<(ResourceKey, u16)>;

#[derive(Clone, Copy, Default)]
struct Series {
    queue: u64,
    limit: u64,
    drops: u64,
    listens: bool,
}

impl Listen {
    /// Takes one sweep over all sockets that listen. Several of one service and port are added up.
    pub fn take(&self, sweep: impl IntoIterator<Item = Listening>) {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        for series in all.values_mut() {
            (series.queue, series.limit, series.listens) = (0, 0, false);
        }
        for one in sweep {
            let mut key = Some((one.service, one.port));
            if all.len() >= MAX_SERIES && !all.contains_key(&key) {
                key = None;
            }
            let series = all.entry(key).or_default();
            series.queue += u64::from(one.queue);
            series.limit += u64::from(one.limit);
            series.drops += u64::from(one.drops);
            series.listens = true;
        }
        // What has dropped nothing and listens no more need not be remembered: a counter that is gone says so.
        all.retain(|_, series| series.listens || series.drops > 0);
    }
}

impl Source for Listen {
    fn collect(&self, into: &mut Vec<Metric>) {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let points = |value: fn(&Series) -> Option<u64>| -> Vec<NumberPoint> {
            all.iter()
                .filter_map(|(key, series)| Some(point(key.as_ref(), value(series)?)))
                .collect()
        };
        let metrics = [
            (
                "fathom.tcp.listen.drops",
                "{packet}",
                "SYNs and ends of handshakes that listening sockets dropped, mostly because their accept queue was full",
                Data::Counter(points(|series| Some(series.drops))),
            ),
            (
                "fathom.tcp.listen.queue",
                "{connection}",
                "Connections that wait for accept(2)",
                Data::UpDownCounter(points(|series| series.listens.then_some(series.queue))),
            ),
            (
                "fathom.tcp.listen.queue.limit",
                "{connection}",
                "Connections that may wait for accept(2): what listen(2) was given, net.core.somaxconn at most",
                Data::UpDownCounter(points(|series| series.listens.then_some(series.limit))),
            ),
        ];
        into.extend(metrics.map(|(name, unit, description, data)| Metric {
            name: name.into(),
            description: description.into(),
            unit,
            audience: Audience::All,
            data,
        }));
    }
}

fn point(key: Option<&(ResourceKey, u16)>, value: u64) -> NumberPoint {
    let attribute = match key {
        Some((_, port)) => ("network.local.port".into(), Value::Int((*port).into())),
        None => ("otel.metric.overflow".into(), Value::Bool(true)),
    };
    NumberPoint {
        resource: key.map_or_else(|| "other".into(), |(service, _)| Arc::clone(service)),
        attributes: vec![attribute],
        value: Number::Int(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::collect;

    fn listening(service: &str, port: u16, queue: u32, drops: u32) -> Listening {
        Listening {
            service: service.into(),
            port,
            queue,
            limit: 8,
            drops,
        }
    }

    fn values(listen: &Listen, name: &str) -> Vec<(String, Number)> {
        let metrics = collect(listen);
        let metric = metrics.iter().find(|metric| metric.name == name);
        match &metric.expect(name).data {
            Data::Counter(points) | Data::UpDownCounter(points) => points
                .iter()
                .map(|point| (point.resource.to_string(), point.value))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sockets_of_one_service_and_port_are_added_up_and_drops_stay() {
        let listen = Listen::default();
        let web = |drops| [listening("web", 80, 1, drops), listening("web", 80, 2, 0)];
        listen.take(web(3).into_iter().chain([listening("db", 5432, 0, 0)]));
        listen.take(web(4));
        let one = |value| vec![("web".to_owned(), Number::Int(value))];
        assert_eq!(values(&listen, "fathom.tcp.listen.drops"), one(7));
        assert_eq!(values(&listen, "fathom.tcp.listen.queue"), one(3));
        assert_eq!(values(&listen, "fathom.tcp.listen.queue.limit"), one(16));
        listen.take([]);
        assert_eq!(values(&listen, "fathom.tcp.listen.drops"), one(7));
        assert_eq!(values(&listen, "fathom.tcp.listen.queue"), []);
    }

    #[test]
    fn there_are_only_so_many_series() {
        let listen = Listen::default();
        listen.take((0..2000).map(|port| listening("scan", port, 1, 1)));
        let drops = values(&listen, "fathom.tcp.listen.drops");
        assert_eq!(drops.len(), MAX_SERIES + 1);
        assert_eq!(
            drops[0],
            ("other".into(), Number::Int(2000 - MAX_SERIES as u64))
        );
    }
}
