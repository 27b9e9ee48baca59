//! Connections and flows: the records of the `FLOWS` ring, and what all records have in common.

pub mod before;
pub mod conntrack;
pub mod ends;
pub mod existing;
pub mod filter;
pub mod flows;
pub mod gone;
pub mod names;
mod netlink;
pub mod open;
pub mod reports;
pub mod sockets;
pub mod udp;
pub mod wire;

pub use before::Before;
pub use conntrack::Conntrack;
pub use ends::Ends;
pub use existing::Existing;
pub use filter::Filter;
pub use flows::{Flow, Flows, Outcome};
pub use gone::Gone;
pub use names::Names;
pub use open::Open;
pub use reports::{AT_A_TIME, Reports};
