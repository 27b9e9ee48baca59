//! `fathom.cpu.time`: the CPU time of each service, from the samples of its stacks.
//!
//! One sample stands for one period, so that a service's time is right to about the square root of its samples. It is what a
//! request's latency can be held against on the same page, without a profile at hand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::metric::{Attributes, Data, Metric, Number, NumberPoint, Source, Value};

/// Services that have a series; the time of others goes to the service [`OTHER_SERVICES`].
const MAX_SERVICES: usize = 256;

/// The service that stands for those beyond the limit.
const OTHER_SERVICES: &str = "other";

/// Where a CPU was when it was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the program's own code.
    User,
    /// In the kernel, on its behalf.
    System,
}

#[derive(Clone, Copy, Debug, Default)]
struct Samples {
    user: u64,
    system: u64,
}

#[derive(Debug, Default)]
struct Inner {
    services: HashMap<Arc<str>, Samples>,
    others: Samples,
}

/// The CPU time of each service.
#[derive(Debug)]
pub struct Cpu {
    period_ns: u64,
    inner: Mutex<Inner>,
}

impl Cpu {
    /// No time yet. A sample stands for `period_ns` of it.
    pub fn new(period_ns: u64) -> Self {
        Self {
            period_ns,
            inner: Mutex::default(),
        }
    }

    /// Takes one sample of a service.
    pub fn record(&self, service: &Arc<str>, mode: Mode) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        let room = inner.services.len() < MAX_SERVICES;
        let samples = match inner.services.get_mut(service) {
            Some(samples) => samples,
            None if room => inner.services.entry(Arc::clone(service)).or_default(),
            None => &mut inner.others,
        };
        match mode {
            Mode::User => samples.user += 1,
            Mode::System => samples.system += 1,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a nanosecond more or less in four months"
    )]
    fn seconds(&self, samples: u64) -> Number {
        Number::Float((samples * self.period_ns) as f64 / 1e9)
    }
}

impl Source for Cpu {
    fn collect(&self, into: &mut Vec<Metric>) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut points = Vec::with_capacity(2 * inner.services.len() + 2);
        let mut give = |service: Arc<str>, samples: Samples, overflow: bool| {
            for (mode, count) in [("user", samples.user), ("system", samples.system)] {
                let mut attributes: Attributes = vec![("cpu.mode".into(), Value::Str(mode.into()))];
                if overflow {
                    attributes.push(("otel.metric.overflow".into(), Value::Bool(true)));
                }
                points.push(NumberPoint {
                    resource: Arc::clone(&service),
                    attributes,
                    value: self.seconds(count),
                });
            }
        };
        for (service, samples) in &inner.services {
            give(Arc::clone(service), *samples, false);
        }
        if inner.others.user + inner.others.system > 0 {
            give(OTHER_SERVICES.into(), inner.others, true);
        }
        into.push(Metric {
            name: "fathom.cpu.time".into(),
            description: "CPU time of each service, from samples of all CPUs".into(),
            unit: "s",
            audience: super::metric::Audience::All,
            data: Data::Counter(points),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(cpu: &Cpu, service: &str, mode: &str) -> Option<f64> {
        let mut metrics = Vec::new();
        cpu.collect(&mut metrics);
        let Data::Counter(points) = &metrics[0].data else {
            panic!("a counter");
        };
        let mode = Value::Str(mode.to_owned().into());
        let point = points
            .iter()
            .find(|point| &*point.resource == service && point.attributes[0].1 == mode)?;
        match point.value {
            Number::Float(seconds) => Some(seconds),
            Number::Int(_) => None,
        }
    }

    #[test]
    fn samples_add_up_to_seconds_by_mode() {
        let cpu = Cpu::new(10_000_000);
        let service: Arc<str> = "shop".into();
        for _ in 0..150 {
            cpu.record(&service, Mode::User);
        }
        cpu.record(&service, Mode::System);
        assert_eq!(seconds(&cpu, "shop", "user"), Some(1.5));
        assert_eq!(seconds(&cpu, "shop", "system"), Some(0.01));
        assert_eq!(seconds(&cpu, "other", "user"), None);
    }

    #[test]
    fn services_are_bounded_and_the_rest_is_counted_together() {
        let cpu = Cpu::new(1_000_000_000);
        for number in 0..MAX_SERVICES + 3 {
            cpu.record(&format!("service-{number}").into(), Mode::User);
        }
        cpu.record(&"service-0".into(), Mode::User);
        assert_eq!(seconds(&cpu, "service-0", "user"), Some(2.0));
        assert_eq!(seconds(&cpu, "other", "user"), Some(3.0));
    }
}
