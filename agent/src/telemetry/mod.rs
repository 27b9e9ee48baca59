//! What the node did, as metrics and spans: the data model that both exporters read, and what fills it.

pub mod clock;
pub mod cpu;
pub mod dns;
pub mod events;
pub mod existing;
pub mod failure;
pub mod flow_logs;
pub mod goroutines;
pub mod ids;
pub mod links;
pub mod listen;
pub mod metric;
pub mod names;
pub mod parents;
pub mod red;
pub mod route;
pub mod rpc;
pub mod span;
pub mod spans;
pub mod stack_samples;
pub mod tcp;
#[cfg(test)]
pub(crate) mod testing;
pub mod udp;

pub use clock::Clock;
pub use cpu::Cpu;
pub use dns::Dns;
pub use events::Events;
pub use existing::ExistingConnections;
pub use flow_logs::FlowLogs;
pub use goroutines::Goroutines;
pub use ids::Ids;
pub use links::Links;
pub use listen::Listen;
pub use parents::Parents;
pub use red::Red;
pub use spans::Spans;
pub use stack_samples::StackSamples;
pub use tcp::Tcp;
pub use udp::Udp;
