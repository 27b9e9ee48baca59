//! The last stop: what the node did, in the formats of backends.

pub mod calltree;
pub mod firefox;
pub mod flamegraph;
pub mod folded;
pub mod frames;
pub mod http;
pub mod openmetrics;
pub mod otlp;
pub mod pprof;

#[cfg(test)]
pub(crate) mod testing;
