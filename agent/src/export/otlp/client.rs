//! The connection to a backend.

use std::{error::Error as _, fmt::Write as _, path::PathBuf, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataKey, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::settings::Target;

/// How long a connection may take to come up; a request that waits for it has its own timeout.
const CONNECT: Duration = Duration::from_secs(5);
/// How often an idle connection is asked whether it lives: a backend that vanished is noticed within two of these.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Why no connection can be prepared. Whether the backend answers shows only later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key can't be read.
    #[error("{}: {error}; it should be a readable PEM file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The TLS parts don't fit together.
    #[error(
        "TLS for {endpoint} can't be set up: {reason}; check the system's CA certificates, or OTEL_EXPORTER_OTLP_CERTIFICATE"
    )]
    Tls {
        /// The backend.
        endpoint: String,
        /// Why.
        reason: String,
    },
}

/// Makes requests to one target.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) channel: Channel,
    headers: Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>,
    pub(super) timeout: Duration,
    pub(super) gzip: bool,
    /// For the log.
    pub(super) address: String,
}

impl Client {
    /// Prepares a connection; nothing is opened before the first request. Needs a tokio runtime around it.
    pub(super) fn new(target: &Target) -> Result<Self, Error> {
        let address = target.endpoint.to_string();
        let tls_error = |error: tonic::transport::Error| Error::Tls {
            endpoint: address.clone(),
            reason: chain(&error),
        };
        let mut endpoint = Endpoint::from(target.endpoint.clone())
            .user_agent(concat!("fathom/", env!("CARGO_PKG_VERSION")))
            .map_err(tls_error)?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .tcp_keepalive(Some(KEEP_ALIVE));
        if target.endpoint.scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(tls(target)?).map_err(tls_error)?;
        }
        let headers = target
            .headers
            .iter()
            .filter_map(|(name, value)| {
                // `Settings` has let only good ones through.
                let name = MetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes()).ok()?;
                let mut value = MetadataValue::try_from(value.as_str()).ok()?;
                value.set_sensitive(true);
                Some((name, value))
            })
            .collect();
        Ok(Self {
            channel: endpoint.connect_lazy(),
            headers,
            timeout: target.timeout,
            gzip: target.gzip,
            address,
        })
    }

    /// Wraps a message with the target's headers and timeout.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.headers {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        request.set_timeout(self.timeout);
        request
    }
}

fn tls(target: &Target) -> Result<ClientTlsConfig, Error> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| Error::Read {
            path: path.clone(),
            error,
        })
    };
    let mut tls = ClientTlsConfig::new();
    tls = match &target.certificate {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
        None => tls.with_native_roots(),
    };
    if let Some((certificate, key)) = &target.client {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(tls)
}

/// A status in one line, with what lies beneath it: tonic's own text for a refused connection is "transport error".
pub(super) fn reason(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code(), status.message());
    let mut source = status.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
