//! Single values, as files and flags write them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use fathom_abi::message::MAX_CAPTURE;

use super::Capabilities;
use crate::{l7::http1, net::filter::parse, probes::net::Tap, telemetry::flow_logs::Share};

/// A value that can't be used.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) wrong: String,
    pub(super) accepted: &'static str,
}

impl From<parse::Bad> for Bad {
    fn from(bad: parse::Bad) -> Self {
        Self {
            wrong: bad.wrong,
            accepted: bad.accepted,
        }
    }
}

/// What `http.routes` takes.
pub(super) const ROUTES: &str = "a list of at most 256 paths with placeholders, such as /users/{name}, /files/{id}.json and /static/*";

fn bad<T>(wrong: String, accepted: &'static str) -> Result<T, Bad> {
    Err(Bad { wrong, accepted })
}

pub(super) fn capabilities<'a>(list: impl Iterator<Item = &'a str>) -> Result<Capabilities, Bad> {
    const ACCEPTED: &str = "a list of net, tls, profile and gpu";
    let mut chosen = Capabilities {
        net: false,
        tls: false,
        profile: false,
        gpu: false,
    };
    let mut empty = true;
    for name in list {
        empty = false;
        match name.trim() {
            "net" => chosen.net = true,
            "tls" => chosen.tls = true,
            "profile" => chosen.profile = true,
            "gpu" => chosen.gpu = true,
            _ => return bad(format!("there is no capability {name:?}"), ACCEPTED),
        }
    }
    if empty {
        return bad("nothing would be watched".to_owned(), ACCEPTED);
    }
    if chosen.tls && !chosen.net {
        return bad(
            "tls is there without net, which it is a part of".to_owned(),
            ACCEPTED,
        );
    }
    Ok(chosen)
}

/// `None` is `auto`.
pub(super) fn tap(text: &str) -> Result<Option<Tap>, Bad> {
    const ACCEPTED: &str = "auto, raw-tracepoint, fentry, kprobe or syscall";
    if text == "auto" {
        return Ok(None);
    }
    match text.parse() {
        Ok(tap) => Ok(Some(tap)),
        Err(_) => bad(format!("there is no tap {text:?}"), ACCEPTED),
    }
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, Bad> {
    const ACCEPTED: &str = "ADDRESS:PORT, such as 127.0.0.1:9464, 0.0.0.0:9464 or [::1]:9464";
    let numeric = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    match numeric.as_deref().unwrap_or(text).parse() {
        Ok(address) => Ok(address),
        Err(_) => bad(format!("{text:?} is no address with a port"), ACCEPTED),
    }
}

pub(super) fn memory_limit(text: &str) -> Result<u64, Bad> {
    const ACCEPTED: &str = "a size from 16MiB to 1TiB, such as 64MiB";
    const SMALLEST: u64 = 16 << 20;
    const LARGEST: u64 = 1 << 40;
    match size(text) {
        Some(bytes @ SMALLEST..=LARGEST) => Ok(bytes),
        Some(0..SMALLEST) => bad(format!("{text:?} is too little to work with"), ACCEPTED),
        Some(_) => bad(format!("{text:?} is too much"), ACCEPTED),
        None => bad(format!("{text:?} is no size"), ACCEPTED),
    }
}

/// Bytes of a head that are read: at least what one record carries, at most what decoders put together.
pub(super) fn head_limit(text: &str) -> Result<u32, Bad> {
    const ACCEPTED: &str = "a size from 1KiB to 32KiB, such as 8KiB";
    const SMALLEST: u64 = MAX_CAPTURE as u64;
    const LARGEST: u64 = http1::MAX_HEAD as u64;
    match size(text) {
        Some(bytes @ SMALLEST..=LARGEST) => Ok(bytes as u32),
        Some(_) => bad(format!("{text:?} is out of range"), ACCEPTED),
        None => bad(format!("{text:?} is no size"), ACCEPTED),
    }
}

/// A size in bytes, or in KiB, MiB, GiB or TiB (also without the B, as Kubernetes writes them).
fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

pub(super) fn duration(text: &str) -> Result<Duration, Bad> {
    const ACCEPTED: &str = "a time from 1ms to 24h, such as 500ms, 10s or 1m";
    const LONGEST: u64 = 24 * 60 * 60 * 1000;
    let milliseconds = split(text).and_then(|(number, unit)| {
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(factor)
    });
    match milliseconds {
        Some(milliseconds @ 1..=LONGEST) => Ok(Duration::from_millis(milliseconds)),
        _ => bad(format!("{text:?} is no such time"), ACCEPTED),
    }
}

/// How often open connections are read: more often than each second their records would crowd out others.
pub(super) fn flow_interval(text: &str) -> Result<Duration, Bad> {
    const ACCEPTED: &str = "a time from 1s to 24h, such as 10s or 1m";
    match duration(text) {
        Ok(interval) if interval >= Duration::from_secs(1) => Ok(interval),
        Ok(_) => bad(format!("{text:?} is too short"), ACCEPTED),
        Err(error) => bad(error.wrong, ACCEPTED),
    }
}

pub(super) fn share(text: &str) -> Result<Share, Bad> {
    match text.parse().ok().and_then(Share::new) {
        Some(share) => Ok(share),
        None => bad(
            format!("{text:?} is no share"),
            "a number from 0 to 1, such as 0.01",
        ),
    }
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, Bad> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => bad(format!("{text:?} is neither"), "true or false"),
    }
}

pub(super) fn trace_contexts(text: &str) -> Result<Option<PathBuf>, Bad> {
    match text {
        "none" => Ok(None),
        path if path.starts_with('/') => Ok(Some(path.into())),
        _ => bad(
            format!("{text:?} is neither"),
            "none, or where a BPF file system is mounted, such as /sys/fs/bpf",
        ),
    }
}

pub(super) fn frequency(text: &str) -> Result<u32, Bad> {
    match text.parse() {
        Ok(frequency @ 1..=1000) => Ok(frequency),
        _ => bad(
            format!("{text:?} is no such number"),
            "samples a second, from 1 to 1000; 100 is usual, 99 and 97 avoid lockstep",
        ),
    }
}

pub(super) fn gzip(text: &str) -> Result<bool, Bad> {
    match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => bad(format!("there is no compression {text:?}"), "gzip or none"),
    }
}

/// A whole number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}
