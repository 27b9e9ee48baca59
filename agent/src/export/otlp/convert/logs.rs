//! Records of flows as log records: events by OpenTelemetry's conventions for events, which have a name, attributes and a severity, and no body.

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
};

use super::{Common, by_resource, key_values, scope};
use crate::telemetry::flow_logs::{EVENT_NAME, FlowLog, Severity};

/// One request from a batch of records: those of the same process stand together.
pub(in super::super) fn logs(batch: &[FlowLog], common: &Common) -> ExportLogsServiceRequest {
    let resources = by_resource(batch, |log| &log.resource);
    ExportLogsServiceRequest {
        resource_logs: resources
            .into_iter()
            .map(|(resource, logs)| ResourceLogs {
                resource: Some(common.resource(&resource.service_name, &resource.attributes)),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records: logs.into_iter().map(record).collect(),
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            })
            .collect(),
    }
}

fn record(log: &FlowLog) -> LogRecord {
    let (number, text) = match log.severity() {
        Severity::Info => (SeverityNumber::Info, "INFO"),
        Severity::Warn => (SeverityNumber::Warn, "WARN"),
        Severity::Error => (SeverityNumber::Error, "ERROR"),
    };
    LogRecord {
        time_unix_nano: log.at_unix_nano,
        observed_time_unix_nano: log.observed_unix_nano,
        severity_number: number.into(),
        severity_text: text.to_owned(),
        attributes: key_values(&log.attributes()).collect(),
        event_name: EVENT_NAME.to_owned(),
        ..LogRecord::default()
    }
}
