//! Debug files from debuginfod servers: `GET /buildid/BUILDID/debuginfo` (elfutils, debuginfod(8), "WEBAPI").
//!
//! Off unless servers are named, as a request tells a server which programs run here. What was fetched is kept on disk.

use std::{error::Error, fs::File, path::PathBuf, thread, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use fathom_symbolizer::DebugFiles;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Body as _, Bytes, Incoming},
    header,
};

use self::cache::{Cache, Incomplete};

mod cache;
mod connect;

/// What a [`Debuginfod`] may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest that one debug file may take, all servers together.
    pub time: Duration,
    /// The most bytes of one debug file.
    pub file: u64,
    /// The most bytes of all that are kept on disk; those that were not used the longest go.
    pub disk: u64,
}

impl Default for Limits {
    /// 90 s, 2 GiB a file and 10 GiB in all.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(90),
            file: 2 << 30,
            disk: 10 << 30,
        }
    }
}

/// Asks servers in turn.
#[derive(Debug)]
pub struct Debuginfod {
    /// Without a slash at their ends.
    servers: Vec<String>,
    cache: Cache,
    limits: Limits,
}

/// What one server said.
enum Said {
    File(File),
    NotHere,
}

const MAX_REDIRECTS: usize = 3;

impl Debuginfod {
    /// Servers by their URLs, and the folder that files are kept in; it is laid out as elfutils' is, so that both can share it.
    ///
    /// # Errors
    /// When a URL is none of http or https.
    pub fn new(servers: &[String], folder: PathBuf, limits: Limits) -> anyhow::Result<Self> {
        let server = |url: &String| {
            let uri: Uri = url.parse().with_context(|| format!("{url}: no URL"))?;
            match (uri.scheme_str(), uri.host()) {
                (Some("http" | "https"), Some(_)) => Ok(url.trim_end_matches('/').to_owned()),
                _ => Err(anyhow!("{url}: no URL of http or https")),
            }
        };
        Ok(Self {
            servers: servers.iter().map(server).collect::<anyhow::Result<_>>()?,
            cache: Cache::new(folder, limits.disk),
            limits,
        })
    }

    /// Where elfutils keeps what it fetched, by its environment.
    pub fn default_folder() -> Option<PathBuf> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(folder) = variable("DEBUGINFOD_CACHE_PATH") {
            return Some(folder.into());
        }
        let caches = variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))?;
        Some(caches.join("debuginfod_client"))
    }

    async fn fetch(&self, build_id: &str) -> anyhow::Result<Option<File>> {
        let mut failed = None;
        for server in &self.servers {
            match self.ask(server, build_id).await {
                Ok(Said::File(file)) => return Ok(Some(file)),
                Ok(Said::NotHere) => {}
                Err(error) => {
                    failed.get_or_insert(error.context(server.clone()));
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn ask(&self, server: &str, build_id: &str) -> anyhow::Result<Said> {
        let mut url: Uri = format!("{server}/buildid/{build_id}/debuginfo").parse()?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = get(&url).await?;
            match answer.status() {
                StatusCode::OK => return self.keep(answer, build_id).await.map(Said::File),
                StatusCode::NOT_FOUND => return Ok(Said::NotHere),
                status if status.is_redirection() => {
                    let place = answer.headers().get(header::LOCATION);
                    let place = place.context("a redirection to nowhere")?.to_str()?;
                    url = place.parse().context("a redirection to no URL")?;
                }
                status => bail!("{status}"),
            }
        }
        bail!("more than {MAX_REDIRECTS} redirections")
    }

    async fn keep(&self, answer: Response<Incoming>, build_id: &str) -> anyhow::Result<File> {
        let too_large = || anyhow!("the file has more than {} bytes", self.limits.file);
        let mut body = answer.into_body();
        if body.size_hint().lower() > self.limits.file {
            return Err(too_large());
        }
        let mut file = Incomplete::new(&self.cache, build_id)?;
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.context("the answer broke off")?.into_data() else {
                continue;
            };
            length += bytes.len() as u64;
            if length > self.limits.file {
                return Err(too_large());
            }
            file.write(&bytes)?;
        }
        file.complete()
    }
}

impl DebugFiles for Debuginfod {
    fn debug_file(&self, build_id: &[u8]) -> Result<Option<File>, Box<dyn Error + Send + Sync>> {
        let build_id: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some(file) = self.cache.open(&build_id) {
            return Ok(Some(file));
        }
        let fetch = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let fetched = tokio::time::timeout(self.limits.time, self.fetch(&build_id)).await;
                fetched.map_err(|_| anyhow!("no answer within {:?}", self.limits.time))?
            })
        };
        // The caller's thread may drive a runtime of its own.
        let fetched = thread::scope(|scope| scope.spawn(fetch).join());
        let fetched = fetched.unwrap_or_else(|_| Err(anyhow!("the request ended in a panic")));
        // Errors are shown by their outermost message alone.
        fetched.map_err(|error| format!("{error:#}").into())
    }
}

/// The head of an answer.
async fn get(url: &Uri) -> anyhow::Result<Response<Incoming>> {
    let host = url.host().context("a URL without a host")?;
    let stream = connect::connect(url, host).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(
            header::HOST,
            url.authority().map_or(host, |authority| authority.as_str()),
        )
        .header(
            header::USER_AGENT,
            concat!("fathom/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?)
}

#[cfg(test)]
mod tests;
