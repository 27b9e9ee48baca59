//! The client.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::Deserialize;
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::{http::uri::PathAndQuery, tokio_stream},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{PIECES, SERVICE, log::Log, raw::Raw, say};

#[derive(Deserialize)]
struct Ask {
    path: String,
    body: usize,
    fresh: bool,
}

/// Does the plan, one task a worker.
pub async fn run(log: Log, url: &str, plan: &Path, certificate: Option<&Path>) -> Result<()> {
    let text = fs::read(plan).with_context(|| format!("cannot read {}", plan.display()))?;
    let plans: Vec<Vec<Ask>> = serde_json::from_slice(&text)?;
    let mut endpoint = Endpoint::from_shared(url.to_owned())?;
    if let Some(certificate) = certificate {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(fs::read(certificate)?))
            .domain_name("localhost");
        endpoint = endpoint.tls_config(tls)?;
    }
    say(certificate.is_some(), None);
    let workers: Vec<_> = plans
        .into_iter()
        .map(|plan| tokio::spawn(work(log.clone(), endpoint.clone(), plan)))
        .collect();
    for worker in workers {
        worker.await??;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}

async fn work(log: Log, endpoint: Endpoint, plan: Vec<Ask>) -> Result<()> {
    let mut grpc = Grpc::new(endpoint.connect().await?);
    for ask in plan {
        if ask.fresh {
            grpc = Grpc::new(endpoint.connect().await?);
        }
        let rpc = ask.path.rsplit('/').next().unwrap_or_default();
        grpc.ready().await?;
        let mut call = log.call("client", rpc);
        if let Err(status) = one(&mut grpc, rpc, Bytes::from(vec![b'x'; ask.body])).await {
            call.set_code(status.code());
        }
    }
    Ok(())
}

async fn one(grpc: &mut Grpc<Channel>, rpc: &str, message: Bytes) -> Result<(), Status> {
    let path = format!("/{SERVICE}/{rpc}");
    let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
    let pieces = Request::new(tokio_stream::iter(vec![message.clone(); PIECES]));
    let mut answers = match rpc {
        "ServerStream" => {
            let answer = grpc.server_streaming(Request::new(message), path, Raw);
            answer.await?.into_inner()
        }
        "ClientStream" => {
            grpc.client_streaming::<_, Bytes, Bytes, _>(pieces, path, Raw)
                .await?;
            return Ok(());
        }
        "Both" => grpc.streaming(pieces, path, Raw).await?.into_inner(),
        _ => {
            grpc.unary::<Bytes, Bytes, _>(Request::new(message), path, Raw)
                .await?;
            return Ok(());
        }
    };
    while answers.message().await?.is_some() {}
    Ok(())
}
