//! The parts of a filter as users write them.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::State;
use crate::net::flows::Outcome;

/// Text that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}; accepted is {accepted}")]
pub struct Bad {
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub accepted: &'static str,
}

fn bad<T>(wrong: String, accepted: &'static str) -> Result<T, Bad> {
    Err(Bad { wrong, accepted })
}

/// A process's number.
///
/// # Errors
/// Where it is none.
pub fn pid(text: &str) -> Result<u32, Bad> {
    match text.trim().parse() {
        Ok(pid @ 1..) => Ok(pid),
        _ => bad(
            format!("{text:?} is no process number"),
            "a number such as 4711, or a list with commas",
        ),
    }
}

/// A service's or a process's name.
///
/// # Errors
/// Where it is empty.
pub fn process(text: &str) -> Result<String, Bad> {
    match text.trim() {
        "" => bad(
            "a name is empty".to_owned(),
            "the service's name or the process's, such as nginx, or a list with commas",
        ),
        name => Ok(name.to_owned()),
    }
}

/// A port.
///
/// # Errors
/// Where it is none.
pub fn port(text: &str) -> Result<u16, Bad> {
    match text.trim().parse() {
        Ok(port @ 1..) => Ok(port),
        _ => bad(
            format!("{text:?} is no port"),
            "a number from 1 to 65535, or a list with commas",
        ),
    }
}

/// An address, or a network in the notation of RFC 4632, section 3.1. An IPv4 address that is written as one of IPv6 is taken for what it is.
///
/// # Errors
/// Where it is neither.
pub fn address(text: &str) -> Result<IpNet, Bad> {
    let trimmed = text.trim();
    let network = match trimmed.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address.to_canonical())),
        Err(_) => trimmed.parse::<IpNet>().ok(),
    };
    match network {
        Some(network) => Ok(network.trunc()),
        None => bad(
            format!("{text:?} is no address"),
            "an address or a network without a port, such as 10.0.0.7, 10.0.0.0/8 or fd00::/8, or a list with commas",
        ),
    }
}

/// A state.
///
/// # Errors
/// Where there is none of that name.
pub fn state(text: &str) -> Result<State, Bad> {
    let name = text.trim();
    let state = match name {
        "open" => Some(State::Open),
        "closed" => Some(State::Closed),
        "failed" => Some(State::Failed),
        "lost" => Some(State::Lost),
        _ => Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.name() == name)
            .map(State::Ended),
    };
    match state {
        Some(state) => Ok(state),
        None => bad(
            format!("there is no state {text:?}"),
            "open, closed, failed, lost, reset, aborted, timed_out, killed, destroyed, refused, unreachable or abandoned, or a list with commas",
        ),
    }
}

/// A time: a number with a unit, or of seconds.
///
/// # Errors
/// Where it is none, or 0, or longer than a day.
pub fn time(text: &str) -> Result<Duration, Bad> {
    const LONGEST: f64 = 24.0 * 60.0 * 60.0;
    let trimmed = text.trim();
    let end = trimmed
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let factor = match unit.trim() {
        "us" | "µs" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" | "" => Some(1.0),
        "m" | "min" => Some(60.0),
        _ => None,
    };
    let seconds = factor.zip(number.parse::<f64>().ok()).map(|(a, b)| a * b);
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(time) if !time.is_zero() && time.as_secs_f64() <= LONGEST => Ok(time),
        _ => bad(
            format!("{text:?} is no such time"),
            "a time greater than 0, such as 500us, 20ms, 2s or 1m",
        ),
    }
}
