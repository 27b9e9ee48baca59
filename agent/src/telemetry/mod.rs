//! What the node did, as metrics and spans: the data model that both exporters read, and what fills it.

pub mod metric;
pub mod span;
