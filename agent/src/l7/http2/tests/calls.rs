//! gRPC calls of tonic, which go through a relay that writes them down.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::ResourceSpans,
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tonic::{
    Code, Request, Response, Status,
    codec::CompressionEncoding,
    transport::{Endpoint, Server, server::TcpIncoming},
};

use super::{super::*, tape::*};
use crate::l7::grpc::Messages;

/// Answers by the number of resources that a request names.
struct Answers;

#[tonic::async_trait]
impl TraceService for Answers {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let partial_success = match request.into_inner().resource_spans.len() % 3 {
            0 => None,
            1 => Some(ExportTracePartialSuccess {
                rejected_spans: 7,
                error_message: "x".repeat(1000),
            }),
            _ => return Err(Status::resource_exhausted("no more")),
        };
        Ok(Response::new(ExportTraceServiceResponse {
            partial_success,
        }))
    }
}

async fn relay(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    tape: Arc<Mutex<Tape>>,
    direction: Direction,
) {
    let mut buffer = vec![0; 5000];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..length];
        tape.lock().expect("a tape").call(direction, bytes);
        if to.write_all(bytes).await.is_err() {
            break;
        }
    }
}

/// A server behind a relay of one connection.
async fn serve(tape: Arc<Mutex<Tape>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("an address");
    let service = TraceServiceServer::new(Answers).accept_compressed(CompressionEncoding::Gzip);
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let server = TcpStream::connect(server).await.expect("a server");
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(relay(from_client, to_server, Arc::clone(&tape), REQUESTS));
        tokio::spawn(relay(from_server, to_client, tape, ANSWERS));
    });
    address
}

fn request(resources: usize) -> ExportTraceServiceRequest {
    let resource = ResourceSpans {
        schema_url: "schema".repeat(10),
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource; resources],
    }
}

#[tokio::test]
async fn unary_calls_of_tonic() {
    for compressed in [false, true] {
        unary_calls(compressed).await;
    }
}

/// How long a message is that was compressed only its encoder knows: such ones are compared without.
async fn unary_calls(compressed: bool) {
    let tape = Arc::default();
    let address = serve(Arc::clone(&tape)).await;
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .expect("an endpoint")
        .connect()
        .await
        .expect("a server");
    let mut calls = Vec::new();
    for resources in 0..60 {
        let channel = channel.clone();
        calls.push(tokio::spawn(async move {
            let mut client = TraceServiceClient::new(channel);
            let message = request(resources);
            let mut length = message.encoded_len() as u64 + 5;
            if compressed {
                client = client.send_compressed(CompressionEncoding::Gzip);
                length = 0;
            }
            let code = match client.export(message).await {
                Ok(_) => Code::Ok,
                Err(status) => status.code(),
            };
            (length, code as u32)
        }));
    }
    let mut expected = BTreeMap::<_, u32>::new();
    for call in calls {
        *expected.entry(call.await.expect("no panic")).or_default() += 1;
    }
    let tape = tape.lock().expect("a tape").clone();
    let outcome = decode(&tape.pieces_with_holes());
    assert_eq!(outcome.losses, Losses::new());
    assert_eq!(outcome.streams.len(), 60);
    let mut told = BTreeMap::<_, u32>::new();
    for stream in &outcome.streams {
        assert_eq!(stream.status, Ok(200));
        assert!(!stream.partial);
        let call = stream.rpc.as_ref().expect("a call");
        assert_eq!(
            call.service,
            "opentelemetry.proto.collector.trace.v1.TraceService"
        );
        assert_eq!(call.method, "Export");
        assert_eq!(call.request.count, Some(1));
        let status = call.status.expect("a status");
        let Messages { count, bytes } = call.response;
        match status {
            0 => assert!(count == Some(1) && (bytes == 5 || bytes > 1000), "{call:?}"),
            _ => assert_eq!((count, bytes), (Some(0), 0)),
        }
        let length = if compressed { 0 } else { call.request.bytes };
        *told.entry((length, status)).or_default() += 1;
    }
    assert_eq!(told, expected);
}
