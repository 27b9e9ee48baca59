//! Where each signal goes and how, from the file, the standard `OTEL_*` variables and the flags.
//!
//! The rules are those of the OpenTelemetry specification's "OTLP Exporter Configuration" and "Environment Variable
//! Specification", for the transport gRPC.

use std::{path::PathBuf, time::Duration};

use tonic::transport::Uri;

/// A signal that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Metrics.
    Metrics,
    /// Spans.
    Traces,
    /// CPU profiles.
    Profiles,
    /// Records of flows.
    Logs,
}

impl Signal {
    /// As it stands in variables: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
    fn variable(self) -> &'static str {
        match self {
            Self::Metrics => "METRICS",
            Self::Traces => "TRACES",
            Self::Profiles => "PROFILES",
            Self::Logs => "LOGS",
        }
    }
}

/// What the configuration file and the flags say. [`Settings::resolve`] puts the variables between the two.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--otlp-endpoint`: for every signal, above everything else.
    pub endpoint_flag: Option<String>,
    /// `otlp.endpoint` of the file.
    pub endpoint: Option<String>,
    /// `otlp.headers` of the file.
    pub headers: Vec<(String, String)>,
    /// `otlp.interval` of the file: how often metrics are sent.
    pub interval: Option<Duration>,
    /// `otlp.timeout` of the file: how long one request may take.
    pub timeout: Option<Duration>,
    /// `otlp.compression` of the file: gzip or none.
    pub gzip: Option<bool>,
}

/// Everything that the exporter needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where metrics go; `None`: they are not exported.
    pub metrics: Option<Target>,
    /// Where spans go.
    pub traces: Option<Target>,
    /// Where profiles go.
    pub profiles: Option<Target>,
    /// Where records of flows go, should there be rules for them.
    pub logs: Option<Target>,
    /// How often metrics are sent.
    pub interval: Duration,
    /// How long spans wait for company.
    pub span_delay: Duration,
    /// How many spans may wait.
    pub span_queue: usize,
    /// How many spans go into one request.
    pub span_batch: usize,
    /// The same for records of flows.
    pub log_delay: Duration,
    /// How many records may wait.
    pub log_queue: usize,
    /// How many go into one request.
    pub log_batch: usize,
    /// Attributes of every resource: `OTEL_RESOURCE_ATTRIBUTES`, and the host's name.
    pub resource: Vec<(String, String)>,
    /// `service.name` of fathom's own metrics.
    pub service_name: String,
}

/// Where and how one signal goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// `http://host:port` or `https://host:port`.
    pub endpoint: Uri,
    /// Sent with each request. Their values are secrets.
    pub headers: Vec<(String, String)>,
    /// How long one request may take.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// Certificates to trust in place of the system's.
    pub certificate: Option<PathBuf>,
    /// The client's own certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for Target {
    /// Without the headers' values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Target")
            .field("endpoint", &self.endpoint)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

/// A value that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {wrong}; accepted is {accepted}")]
pub struct BadSetting {
    /// The variable, the flag, or the file's key.
    pub name: String,
    /// What is wrong with its value. Never shows a header's value.
    pub wrong: String,
    /// What would be right.
    pub accepted: String,
}

impl Settings {
    /// Puts together what the file, the environment and the flags say.
    ///
    /// # Errors
    /// The first value that can't be used, with the name of where it stands.
    pub fn resolve(
        given: &Given,
        env: impl Fn(&str) -> Option<String>,
        hostname: &str,
    ) -> Result<Self, BadSetting> {
        let env = Environment(&env);
        let disabled = env.is_true("OTEL_SDK_DISABLED")?;
        let target = |signal| {
            if disabled || !env.exporter_wanted(signal)? {
                return Ok(None);
            }
            target(given, &env, signal)
        };
        let (resource, service_name) = resource(&env, hostname)?;
        Ok(Self {
            metrics: target(Signal::Metrics)?,
            traces: target(Signal::Traces)?,
            profiles: target(Signal::Profiles)?,
            logs: target(Signal::Logs)?,
            interval: env
                .milliseconds("OTEL_METRIC_EXPORT_INTERVAL")?
                .or(given.interval)
                .unwrap_or(Duration::from_secs(60)),
            span_delay: env
                .milliseconds("OTEL_BSP_SCHEDULE_DELAY")?
                .unwrap_or(Duration::from_secs(5)),
            span_queue: env.count("OTEL_BSP_MAX_QUEUE_SIZE")?.unwrap_or(8192),
            span_batch: env.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")?.unwrap_or(512),
            log_delay: env
                .milliseconds("OTEL_BLRP_SCHEDULE_DELAY")?
                .unwrap_or(Duration::from_secs(1)),
            log_queue: env.count("OTEL_BLRP_MAX_QUEUE_SIZE")?.unwrap_or(4096),
            log_batch: env.count("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE")?.unwrap_or(512),
            resource,
            service_name,
        })
    }

