//! `https://` endpoints, with certificates that `openssl` makes for the occasion.

use std::{path::Path, process::Command};

use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::*;

/// A certificate for `localhost` that is its own authority, as `name.pem` and `name.key`; false without openssl.
fn certificate(folder: &Path, name: &str) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext"])
        .arg("subjectAltName=DNS:localhost,IP:127.0.0.1")
        .arg("-addext")
        .arg("basicConstraints=critical,CA:FALSE")
        .arg("-keyout")
        .arg(folder.join(format!("{name}.key")))
        .arg("-out")
        .arg(folder.join(format!("{name}.pem")))
        .output();
    match made {
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            true
        }
        Err(_) => false,
    }
}

fn identity(folder: &Path, name: &str) -> Identity {
    let read = |ending| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
    Identity::from_pem(read("pem"), read("key"))
}

/// Sends one span, and says what became of it.
async fn send(address: SocketAddr, variables: &[(&str, &str)]) -> Counts {
    let endpoint = format!("https://localhost:{}", address.port());
    let mut all = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_PROFILES_EXPORTER", "none"),
    ];
    all.extend_from_slice(variables);
    let exporter = Exporter::prepare(settings(NOWHERE, &all)).unwrap();
    let spans = exporter.spans().unwrap();
    spans.push(span("shop", 0));
    let running = exporter.start(Vec::new());
    running.shutdown(Duration::from_secs(2)).await;
    spans.ledger().counts()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_server_gets_spans_and_only_a_known_client_is_served() {
    let folder = tempfile::tempdir().unwrap();
    if !(certificate(folder.path(), "server") && certificate(folder.path(), "client")) {
        return eprintln!("skipped: no openssl");
    }
    let path = |file: &str| folder.path().join(file).display().to_string();
    let (ca, other) = (path("server.pem"), path("client.pem"));
    let (certificate, key) = (path("client.pem"), path("client.key"));

    let backend = Backend::default();
    let tls = ServerTlsConfig::new().identity(identity(folder.path(), "server"));
    let address = backend.serve_tls(tls.clone()).await;
    let trusted = send(address, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca)]).await;
    assert_eq!(trusted.delivered, 1, "{trusted:?}");
    let stranger = send(address, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &other)]).await;
    assert_eq!((stranger.delivered, stranger.lost(Loss::Shutdown)), (0, 1));
    assert_eq!(backend.spans_taken(), 1);

    let known = Certificate::from_pem(std::fs::read(&certificate).unwrap());
    let address = backend.serve_tls(tls.client_ca_root(known)).await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str()),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
    ];
    assert_eq!(send(address, &variables).await.delivered, 1);
    assert_eq!(send(address, &variables[..1]).await.delivered, 0);
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_named() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent/ca.pem"),
    ];
    let error = Exporter::prepare(settings(NOWHERE, &variables)).unwrap_err();
    let line = error.to_string();
    assert!(line.starts_with("/nonexistent/ca.pem: "), "{line}");
}
