//! The agent's HTTP server: `/metrics`, `/healthz`, `/readyz`.
//!
//! Everything about a client is bounded: how many there are, how long each may stay, and how many pages are made at the
//! same time. A connection serves one request, so that none stays to hold a place.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
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
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::openmetrics::{Format, render};
use crate::telemetry::metric::Source;

/// Connections at the same time; the next ones wait in the kernel's backlog.
const CONNECTIONS: usize = 128;
/// How long a client may take to send its request's head.
const HEAD: Duration = Duration::from_secs(5);
/// How long a client may take for everything.
const WHOLE: Duration = Duration::from_secs(30);
/// Pages that are made at the same time.
const PAGES: usize = 2;

const PATHS: &str = "fathom serves\n  /metrics  OpenMetrics, or the classic text format by Accept\n  /healthz  200 while the agent runs\n  /readyz   200 once everything is attached\n";

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {error}; {}", advice(.error, *.address))]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}

fn advice(error: &io::Error, address: SocketAddr) -> String {
    const CHOOSE: &str = "choose another with --listen ADDRESS:PORT";
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("`ss -ltnp sport = :{port}` says who does; {CHOOSE}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {port} may need CAP_NET_BIND_SERVICE; {CHOOSE}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address; {CHOOSE}")
        }
        _ => CHOOSE.to_owned(),
    }
}

/// A bound but not yet served address, so that a taken port is found before anything is loaded.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
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

/// What all connections share.
struct Shared {
    state: State,
    pages: Semaphore,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// When it is taken, or may not be taken.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|error| BindError { address, error })
    }

    /// The address, with the port that the kernel chose where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the runtime can't take the socket.
    pub async fn serve(self, state: State) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let shared = Arc::new(Shared {
            state,
            pages: Semaphore::new(PAGES),
        });
        accept(listener, shared).await;
        Ok(())
    }
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: clients come back, and the log stays readable.
                warn!("a connection could not be accepted: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            match timeout(WHOLE, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!("a client's connection broke: {error}"),
                Err(_) => debug!("a client took longer than {} s", WHOLE.as_secs()),
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        let methods = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, methods);
        return Ok(response);
    }
    Ok(match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT);
            let accept = accept.and_then(|value| value.to_str().ok());
            let format = Format::for_accept(accept.unwrap_or("*/*"));
            metrics(shared, format).await
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if shared.state.ready.load(Ordering::Acquire) => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the probes are being attached\n",
        ),
        _ => text(StatusCode::NOT_FOUND, PATHS),
    })
}

async fn metrics(shared: Arc<Shared>, format: Format) -> Response<Full<Bytes>> {
    let rendered = async {
        let _turn = shared.pages.acquire().await.ok()?;
        let page = Arc::clone(&shared);
        // A source may take its time: not on a thread that serves.
        tokio::task::spawn_blocking(move || render(&page.state.sources, format))
            .await
            .ok()
    };
    match rendered.await {
        Some(page) => typed(StatusCode::OK, page, format.content_type()),
        None => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a source of metrics failed; see the log\n",
        ),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, body, "text/plain; charset=utf-8")
}

fn typed(status: StatusCode, body: impl Into<Bytes>, media: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let media = HeaderValue::from_static(media);
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

#[cfg(test)]
mod tests;