    /// Whether nothing is to be exported at all.
    #[must_use]
    pub fn is_off(&self) -> bool {
        [&self.metrics, &self.traces, &self.profiles, &self.logs]
            .iter()
            .all(|target| target.is_none())
    }
}

fn target(
    given: &Given,
    env: &Environment<'_>,
    signal: Signal,
) -> Result<Option<Target>, BadSetting> {
    let insecure = match env.of_signal(signal, "INSECURE") {
        Some((name, value)) => boolean(&name, &value)?,
        None => false,
    };
    let endpoint = if let Some(flag) = &given.endpoint_flag {
        endpoint("--otlp-endpoint", flag, insecure)?
    } else if let Some((name, value)) = env.of_signal(signal, "ENDPOINT") {
        endpoint(&name, &value, insecure)?
    } else if let Some(value) = &given.endpoint {
        endpoint("otlp.endpoint", value, insecure)?
    } else {
        return Ok(None);
    };
    if let Some((name, value)) = env.of_signal(signal, "PROTOCOL")
        && value != "grpc"
    {
        return Err(bad(
            &name,
            format!("{value:?} is not supported"),
            "grpc (port 4317 of most collectors)",
        ));
    }
    let (source, headers) = match env.of_signal(signal, "HEADERS") {
        Some((name, value)) => {
            let headers = pairs(&name, &value)?;
            (name, headers)
        }
        None => ("otlp.headers".to_owned(), given.headers.clone()),
    };
    for (header, value) in &headers {
        check_header(&source, header, value)?;
    }
    let gzip = match env.of_signal(signal, "COMPRESSION") {
        Some((_, value)) if value == "gzip" => true,
        Some((_, value)) if value == "none" => false,
        Some((name, value)) => {
            return Err(bad(&name, format!("{value:?} is unknown"), "gzip or none"));
        }
        None => given.gzip.unwrap_or(false),
    };
    let timeout = match env.of_signal(signal, "TIMEOUT") {
        Some((name, value)) => Some(milliseconds(&name, &value)?),
        None => given.timeout,
    };
    let path = |what| env.of_signal(signal, what).map(|(_, path)| path.into());
    let client = match (path("CLIENT_CERTIFICATE"), path("CLIENT_KEY")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err(bad(
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY",
                "only one of them is set".into(),
                "both or neither",
            ));
        }
    };
    Ok(Some(Target {
        endpoint,
        headers,
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
        gzip,
        certificate: path("CERTIFICATE"),
        client,
    }))
}

/// An endpoint as the specification has it for gRPC: a URL, or `host:port`, which is secure unless told otherwise.
fn endpoint(name: &str, value: &str, insecure: bool) -> Result<Uri, BadSetting> {
    const ACCEPTED: &str = "http://HOST:PORT or https://HOST:PORT";
    let url = if value.contains("://") {
        value.to_owned()
    } else {
        format!("{}://{value}", if insecure { "http" } else { "https" })
    };
    let uri: Uri = url
        .parse()
        .map_err(|error| bad(name, format!("{value:?} is no URL ({error})"), ACCEPTED))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if !matches!(scheme, "http" | "https") {
        return Err(bad(
            name,
            format!("{value:?} has the scheme {scheme:?}"),
            ACCEPTED,
        ));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(bad(
            name,
            "it holds a user name".into(),
            "an address; credentials go into OTEL_EXPORTER_OTLP_HEADERS",
        ));
    }
    if uri.host().unwrap_or_default().is_empty() {
        return Err(bad(name, format!("{value:?} names no host"), ACCEPTED));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(bad(
            name,
            format!("{value:?} has a path, which OTLP over gRPC has not"),
            "the collector's gRPC address, such as http://HOST:4317",
        ));
    }
    Ok(uri)
}

