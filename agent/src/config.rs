//! The configuration: one YAML file, overridden by `OTEL_*` variables, overridden by flags.

mod document;
mod file;
mod flows;
mod value;

use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::file::File;
use crate::{
    export::otlp::settings::{BadSetting, Settings},
    probes::net::{NetOptions, Tap},
    telemetry::{flow_logs::Rule, route::Patterns},
};

/// Everything that the agent can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is watched.
    pub capabilities: Capabilities,
    /// How sockets are watched; `None` takes the best that loads.
    pub tap: Option<Tap>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub listen: SocketAddr,
    /// What heap and BPF maps may take together, in bytes.
    pub memory_limit: u64,
    /// Bytes of an HTTP/1 head that are read.
    pub head_limit: u32,
    /// The user's routes, which go before those that are guessed from paths.
    pub routes: Arc<Patterns>,
    /// CPU samples a second, on each CPU.
    pub profile_frequency: u32,
    /// How often profiles are sent.
    pub profile_interval: Duration,
    /// The BPF file system in which other profilers find the span that a thread is at work for.
    pub trace_contexts: Option<PathBuf>,
    /// How often open connections are asked where they stand.
    pub flow_interval: Duration,
    /// Which flows have records over OTLP; none without rules.
    pub flow_logs: Arc<[Rule]>,
    /// What goes over OTLP and where.
    pub otlp: Settings,
}

/// What is watched. What is off costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// TCP flows and HTTP exchanges.
    pub net: bool,
    /// Of these, what goes through TLS, too. Only together with `net`.
    pub tls: bool,
    /// CPU stacks.
    pub profile: bool,
    /// GPUs.
    pub gpu: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self {
        net: true,
        tls: true,
        profile: true,
        gpu: true,
    };
}

/// What the flags say; `None` where a flag is not given.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--capabilities`
    pub capabilities: Option<Vec<String>>,
    /// `--tap`
    pub tap: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--memory-limit`
    pub memory_limit: Option<String>,
    /// `--otlp-endpoint`
    pub otlp_endpoint: Option<String>,
}

/// A configuration that can't be used: one line that says where, what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file and its line, counted from 1; line 0 is the file as a whole. `None` for a flag or a variable.
    pub place: Option<(PathBuf, u64)>,
    /// The key (`otlp.interval`), the flag (`--tap`) or the variable; may be empty for a file as a whole.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right; may be empty.
    pub accepted: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.place {
            write!(f, "{}:", file.display())?;
            if *line > 0 {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.wrong)?;
        if !self.accepted.is_empty() {
            write!(f, "; accepted is {}", self.accepted)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// An error of a flag or a variable.
    fn of(key: &str, bad: value::Bad) -> Self {
        Self {
            place: None,
            key: key.to_owned(),
            wrong: bad.wrong,
            accepted: bad.accepted.to_owned(),
        }
    }
}

impl Config {
    /// Puts together the file (if any), the environment and the flags.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(
        path: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
        flags: &Overrides,
    ) -> Result<Self, ConfigError> {
        let mut file = match path {
            Some(path) => read(path)?,
            None => File::default(),
        };
        if let Some(list) = &flags.capabilities {
            let list = value::capabilities(list.iter().map(String::as_str));
            file.capabilities = Some(list.map_err(|bad| ConfigError::of("--capabilities", bad))?);
        }
        if let Some(text) = &flags.tap {
            let tap = value::tap(text).map_err(|bad| ConfigError::of("--tap", bad))?;
            file.tap = Some(tap);
        }
        if let Some(text) = &flags.listen {
            let listen = value::listen(text).map_err(|bad| ConfigError::of("--listen", bad))?;
            file.listen = Some(listen);
        }
        if let Some(text) = &flags.memory_limit {
            let limit =
                value::memory_limit(text).map_err(|bad| ConfigError::of("--memory-limit", bad))?;
            file.memory_limit = Some(limit);
        }
        file.otlp.endpoint_flag.clone_from(&flags.otlp_endpoint);
        let mut otlp = Settings::resolve(&file.otlp, env, &hostname())
            .map_err(|bad| file.locate(bad, path))?;
        if file.flow_logs.is_empty() {
            // Addresses leave this node only where somebody asked for it.
            otlp.logs = None;
        }
        Ok(Self {
            capabilities: file.capabilities.unwrap_or(Capabilities::ALL),
            tap: file.tap.flatten(),
            listen: file
                .listen
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9464))),
            memory_limit: file.memory_limit.unwrap_or(64 << 20),
            head_limit: file.head_limit.unwrap_or(NetOptions::HEAD_LIMIT),
            routes: Arc::new(file.routes),
            profile_frequency: file.profile_frequency.unwrap_or(100),
            profile_interval: file.profile_interval.unwrap_or(Duration::from_secs(10)),
            trace_contexts: file.trace_contexts.flatten(),
            flow_interval: file.flow_interval.unwrap_or(Duration::from_secs(10)),
            flow_logs: file.flow_logs.into(),
            otlp,
        })
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let whole = |wrong: String, accepted: &str| ConfigError {
        place: Some((path.to_owned(), 0)),
        key: String::new(),
        wrong,
        accepted: accepted.to_owned(),
    };
    let bytes = fs::read(path)
        .map_err(|error| whole(format!("can't be read: {error}"), "a readable YAML file"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        ConfigError {
            place: Some((path.to_owned(), line as u64)),
            ..whole("these bytes are no UTF-8".to_owned(), "UTF-8 text")
        }
    })?;
    File::parse(&text, path)
}

impl File {
    /// Gives an error in a value that came from the file its line.
    fn locate(&self, bad: BadSetting, path: Option<&Path>) -> ConfigError {
        let line = self.lines.get(&bad.name);
        ConfigError {
            place: path.and_then(|path| Some((path.to_owned(), *line?))),
            key: bad.name,
            wrong: bad.wrong,
            accepted: bad.accepted,
        }
    }
}

fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests;
