//! `fathom.profile.samples`: how many samples of each service there were, by how much of their stacks could be read.
//!
//! A profile that lacks half of its stacks looks like one of another program; this says so without a profile at hand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::metric::{Attributes, Audience, Data, Metric, Number, NumberPoint, Source, Value};
use crate::profile::{Quality, StackQuality};

/// Services that have a series; samples of others go to the service [`OTHER_SERVICES`].
const MAX_SERVICES: usize = 256;

/// The service that stands for those beyond the limit.
const OTHER_SERVICES: &str = "other";

#[derive(Debug, Default)]
struct Inner {
    services: HashMap<Arc<str>, Quality>,
    others: Quality,
}

/// The samples of each service.
#[derive(Debug, Default)]
pub struct StackSamples(Mutex<Inner>);

impl StackSamples {
    /// Takes what a window had of a service.
    pub fn record(&self, service: &Arc<str>, quality: Quality) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        let room = inner.services.len() < MAX_SERVICES;
        let sum = match inner.services.get_mut(service) {
            Some(sum) => sum,
            None if room => inner.services.entry(Arc::clone(service)).or_default(),
            None => &mut inner.others,
        };
        *sum += quality;
    }
}

impl Source for StackSamples {
    fn collect(&self, into: &mut Vec<Metric>) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut points = Vec::new();
        let mut give = |service: Arc<str>, quality: &Quality, overflow: bool| {
            for stack in StackQuality::ALL {
                let samples = quality.of(stack);
                if samples == 0 {
                    continue;
                }
                let mut attributes: Attributes =
                    vec![("stack".into(), Value::Str(stack.name().into()))];
                if overflow {
                    attributes.push(("otel.metric.overflow".into(), Value::Bool(true)));
                }
                points.push(NumberPoint {
                    resource: Arc::clone(&service),
                    attributes,
                    value: Number::Int(samples),
                });
            }
        };
        for (service, quality) in &inner.services {
            give(Arc::clone(service), quality, false);
        }
        give(OTHER_SERVICES.into(), &inner.others, true);
        into.push(Metric {
            name: "fathom.profile.samples".into(),
            description: "Samples of CPU stacks by how much of the stack could be read".into(),
            unit: "{sample}",
            audience: Audience::All,
            data: Data::Counter(points),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(source: &StackSamples) -> Vec<(String, String, u64)> {
        let mut metrics = Vec::new();
        source.collect(&mut metrics);
        let Data::Counter(points) = &metrics[0].data else {
            panic!("a counter");
        };
        let mut samples: Vec<_> = points
            .iter()
            .map(|point| {
                let Value::Str(stack) = &point.attributes[0].1 else {
                    panic!("a name");
                };
                let Number::Int(samples) = point.value else {
                    panic!("a count");
                };
                (point.resource.to_string(), stack.to_string(), samples)
            })
            .collect();
        samples.sort();
        samples
    }

    fn window(stack: StackQuality, samples: u64) -> Quality {
        let mut quality = Quality::default();
        quality.add(stack, samples);
        quality
    }

    #[test]
    fn windows_add_up_by_service_and_stack() {
        let source = StackSamples::default();
        let shop: Arc<str> = "shop".into();
        source.record(&shop, window(StackQuality::Whole, 3));
        source.record(&shop, window(StackQuality::Whole, 4));
        source.record(&shop, window(StackQuality::NoTable, 1));
        let of_shop = |stack: &str, samples| ("shop".to_owned(), stack.to_owned(), samples);
        assert_eq!(
            self::samples(&source),
            [of_shop("no_table", 1), of_shop("whole", 7)]
        );
    }

    #[test]
    fn services_are_bounded_and_the_rest_is_counted_together() {
        let source = StackSamples::default();
        for number in 0..MAX_SERVICES + 3 {
            let service = format!("service-{number}").into();
            source.record(&service, window(StackQuality::Whole, 2));
        }
        let samples = samples(&source);
        assert_eq!(samples.len(), MAX_SERVICES + 1);
        assert_eq!(samples[0], ("other".to_owned(), "whole".to_owned(), 6));
    }
}
