//! The server.

use std::{
    convert::Infallible,
    fs,
    future::Future,
    io::Read as _,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{
        BoxFuture, Service, http,
        tokio_stream::{self, Stream, StreamExt as _},
    },
    server::{Grpc, NamedService},
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use crate::{
    PIECES, SERVICE,
    log::{Call, Log},
    raw::Raw,
    say,
};

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// Answers until standard input ends.
pub async fn run(log: Log, tls: Option<(PathBuf, PathBuf)>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let mut server = Server::builder();
    let secure = tls.is_some();
    if let Some((certificate, key)) = tls {
        let identity = Identity::from_pem(fs::read(certificate)?, fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    std::thread::spawn(|| {
        // An error is an end as well.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    say(secure, Some(port));
    server
        .add_service(Echo { log })
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

#[derive(Clone)]
struct Echo {
    log: Log,
}

impl NamedService for Echo {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let rpc = path.rsplit('/').next().unwrap_or(path).to_owned();
        let call = self.log.call("server", &rpc);
        Box::pin(async move {
            let mut grpc = Grpc::new(Raw);
            Ok(match rpc.as_str() {
                "Unary" => grpc.unary(Handler::new(call, unary), request).await,
                "ServerStream" => {
                    let handler = Handler::new(call, server_stream);
                    grpc.server_streaming(handler, request).await
                }
                "ClientStream" => {
                    let handler = Handler::new(call, client_stream);
                    grpc.client_streaming(handler, request).await
                }
                "Both" => grpc.streaming(Handler::new(call, both), request).await,
                _ => grpc.unary(Handler::new(call, missing), request).await,
            })
        })
    }
}

async fn unary(_: Call, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    Ok(Response::new(request.into_inner()))
}

async fn missing(mut call: Call, _: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let status = Status::not_found("there is none");
    call.set_code(status.code());
    Err(status)
}

async fn server_stream(call: Call, request: Request<Bytes>) -> Result<Response<Answers>, Status> {
    let message = request.into_inner();
    let answers = tokio_stream::iter(vec![message; PIECES]);
    Ok(Response::new(Box::pin(answers.map(move |message| {
        // Over when the stream is, not before.
        let _ = &call;
        Ok(message)
    }))))
}

async fn client_stream(
    _: Call,
    request: Request<Streaming<Bytes>>,
) -> Result<Response<Bytes>, Status> {
    let mut messages = request.into_inner();
    let mut all = BytesMut::new();
    while let Some(message) = messages.message().await? {
        all.extend_from_slice(&message);
    }
    Ok(Response::new(all.freeze()))
}

async fn both(call: Call, request: Request<Streaming<Bytes>>) -> Result<Response<Answers>, Status> {
    Ok(Response::new(Box::pin(request.into_inner().map(
        move |message| {
            let _ = &call;
            message
        },
    ))))
}

/// A function as the service that tonic wants for one call.
struct Handler<F> {
    call: Option<Call>,
    function: F,
}

impl<F> Handler<F> {
    fn new(call: Call, function: F) -> Self {
        Self {
            call: Some(call),
            function,
        }
    }
}

impl<F, Of, Answer, Running> Service<Request<Of>> for Handler<F>
where
    F: Fn(Call, Request<Of>) -> Running,
    Running: Future<Output = Result<Response<Answer>, Status>> + Send + 'static,
    Answer: Send + 'static,
{
    type Response = Response<Answer>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Of>) -> Self::Future {
        match self.call.take() {
            Some(call) => Box::pin((self.function)(call, request)),
            None => Box::pin(async { Err(Status::internal("one handler, one call")) }),
        }
    }
}
