//! What `cargo xtask vm` and the `scenario` program say to each other: a plan goes into a guest, records come out.

#![forbid(unsafe_code)]

pub mod bpf;
pub mod catalog;
pub mod pairs;
pub mod path;
pub mod plan;
pub mod process;
pub mod report;
