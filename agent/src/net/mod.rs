//! Connections and flows: the records of the `FLOWS` ring, and what all records have in common.

pub mod flows;
pub mod wire;

pub use flows::{Flow, Flows};
