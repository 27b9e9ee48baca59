//! Connections and flows: the records of the `FLOWS` ring, and what all records have in common.

pub mod existing;
pub mod flows;
pub mod names;
pub mod sockets;
pub mod udp;
pub mod wire;

pub use existing::Existing;
pub use flows::{Flow, Flows};
pub use names::Names;
