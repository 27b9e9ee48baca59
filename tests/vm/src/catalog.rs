//! Which scenarios there are, for whoever runs them or shows what they came to.

use anyhow::{Context as _, Result};

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in one line.
    pub shows: &'static str,
    /// How it depends on the tap.
    pub taps: Taps,
    /// Where it is run.
    pub place: Place,
}

/// How a scenario depends on the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taps {
    /// It is run with each tap of the kernel.
    Each,
    /// It is run once, with the tap that the agent takes by itself.
    Auto,
}

/// Where a scenario is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Natively and on every kernel of the matrix.
    Everywhere,
    /// Natively only.
    Native,
}

/// All taps, the dearest last.
pub const TAPS: [&str; 4] = ["fentry", "raw-tracepoint", "kprobe", "syscall"];

/// The tap named `name`.
///
/// # Errors
///
/// Where there is none, with the names that there are.
pub fn known_tap(name: &str) -> Result<&'static str> {
    TAPS.into_iter()
        .find(|tap| *tap == name)
        .with_context(|| format!("no tap {name}; there are {}", TAPS.join(", ")))
}

/// Every scenario, in the order in which they are run.
pub const ALL: [Entry; 23] = [
    Entry {
        name: "http-exact",
        shows: "requests in the RED metrics equal nginx's access log, and every record is accounted for",
        taps: Taps::Each,
        place: Place::Everywhere,
    },
    Entry {
        name: "flows",
        shows: "connections of every kind, 10,000 short ones and 1,000 long ones: each seen once on each end, with its bytes and how it began and ended",
        taps: Taps::Each,
        place: Place::Everywhere,
    },
    Entry {
        name: "flows-asked",
        shows: "connections that end while they are asked where they stand: each begins once and ends once, and nothing follows its end",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
    Entry {
        name: "flows-overflow",
        shows: "connections that end while the agent stands still and their ring is full: none stays open, and each end that was lost is counted as that",
        taps: Taps::Auto,
        place: Place::Native,
    },
    Entry {
        name: "flows-resting",
        shows: "connections on which nothing moves are forgotten by the kernel programs and not by the agent: active, with each byte and request, until they end",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
    Entry {
        name: "existing",
        shows: "connections from before are active until they end, also those at rest, and their bytes count from then on",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
    Entry {
        name: "flows-peers",
        shows: "tcplife and tcpconnlat beside fathom on the same connections: what differs is explained",
        taps: Taps::Auto,
        place: Place::Native,
    },
    Entry {
        name: "profile-shares",
        shows: "a profile's shares are those of the program, and perf agrees",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
    Entry {
        name: "profile-truth",
        shows: "call chains and shares of programs in C, C++, Rust, Go and Python are those of their sources, from the root to the leaf",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
    Entry {
        name: "profile-system",
        shows: "98 of 100 stacks of a machine at work (compilers, nginx, Python, PostgreSQL) are whole, and what the others are",
        taps: Taps::Auto,
        place: Place::Native,
    },
    Entry {
        name: "profile-joined",
        shows: "a sample names the request that its thread served: the one whose route runs the function that it is in",
        taps: Taps::Auto,
        place: Place::Native,
    },
    Entry {
        name: "sigkill",
        shows: "an agent killed under load leaves nothing behind, and the application never notices",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
    Entry {
        name: "memory",
        shows: "the agent and its maps stay below the limit under load",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
    Entry {
        name: "otlp",
        shows: "spans, metrics and profiles of nginx under load arrive in a receiver that shares no code with fathom",
        taps: Taps::Auto,
        place: Place::Native,
    },
    Entry {
        name: "parents",
        shows: "no client span has a wrong parent, and those of a server with a thread for each request have theirs",
        taps: Taps::Auto,
        place: Place::Native,
    },
    Entry {
        name: "seen",
        shows: "which servers and clients are seen over which protocols, against what each says of itself",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
    Entry {
        name: "torture",
        shows: "HTTP/1.1 in every way that is allowed, and some that are not: no exchange that never happened, none lost uncounted",
        taps: Taps::Each,
        place: Place::Native,
    },
    Entry {
        name: "torture-http2",
        shows: "the same for HTTP/2 in frames made by hand, and 10,000 streams on one connection",
        taps: Taps::Each,
        place: Place::Native,
    },
    Entry {
        name: "overflow",
        shows: "a ring that overflows while its reader stands still: what was lost is counted, nothing is made up, and all is seen again afterwards",
        taps: Taps::Auto,
        place: Place::Native,
    },
    Entry {
        name: "late-join",
        shows: "connections that were open before the agent, in the midst of whatever: exact from their next message on, and no wrong exchange",
        taps: Taps::Each,
        place: Place::Native,
    },
    Entry {
        name: "dns",
        shows: "each lookup of a name is counted once, with its response code and its duration, as the server noted them",
        taps: Taps::Each,
        place: Place::Everywhere,
    },
    Entry {
        name: "udp",
        shows: "datagrams and their bytes by process and direction, exactly, on all kinds of sockets; QUIC by its first packet",
        taps: Taps::Each,
        place: Place::Everywhere,
    },
    Entry {
        name: "bad-input",
        shows: "what can't work is said in a clear line and an exit code",
        taps: Taps::Auto,
        place: Place::Everywhere,
    },
];

impl Entry {
    /// The taps that it is run with; none is the one that the agent takes by itself.
    pub fn taps(&self) -> Vec<Option<&'static str>> {
        match self.taps {
            Taps::Each => TAPS.map(Some).to_vec(),
            Taps::Auto => vec![None],
        }
    }
}
