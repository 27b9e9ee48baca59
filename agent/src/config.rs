//! The configuration: one YAML file, overridden by `OTEL_*` variables, overridden by flags.
//!
//! The file's keys stand in `deploy/config.yaml`, each with its default. Whatever is wrong is one line that names the file,
//! the line and the key (or the variable, or the flag) and says what would be right.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

use crate::{export::otlp::settings, probes::net::Tap};

/// The least that the agent can work with.
const MIN_MEMORY: u64 = 16 << 20;

/// Everything that `fathom agent` can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to watch.
    pub capabilities: Capabilities,
    /// How sockets are watched; `None` takes the best tap that loads.
    pub tap: Option<Tap>,
    /// Where /metrics, /healthz and /readyz are served.
    pub listen: SocketAddr,
    /// Bytes for the heap and the BPF maps together.
    pub memory_limit: u64,
    /// CPU samples a second on each CPU.
    pub profile_frequency: u32,
    /// How often profiles are sent.
    pub profile_interval: Duration,
    /// Where telemetry goes.
    pub otlp: settings::Settings,
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// TCP flows and HTTP exchanges.
    pub net: bool,
    /// CPU stacks.
    pub profile: bool,
    /// GPUs.
    pub gpu: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self {
        net: true,
        profile: true,
        gpu: true,
    };

    fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut found = Self {
            net: false,
            profile: false,
            gpu: false,
        };
        for name in names {
            match name.trim() {
                "net" => found.net = true,
                "profile" => found.profile = true,
                "gpu" => found.gpu = true,
                other => {
                    return Err(format!(
                        "no capability {other:?}; accepted is a list of net, profile and gpu"
                    ));
                }
            }
        }
        if !(found.net || found.profile || found.gpu) {
            return Err("nothing to watch; accepted is a list of net, profile and gpu".to_owned());
        }
        Ok(found)
    }
}

