//! The last stop: what the node did, in the formats of backends.

pub mod flamegraph;
pub mod folded;
pub mod http;
pub mod openmetrics;
pub mod otlp;
pub mod pprof;
