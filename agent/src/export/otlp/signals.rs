//! The four services, behind one trait: a batch goes in, an answer comes out.

use std::{future::Future, sync::Arc};

use opentelemetry_proto::tonic::collector::{
    logs::v1::logs_service_client::LogsServiceClient,
    metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    profiles::v1development::profiles_service_client::ProfilesServiceClient,
    trace::v1::trace_service_client::TraceServiceClient,
};
use tonic::{Status, codec::CompressionEncoding, transport::Channel};

use super::{
    client::Client,
    convert::{self, Common},
    profiles::Encoded,
    queue::Item,
};
use crate::telemetry::{flow_logs::FlowLog, span::Span};

/// What a backend says to a request that it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// How much of it the backend refused all the same.
    pub(super) rejected: u64,
    /// Why, or a warning when nothing was refused.
    pub(super) message: String,
}

impl Answer {
    fn new(rejected: i64, message: String) -> Self {
        Self {
            // A negative number makes no sense and changes nothing.
            rejected: u64::try_from(rejected).unwrap_or(0),
            message,
        }
    }
}

/// Sends requests of one signal.
pub(super) trait Service: Send + Sync + 'static {
    /// What one request is made from. An attempt that failed leaves it whole for the next.
    type Batch: ?Sized + Sync;

    fn client(&self) -> &Client;

    /// Sends one request, once.
    fn send(&self, batch: &Self::Batch) -> impl Future<Output = Result<Answer, Status>> + Send;
}

/// A service that is fed by a queue.
pub(super) trait QueueService: Service {
    type Item: Item + Sync;

    /// The requests that a batch off the queue makes, each with the number of its events.
    fn requests(batch: &[Self::Item]) -> impl Iterator<Item = (&Self::Batch, u64)> + Send;
}

macro_rules! prepared {
    ($service:ident, $client:expr) => {{
        let client: &Client = $client;
        let service = $service::<Channel>::new(client.channel.clone())
            .accept_compressed(CompressionEncoding::Gzip);
        if client.gzip {
            service.send_compressed(CompressionEncoding::Gzip)
        } else {
            service
        }
    }};
}

pub(super) struct Traces {
    pub(super) client: Client,
    pub(super) common: Arc<Common>,
}

impl Service for Traces {
    type Batch = [Span];

    fn client(&self) -> &Client {
        &self.client
    }

    async fn send(&self, batch: &[Span]) -> Result<Answer, Status> {
        let request = self.client.request(convert::spans(batch, &self.common));
        let response = prepared!(TraceServiceClient, &self.client)
            .export(request)
            .await?;
        Ok(match response.into_inner().partial_success {
            Some(partial) => Answer::new(partial.rejected_spans, partial.error_message),
            None => Answer::default(),
        })
    }
}

impl QueueService for Traces {
    type Item = Span;

    fn requests(batch: &[Span]) -> impl Iterator<Item = (&[Span], u64)> + Send {
        std::iter::once((batch, batch.len() as u64))
    }
}

pub(super) struct Metrics {
    pub(super) client: Client,
}

impl Service for Metrics {
    type Batch = ExportMetricsServiceRequest;

    fn client(&self) -> &Client {
        &self.client
    }

    async fn send(&self, batch: &Self::Batch) -> Result<Answer, Status> {
        let request = self.client.request(batch.clone());
        let response = prepared!(MetricsServiceClient, &self.client)
            .export(request)
            .await?;
        Ok(match response.into_inner().partial_success {
            Some(partial) => Answer::new(partial.rejected_data_points, partial.error_message),
            None => Answer::default(),
        })
    }
}

pub(super) struct Profiles {
    pub(super) client: Client,
    pub(super) common: Arc<Common>,
}

impl Service for Profiles {
    type Batch = Encoded;

    fn client(&self) -> &Client {
        &self.client
    }

    async fn send(&self, batch: &Self::Batch) -> Result<Answer, Status> {
        let mut message = batch
            .decode()
            .map_err(|error| Status::internal(error.to_string()))?;
        self.common.complete_profiles(&mut message);
        let request = self.client.request(message);
        let response = prepared!(ProfilesServiceClient, &self.client)
            .export(request)
            .await?;
        Ok(match response.into_inner().partial_success {
            Some(partial) => Answer::new(partial.rejected_profiles, partial.error_message),
            None => Answer::default(),
        })
    }
}

impl QueueService for Profiles {
    type Item = Encoded;

    /// One each: every one has a dictionary of its own.
    fn requests(batch: &[Self::Item]) -> impl Iterator<Item = (&Self::Batch, u64)> + Send {
        batch.iter().map(|request| (request, request.events()))
    }
}

/// Records of flows.
pub(super) struct Logs {
    pub(super) client: Client,
    pub(super) common: Arc<Common>,
}

impl Service for Logs {
    type Batch = [FlowLog];

    fn client(&self) -> &Client {
        &self.client
    }

    async fn send(&self, batch: &[FlowLog]) -> Result<Answer, Status> {
        let request = self.client.request(convert::logs(batch, &self.common));
        let response = prepared!(LogsServiceClient, &self.client)
            .export(request)
            .await?;
        Ok(match response.into_inner().partial_success {
            Some(partial) => Answer::new(partial.rejected_log_records, partial.error_message),
            None => Answer::default(),
        })
    }
}

impl QueueService for Logs {
    type Item = FlowLog;

    fn requests(batch: &[FlowLog]) -> impl Iterator<Item = (&[FlowLog], u64)> + Send {
        std::iter::once((batch, batch.len() as u64))
    }
}
