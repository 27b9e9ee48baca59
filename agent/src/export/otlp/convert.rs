//! fathom's data model as OTLP messages.

mod metrics;

use std::borrow::Cow;

use opentelemetry_proto::tonic::{
    collector::{
        profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, SpanFlags, Status, span, status},
};

pub(super) use self::metrics::{Period, metrics};
use crate::{
    l7::exchange::Side,
    telemetry::{
        metric::{Attributes, Value},
        span::Span,
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
    let mut resources: Vec<(&Span, Vec<OtlpSpan>)> = Vec::new();
    for span in batch {
        let converted = convert_span(span);
        // A batch has few processes. Equal ones are mostly the same Arc, which makes the comparison cheap.
        let group = resources.iter_mut().find(|(first, _)| {
            std::sync::Arc::ptr_eq(&first.resource, &span.resource)
                || first.resource == span.resource
        });
        match group {
            Some((_, spans)) => spans.push(converted),
            None => resources.push((span, vec![converted])),
        }
    }
    ExportTraceServiceRequest {
        resource_spans: resources
            .into_iter()
            .map(|(first, spans)| ResourceSpans {
                resource: Some(
                    common.resource(&first.resource.service_name, &first.resource.attributes),
                ),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope()),
                    spans,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            })
            .collect(),
    }
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
