//! Stack samples to symbolized profiles, one for each process.
//!
//! [`Profiler`] takes the records of the ring buffer, keeps equal stacks once ([`stacks`]), notes what a process has
//! mapped when it is first seen ([`objects`]), so that a process that ends early keeps its names, and turns all of it
//! into [`Profile`]s when a window ends ([`symbols`]).

mod counts;
mod model;
mod objects;
mod profiler;
mod record;
mod stacks;
mod symbols;

pub use counts::{Counts, Outcome};
pub use model::{Function, Location, Mapping, Profile, Quality, Stack};
pub use profiler::{Identify, Limits, Profiler};
pub use record::{Malformed, Sample};
