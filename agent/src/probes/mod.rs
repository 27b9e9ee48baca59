//! The kernel side from user space: load, attach, features, offsets, budget.

pub mod btf;
pub mod finder;
pub mod mappings;
mod maps;
mod misses;
pub mod namespace;
pub mod net;
pub mod offsets;
pub mod privileges;
pub mod profile;
pub mod report;
pub mod ring;
pub mod sizes;
pub mod tls;
pub mod trace_contexts;
mod uprobes;

use aya::{EbpfError, maps::MapError, programs::ProgramError};
pub use misses::Misses;
pub use report::{ProgramReport, TapReport};

/// The kernel objects, as built by `cargo xtask build-ebpf`. aya wants them aligned.
pub mod objects {
    /// TCP flows and messages.
    pub static NET: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/net"));
    /// CPU stacks.
    pub static PROFILE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profile"));
}

/// Why a capability's kernel side does not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's type information is missing or unreadable.
    #[error(transparent)]
    Btf(#[from] btf::Error),
    /// The object could not be loaded at all.
    #[error("loading the {object} object: {error}{}", hint(.error))]
    Load {
        /// Which object.
        object: &'static str,
        /// What aya said.
        error: Box<EbpfError>,
    },
    /// One program was refused.
    #[error("{program}: {}", report::program_error(.error))]
    Program {
        /// Which program.
        program: &'static str,
        /// What aya said.
        error: Box<ProgramError>,
    },
    /// A map is not as it should be.
    #[error("map {map}: {error}")]
    Map {
        /// Which map.
        map: &'static str,
        /// What aya said.
        error: Box<MapError>,
    },
    /// The object lacks something that this binary expects in it.
    #[error(
        "the {object} object has no {part}: it was built from other sources than this binary; run `cargo xtask build`"
    )]
    Foreign {
        /// Which object.
        object: &'static str,
        /// What is missing.
        part: &'static str,
    },
    /// The thread that reads the ring buffers could not be started.
    #[error("starting the thread that reads the ring buffers: {0}")]
    Thread(std::io::Error),
    /// The kernel does not tell what processes map.
    #[error(transparent)]
    Mappings(#[from] mappings::Error),
    /// No tap loads on this kernel.
    #[error("no tap works on this kernel: {}", join(.0))]
    NoTap(Vec<TapReport>),
    /// The named tap does not work.
    #[error("the tap {} does not work on this kernel: {}; `fathom doctor` lists those that do", .0.tap, .0.reason())]
    Tap(TapReport),
}

/// A number that the kernel says of a descriptor (`/proc/PID/fdinfo`).
fn fdinfo(fd: i32, name: &str) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let line = info.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn join(taps: &[TapReport]) -> String {
    taps.iter()
        .map(|tap| format!("{}: {}", tap.tap, tap.reason()))
        .collect::<Vec<_>>()
        .join("; ")
}

fn hint(error: &EbpfError) -> &'static str {
    if error.to_string().contains("Operation not permitted")
        || format!("{error:?}").contains("code: 1,")
    {
        "; it needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN"
    } else {
        ""
    }
}
