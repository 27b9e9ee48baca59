//! A backend in this process that answers as a test tells it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::collector::{
    logs::v1::{
        ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    profiles::v1development::{
        ExportProfilesServiceRequest, ExportProfilesServiceResponse,
        profiles_service_server::{ProfilesService, ProfilesServiceServer},
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Server, ServerTlsConfig, server::TcpIncoming},
};

/// What the next request for spans gets.
pub(super) enum Answer {
    Take,
    RejectSome(i64),
    Refuse(Status),
    Never,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) traces: Vec<(Instant, MetadataMap, ExportTraceServiceRequest)>,
    pub(super) metrics: Vec<ExportMetricsServiceRequest>,
    pub(super) profiles: Vec<ExportProfilesServiceRequest>,
    pub(super) logs: Vec<ExportLogsServiceRequest>,
    /// Requests for spans, also those that were refused.
    pub(super) attempts: Vec<Instant>,
}

/// A clone is the same backend.
#[derive(Clone, Default)]
pub(super) struct Backend {
    pub(super) seen: Arc<Mutex<Seen>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Backend {
    /// Answers the next requests for spans so, and takes all after these.
    pub(super) fn scripted(answers: impl IntoIterator<Item = Answer>) -> Self {
        let backend = Self::default();
        backend.answers.lock().unwrap().extend(answers);
        backend
    }

    /// Serves on a port of its own.
    pub(super) async fn serve(&self) -> SocketAddr {
        self.serve_on("127.0.0.1:0".parse().unwrap()).await
    }

    pub(super) async fn serve_on(&self, address: SocketAddr) -> SocketAddr {
        self.serve_with(Server::builder(), address).await
    }

    /// Serves over TLS on a port of its own.
    pub(super) async fn serve_tls(&self, tls: ServerTlsConfig) -> SocketAddr {
        let server = Server::builder().tls_config(tls).unwrap();
        self.serve_with(server, "127.0.0.1:0".parse().unwrap())
            .await
    }

    async fn serve_with(&self, mut server: Server, address: SocketAddr) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = server
            .add_service(
                TraceServiceServer::new(self.clone())
                    .accept_compressed(tonic::codec::CompressionEncoding::Gzip),
            )
            .add_service(MetricsServiceServer::new(self.clone()))
            .add_service(ProfilesServiceServer::new(self.clone()))
            .add_service(LogsServiceServer::new(self.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(server);
        address
    }

    pub(super) fn spans_taken(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        let requests = seen.traces.iter().map(|(_, _, request)| request);
        requests
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .map(|scope| scope.spans.len())
            .sum()
    }
}

#[tonic::async_trait]
impl TraceService for Backend {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.seen.lock().unwrap().attempts.push(Instant::now());
        let answer = self.answers.lock().unwrap().pop_front();
        let partial_success = match answer.unwrap_or(Answer::Take) {
            Answer::Take => None,
            Answer::RejectSome(rejected_spans) => Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: "too old".to_owned(),
            }),
            Answer::Refuse(status) => return Err(status),
            Answer::Never => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                None
            }
        };
        let (metadata, _, message) = request.into_parts();
        let taken = (Instant::now(), metadata, message);
        self.seen.lock().unwrap().traces.push(taken);
        Ok(Response::new(ExportTraceServiceResponse {
            partial_success,
        }))
    }
}

#[tonic::async_trait]
impl MetricsService for Backend {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.seen.lock().unwrap().metrics.push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl ProfilesService for Backend {
    async fn export(
        &self,
        request: Request<ExportProfilesServiceRequest>,
    ) -> Result<Response<ExportProfilesServiceResponse>, Status> {
        self.seen
            .lock()
            .unwrap()
            .profiles
            .push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Backend {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.seen.lock().unwrap().logs.push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}
