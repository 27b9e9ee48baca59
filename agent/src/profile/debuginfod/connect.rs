//! Connections to a server, through TLS where its URL says so.

use std::sync::Arc;

use anyhow::Context as _;
use hyper::{Uri, rt};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

/// Bytes to and from a server.
pub(super) trait Stream: rt::Read + rt::Write + Send + Unpin {}

impl<S: rt::Read + rt::Write + Send + Unpin> Stream for S {}

pub(super) async fn connect(url: &Uri, host: &str) -> anyhow::Result<Box<dyn Stream>> {
    let is_secure = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    // An IPv6 address is in brackets in a URL.
    let host = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port))
        .await
        .context("cannot connect")?;
    if !is_secure {
        return Ok(Box::new(TokioIo::new(stream)));
    }
    let mut roots = RootCertStore::empty();
    // A certificate that can't be read is none of those that are trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    Ok(Box::new(TokioIo::new(stream)))
}