fn check_header(source: &str, name: &str, value: &str) -> Result<(), BadSetting> {
    let key = tonic::metadata::MetadataKey::<tonic::metadata::Ascii>::from_bytes(
        name.to_ascii_lowercase().as_bytes(),
    );
    if key.is_err() {
        return Err(bad(
            source,
            format!("{name:?} is no header name"),
            "letters, digits, '-', '_' and '.', not ending in \"-bin\"",
        ));
    }
    if tonic::metadata::MetadataValue::<tonic::metadata::Ascii>::try_from(value).is_err() {
        return Err(bad(
            source,
            format!("the value of {name} has characters that a header can't hold"),
            "visible ASCII",
        ));
    }
    Ok(())
}

/// Attributes for every resource, and fathom's own `service.name`.
fn resource(
    env: &Environment<'_>,
    hostname: &str,
) -> Result<(Vec<(String, String)>, String), BadSetting> {
    const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut resource = match env.get(VARIABLE) {
        Some(text) => pairs(VARIABLE, &text)?,
        None => Vec::new(),
    };
    let mut service_name = env.get("OTEL_SERVICE_NAME");
    // What describes fathom itself must not be said of the services that it watches.
    resource.retain(|(key, value)| {
        if key == "service.name" && service_name.is_none() {
            service_name = Some(value.clone());
        }
        !key.starts_with("service.")
    });
    if !hostname.is_empty() && !resource.iter().any(|(key, _)| key == "host.name") {
        resource.push(("host.name".into(), hostname.into()));
    }
    Ok((resource, service_name.unwrap_or_else(|| "fathom".into())))
}

/// `key=value,key=value` with percent-encoded values (W3C Baggage without properties).
fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, BadSetting> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .enumerate()
        .map(|(index, part)| {
            let pair = part.split_once('=').and_then(|(key, value)| {
                let key = key.trim();
                (!key.is_empty()).then_some((key.to_owned(), percent_decode(value.trim())?))
            });
            // The part itself may be a secret.
            pair.ok_or_else(|| {
                bad(
                    name,
                    format!("part {} is no key=value", index + 1),
                    "key=value,key=value with percent-encoded values",
                )
            })
        })
        .collect()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            // from_str_radix would take a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The environment; a variable that is set to nothing counts as not set, as the specification wants it.
struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    /// The signal's own variable, else the one for all of them, with the name that was found.
    fn of_signal(&self, signal: Signal, what: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.variable());
        let all = format!("OTEL_EXPORTER_OTLP_{what}");
        [own, all]
            .into_iter()
            .find_map(|name| Some((self.get(&name)?, name)))
            .map(|(value, name)| (name, value))
    }

    /// `OTEL_TRACES_EXPORTER` and its like: `otlp`, `none`, or a list of which this agent takes what it has.
    fn exporter_wanted(&self, signal: Signal) -> Result<bool, BadSetting> {
        let name = format!("OTEL_{}_EXPORTER", signal.variable());
        let Some(value) = self.get(&name) else {
            return Ok(true);
        };
        let mut wanted = false;
        for exporter in value.split(',').map(str::trim) {
            match exporter {
                "otlp" => wanted = true,
                // Always there.
                "prometheus" if signal == Signal::Metrics => {}
                "none" => {}
                other => {
                    return Err(bad(
                        &name,
                        format!("{other:?} is not supported"),
                        "otlp or none",
                    ));
                }
            }
        }
        Ok(wanted)
    }

    fn is_true(&self, name: &str) -> Result<bool, BadSetting> {
        self.get(name)
            .map_or(Ok(false), |value| boolean(name, &value))
    }

    fn milliseconds(&self, name: &str) -> Result<Option<Duration>, BadSetting> {
        self.get(name)
            .map(|value| milliseconds(name, &value))
            .transpose()
    }

    fn count(&self, name: &str) -> Result<Option<usize>, BadSetting> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(count @ 1..=1_000_000) => Ok(Some(count)),
            _ => Err(bad(
                name,
                format!("{value:?} is no such number"),
                "a number from 1 to 1000000",
            )),
        }
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, BadSetting> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(bad(name, format!("{value:?} is neither"), "true or false")),
    }
}

fn milliseconds(name: &str, value: &str) -> Result<Duration, BadSetting> {
    match value.parse() {
        Ok(number @ 1..=86_400_000) => Ok(Duration::from_millis(number)),
        _ => Err(bad(
            name,
            format!("{value:?} is no such number"),
            "milliseconds, from 1 to 86400000",
        )),
    }
}

fn bad(name: &str, wrong: String, accepted: &str) -> BadSetting {
    BadSetting {
        name: name.to_owned(),
        wrong,
        accepted: accepted.to_owned(),
    }
}

#[cfg(test)]
mod tests;
