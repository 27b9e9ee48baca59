//! `/metrics`, `/healthz` and `/readyz` over HTTP/1.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::debug;

use super::openmetrics::{self, Format};
use crate::telemetry::metric::Source;

/// Clients that are served at the same time; further ones wait in the listen queue.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may stay in all: a scraper comes again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}: {error}; choose another address with --listen, or `listen` in the configuration{}", hint(.error))]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        " (`ss -ltnp` names who has it)"
    } else {
        ""
    }
}

/// A bound but not yet served address, so that a taken port is found before anything is loaded.
#[derive(Debug)]
pub struct Server {
    listener: StdListener,
    address: SocketAddr,
}

/// What the server answers from.
#[derive(Clone)]
pub struct State {
    /// What `/metrics` shows.
    pub sources: Arc<[Arc<dyn Source>]>,
    /// What `/readyz` says.
    pub ready: Arc<AtomicBool>,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// When it is taken, or may not be taken.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = StdListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|error| BindError { address, error })
    }

    /// The address, with the port that the kernel chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the runtime can't take the socket.
    pub async fn serve(self, state: State) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return Ok(());
            };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or a client that gave up: the next one may do better.
                    debug!("accepting a client of /metrics: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let state = state.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let response = answer(&request, &state);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(error)) => debug!("serving {peer}: {error}"),
                }
                drop(place);
            });
        }
    }
}

fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request
                .headers()
                .get(ACCEPT)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("");
            let format = Format::for_accept(accept);
            let body = openmetrics::render(&state.sources, format);
            response(StatusCode::OK, format.content_type(), body.into())
        }
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" if state.ready.load(Ordering::Acquire) => plain(StatusCode::OK, "ready\n"),
        "/readyz" => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the probes are being attached\n",
        ),
        _ => plain(
            StatusCode::NOT_FOUND,
            "fathom serves /metrics, /healthz and /readyz\n",
        ),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
