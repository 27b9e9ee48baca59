//! Connections and flows: the records of the `FLOWS` ring, and what all records have in common.

pub mod conntrack;
pub mod existing;
pub mod filter;
pub mod flows;
mod netlink;
pub mod open;
pub mod reports;
pub mod sockets;
pub mod wire;

pub use conntrack::Conntrack;
pub use existing::Existing;
pub use filter::Filter;
pub use flows::{Flow, Flows, Outcome};
pub use open::Open;
pub use reports::Reports;
