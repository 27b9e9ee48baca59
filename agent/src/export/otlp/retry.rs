//! When a failed export is tried again, and after how long: the OTLP specification's "OTLP/gRPC Response" and
//! "OTLP/gRPC Throttling".

use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};

/// The first pause.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause that is not the backend's own wish.
const LONGEST: Duration = Duration::from_secs(30);

/// `google.rpc.Status`, as far as it is read here.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Trying again can't help.
    Final,
    /// Try again after a pause of one's own.
    Retry,
    /// Try again, but not before this has passed: the backend said so.
    RetryAfter(Duration),
}

/// Reads the verdict from an answer.
pub(super) fn verdict(status: &Status) -> Verdict {
    let wish = retry_info(status.details());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => wish.map_or(Verdict::Retry, Verdict::RetryAfter),
        // Without RetryInfo it means that this request will never fit.
        Code::ResourceExhausted => wish.map_or(Verdict::Final, Verdict::RetryAfter),
        _ => Verdict::Final,
    }
}

/// The delay of the `RetryInfo` in `grpc-status-details-bin`, if there is one that makes sense.
fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let any = status
        .details
        .iter()
        .find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(any.value.as_slice()).ok()?.retry_delay?;
    let seconds = u64::try_from(delay.seconds).ok()?;
    let nanos = u32::try_from(delay.nanos).ok()?;
    Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos.into()))
}

/// The pauses between attempts: each twice the one before, with half of it left to chance so that the agents of a
/// fleet don't return in step.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    pub(super) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        whole / 2 + (whole / 2).mul_f64(chance())
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    // Without randomness the pauses are merely in step.
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
