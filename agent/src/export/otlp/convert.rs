//! fathom's data model as OTLP messages.

mod logs;
mod metrics;

use std::{borrow::Cow, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::{
        profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, SpanFlags, Status, span, status},
};

pub(super) use self::{
    logs::logs,
    metrics::{Period, metrics},
};
use crate::{
    l7::exchange::Side,
    telemetry::{
        metric::{Attributes, Value},
        span::{Resource as OurResource, Span},
    },
};

/// What every batch says about this agent.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// Attributes of every resource.
    pub(super) resource: Vec<(String, String)>,
    /// `service.name` of what fathom says about itself.
    pub(super) service_name: String,
}

impl Common {
    /// A resource with the attributes that all share, and its own: where both have one, its own stays.
    fn resource(&self, service_name: &str, attributes: &Attributes) -> Resource {
        let service_name = if service_name.is_empty() {
            &self.service_name
        } else {
            service_name
        };
        let mut list = vec![text("service.name", service_name)];
        list.extend(key_values(attributes));
        self.complete(&mut list);
        Resource {
            attributes: list,
            ..Resource::default()
        }
    }

    fn complete(&self, list: &mut Vec<KeyValue>) {
        for (key, value) in &self.resource {
            if !list.iter().any(|own| own.key == *key) {
                list.push(text(key, value));
            }
        }
    }

    /// Adds the attributes that all resources share to those of a profile.
    pub(super) fn complete_profiles(&self, request: &mut ExportProfilesServiceRequest) {
        for profiles in &mut request.resource_profiles {
            let resource = profiles.resource.get_or_insert_default();
            self.complete(&mut resource.attributes);
        }
    }
}

/// One request from a batch of spans: those of the same process stand together.
pub(super) fn spans(batch: &[Span], common: &Common) -> ExportTraceServiceRequest {
    let resources = by_resource(batch, |span| &span.resource);
    ExportTraceServiceRequest {
        resource_spans: resources
            .into_iter()
            .map(|(resource, spans)| ResourceSpans {
                resource: Some(common.resource(&resource.service_name, &resource.attributes)),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans: spans.into_iter().map(convert_span).collect(),
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            })
            .collect(),
    }
}

/// Those of the same process together.
fn by_resource<'a, T>(
    batch: &'a [T],
    of: impl Fn(&'a T) -> &'a Arc<OurResource>,
) -> Vec<(&'a OurResource, Vec<&'a T>)> {
    let mut resources: Vec<(&Arc<OurResource>, Vec<&T>)> = Vec::new();
    for item in batch {
        let resource = of(item);
        // A batch has few processes. Equal ones are mostly the same Arc, which makes the comparison cheap.
        let group = resources
            .iter_mut()
            .find(|(first, _)| Arc::ptr_eq(first, resource) || *first == resource);
        match group {
            Some((_, items)) => items.push(item),
            None => resources.push((resource, vec![item])),
        }
    }
    resources
        .into_iter()
        .map(|(resource, items)| (&**resource, items))
        .collect()
}

fn convert_span(span: &Span) -> OtlpSpan {
    let (kind, remote) = match span.side {
        Side::Server => (
            span::SpanKind::Server,
            SpanFlags::ContextIsRemoteMask as u32,
        ),
        // The parent is the same process's, as a server.
        Side::Client => (span::SpanKind::Client, 0),
    };
    let mut flags = u32::from(span.flags) | SpanFlags::ContextHasIsRemoteMask as u32;
    if span.parent_span_id.is_some() {
        flags |= remote;
    }
    OtlpSpan {
        trace_id: span.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        parent_span_id: span.parent_span_id.map_or_else(Vec::new, |id| id.to_vec()),
        flags,
        trace_state: span.trace_state.as_deref().unwrap_or_default().to_owned(),
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: span.start_unix_nano,
        end_time_unix_nano: span.end_unix_nano,
        attributes: key_values(&span.attributes).collect(),
        status: span.error.then(|| Status {
            message: String::new(),
            code: status::StatusCode::Error.into(),
        }),
        ..OtlpSpan::default()
    }
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "fathom".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

pub(super) fn key_values(attributes: &Attributes) -> impl Iterator<Item = KeyValue> + '_ {
    attributes.iter().map(|(key, value)| KeyValue {
        key: Cow::into_owned(key.clone()),
        value: Some(AnyValue {
            value: Some(match value {
                Value::Str(text) => any_value::Value::StringValue(Cow::into_owned(text.clone())),
                Value::Int(number) => any_value::Value::IntValue(*number),
                Value::Bool(yes) => any_value::Value::BoolValue(*yes),
            }),
        }),
        ..KeyValue::default()
    })
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}
