//! Stack samples to symbolized profiles, one for each process.
//!
//! Samples and what happened to processes come in the order of their times ([`Feed`]). [`Profiler`] knows what each process
//! has mapped ([`spaces`]), opens the files that samples lead to ([`files`]), unwinds stacks on from where the kernel's
//! program stopped ([`backtraces`], by [`tables`] that both share), keeps equal stacks once ([`stacks`]), and turns all of
//! it into [`Profile`]s when a window ends ([`Namer`], [`symbols`]).

mod backtraces;
mod builder;
mod counts;
pub mod debuginfod;
mod feed;
mod files;
mod frames;
mod lookups;
mod model;
mod namer;
mod origin;
mod profiler;
mod record;
mod spaces;
mod stack_quality;
mod stacks;
mod symbols;
mod tables;
mod unwinder;

pub use fathom_symbolizer::Gear;

pub use counts::{Counts, Outcome};
pub use feed::{Feed, Item};
pub use frames::Frames;
pub use lookups::LookupCounts;
pub use model::{Function, Known, Line, Location, Mapping, Profile, Quality, Stack};
pub use namer::{Namer, Window};
pub use origin::Origin;
pub use profiler::{Identify, Limits, Profiler, Sampled};
pub use record::{Malformed, Sample, Stopped};
pub use stack_quality::StackQuality;
pub use tables::{Counts as TableCounts, Maps};
