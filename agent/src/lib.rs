//! fathom, an eBPF node agent. See ARCHITECTURE.md for the way of the data; each module here is a stop on it,
//! and imports run with the data: `probes` → `net`, `l7`, `profile`, `gpu` (+ `identity`) → `telemetry` → `export` → `cli`.

pub mod cli;
pub mod config;
pub mod export;
pub mod gpu;
pub mod identity;
pub mod l7;
pub mod net;
pub mod probes;
pub mod profile;
pub mod telemetry;