/// What the command line says; a flag stands above a variable, which stands above the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--tap`
    pub tap: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--otlp-endpoint`
    pub otlp_endpoint: Option<String>,
    /// `--memory-limit`
    pub memory_limit: Option<String>,
    /// `--capabilities`
    pub capabilities: Option<Vec<String>>,
}

/// What is wrong, where, and what would be right: one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {wrong}")]
pub struct ConfigError {
    /// `FILE:LINE: KEY`, a variable or a flag.
    place: String,
    wrong: String,
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(deserialize_with = "capabilities")]
    capabilities: Option<Capabilities>,
    #[serde(deserialize_with = "tap")]
    tap: Option<Option<Tap>>,
    #[serde(deserialize_with = "address")]
    listen: Option<SocketAddr>,
    #[serde(deserialize_with = "memory")]
    memory_limit: Option<u64>,
    otlp: OtlpFile,
    profile: ProfileFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OtlpFile {
    endpoint: Option<String>,
    headers: BTreeMap<String, String>,
    #[serde(deserialize_with = "duration")]
    interval: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    timeout: Option<Duration>,
    #[serde(deserialize_with = "compression")]
    compression: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProfileFile {
    #[serde(deserialize_with = "frequency")]
    frequency: Option<u32>,
    #[serde(deserialize_with = "duration")]
    interval: Option<Duration>,
}

impl Config {
    /// Puts the file, the environment and the flags together.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(
        path: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
        flags: &Overrides,
    ) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let given = settings::Given {
            endpoint_flag: flags.otlp_endpoint.clone(),
            endpoint: file.otlp.endpoint,
            headers: file.otlp.headers.into_iter().collect(),
            interval: file.otlp.interval,
            timeout: file.otlp.timeout,
            gzip: file.otlp.compression,
        };
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let otlp =
            settings::Settings::resolve(&given, env, &hostname).map_err(|bad| ConfigError {
                place: bad.name,
                wrong: format!("{}; accepted is {}", bad.wrong, bad.accepted),
            })?;
        let names = flags.capabilities.as_ref();
        let capabilities = flag("--capabilities", names, |names| {
            Capabilities::parse(names.iter().map(String::as_str))
        })?;
        Ok(Self {
            capabilities: capabilities
                .or(file.capabilities)
                .unwrap_or(Capabilities::ALL),
            tap: flag("--tap", flags.tap.as_ref(), |text| parse_tap(text))?
                .or(file.tap)
                .flatten(),
            listen: flag("--listen", flags.listen.as_ref(), |text| {
                parse_address(text)
            })?
            .or(file.listen)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9464))),
            memory_limit: flag("--memory-limit", flags.memory_limit.as_ref(), |text| {
                parse_memory(text)
            })?
            .or(file.memory_limit)
            .unwrap_or(64 << 20),
            profile_frequency: file.profile.frequency.unwrap_or(100),
            profile_interval: file.profile.interval.unwrap_or(Duration::from_secs(10)),
            otlp,
        })
    }
}

fn flag<T, U>(
    name: &str,
    value: Option<&T>,
    parse: impl FnOnce(&T) -> Result<U, String>,
) -> Result<Option<U>, ConfigError> {
    value.map(parse).transpose().map_err(|wrong| ConfigError {
        place: name.to_owned(),
        wrong,
    })
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError {
        place: path.display().to_string(),
        wrong: format!("can't be read: {error}"),
    })?;
    // A file of comments alone says nothing, which is allowed.
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(File::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(1, |location| location.line());
        let key = text
            .lines()
            .nth(
                usize::try_from(line)
                    .unwrap_or(usize::MAX)
                    .saturating_sub(1),
            )
            .and_then(|line| line.split_once(':'))
            .map_or_else(String::new, |(key, _)| format!("{}: ", key.trim()));
        let said = error.to_string();
        let said = said.lines().next().unwrap_or("not YAML");
        // The location leads the line already.
        let said = match said.rfind(" at line ") {
            Some(at) => &said[..at],
            None => said,
        };
        ConfigError {
            place: format!("{}:{line}", path.display()),
            wrong: format!("{key}{said}"),
        }
    })
}

fn parse_tap(text: &str) -> Result<Option<Tap>, String> {
    if text == "auto" {
        return Ok(None);
    }
    Tap::from_str(text).map(Some).map_err(|_| {
        format!("no tap {text:?}; accepted is auto, fentry, raw-tracepoint, kprobe or syscall")
    })
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is no address; accepted is ADDRESS:PORT, such as 127.0.0.1:9464 or [::]:9464"
        )
    })
}

fn parse_memory(text: &str) -> Result<u64, String> {
    let accepted = "accepted is a number with KiB, MiB or GiB, at least 16MiB";
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match text[digits.len()..].trim() {
        "" => 1,
        "KiB" | "Ki" => 1 << 10,
        "MiB" | "Mi" => 1 << 20,
        "GiB" | "Gi" => 1 << 30,
        _ => return Err(format!("{text:?} is no size; {accepted}")),
    };
    let bytes = digits
        .trim()
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes >= MIN_MEMORY => Ok(bytes),
        Some(_) => Err(format!("{text:?} is too little; {accepted}")),
        None => Err(format!("{text:?} is no size; {accepted}")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is no duration; accepted is a number with ms, s or m, such as 10s");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
    let duration = match text[digits.len()..].trim() {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    if duration.is_zero() {
        return Err(wrong());
    }
    Ok(duration)
}

fn with<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map(Some).map_err(de::Error::custom)
}

fn tap<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Tap>>, D::Error> {
    with(from, parse_tap)
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    with(from, parse_address)
}

fn memory<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    with(from, parse_memory)
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    with(from, parse_duration)
}

fn compression<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    with(from, |text| match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        other => Err(format!(
            "no compression {other:?}; accepted is gzip or none"
        )),
    })
}

fn frequency<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(from)? {
        hertz @ 1..=1000 => Ok(Some(hertz)),
        other => Err(de::Error::custom(format!(
            "{other} samples a second; accepted is 1 to 1000, the default is 100"
        ))),
    }
}

fn capabilities<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Capabilities>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    Capabilities::parse(names.iter().map(String::as_str))
        .map(Some)
        .map_err(de::Error::custom)
}

#[cfg(test)]
mod tests;
