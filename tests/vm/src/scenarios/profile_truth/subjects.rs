//! The programs, with the chains that their sources show and the shares that their counts of work are.

use std::{path::Path, process::Command};

use crate::{chains, path::find};

/// A program and what its stacks must be.
pub struct Subject {
    /// What its threads are called, in the order of `chains`' programs.
    pub comm: &'static str,
    /// How it is started.
    program: Program,
    /// Its chains; each stack must be one of them. None where it is there only to start others.
    pub chains: &'static [&'static str],
    /// Functions that share its time, with their units of work. A unit is the same in all of a subject's.
    pub shares: &'static [(&'static str, f64)],
}

/// How a subject is started.
enum Program {
    /// A program of tests/programs/chains, with these arguments.
    Own(&'static str, &'static [&'static str]),
    /// The one that loads a library, which it is told the path of.
    Loader,
    /// The system's Python, which runs a loop.
    Python,
    /// None of its own: a thread of the one before.
    Thread,
}

/// Subjects that are run at the same time. Shares take many samples, and what is born again and again takes what there is of the CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Those whose shares are known.
    Shares,
    /// Those whose chains are.
    Chains,
    /// The one that starts short lives.
    Short,
}

impl Turn {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::Shares, Self::Chains, Self::Short];
}

/// C's root, up to `main`.
macro_rules! main {
    ($rest:literal) => {
        concat!("_start;...;main;", $rest)
    };
}

/// The twenty calls of mode `deep`.
macro_rules! deep {
    ($root:literal, $leaf:literal) => {
        concat!(
            $root,
            ";...;main;level_01;level_02;level_03;level_04;level_05;level_06;level_07;level_08;level_09;level_10;",
            "level_11;level_12;level_13;level_14;level_15;level_16;level_17;level_18;level_19;level_20;",
            $leaf
        )
    };
}

/// Rust's root, up to `main`.
macro_rules! rust {
    ($rest:literal) => {
        concat!("_start;...;main;...;chains::main;", $rest)
    };
}

/// Go's root, up to `main`.
macro_rules! go {
    ($rest:literal) => {
        concat!("runtime.goexit;runtime.main;main.main;", $rest)
    };
}

const DEEP: &[&str] = &[
    deep!("_start", "half"),
    deep!("_start", "three_tenths"),
    deep!("_start", "two_tenths"),
];

/// musl has no unwind tables, as its own build leaves them out: what is above `main` is one of its functions, and nobody can go on from there.
const DEEP_MUSL: &[&str] = &[
    deep!("_start|libc_start_main_stage2", "half"),
    deep!("_start|libc_start_main_stage2", "three_tenths"),
    deep!("_start|libc_start_main_stage2", "two_tenths"),
];
const TENTHS: &[(&str, f64)] = &[("half", 50.0), ("three_tenths", 30.0), ("two_tenths", 20.0)];

/// A C library that has no symbols says only which it is.
const FIRST_OF_THREAD: &str =
    "clone3|__clone3|__GI___clone3|clone|__clone|[libc.so.6];...;body;in_thread";

const fn own(
    comm: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    chains: &'static [&'static str],
    shares: &'static [(&'static str, f64)],
) -> Subject {
    Subject {
        comm,
        program: Program::Own(program, arguments),
        chains,
        shares,
    }
}

/// All that run for as long as they are sampled.
pub const SUBJECTS: [Subject; 22] = [
    own("chain-deep", "chains", &["deep"], DEEP, TENTHS),
    own("chain-fp", "chains-fp", &["deep", "fp"], DEEP, &[]),
    own(
        "chain-static",
        "chains-static",
        &["deep", "static"],
        DEEP,
        &[],
    ),
    own(
        "chain-musl",
        "chains-musl",
        &["deep", "musl"],
        DEEP_MUSL,
        &[],
    ),
    own(
        "chain-recursion",
        "chains",
        &["recursion"],
        &[main!("dive{100};bottom")],
        &[],
    ),
    own("chain-calls", "chains", &["calls"], &[main!("tree+")], &[]),
    own(
        "chain-signal",
        "chains",
        &["signal"],
        &[
            main!("provoke;...;on_signal;in_handler"),
            main!("provoke;..."),
        ],
        &[],
    ),
    own(
        "chain-alarm",
        "chains",
        &["alarm"],
        &[
            main!("interrupted;...;on_signal;in_handler"),
            main!("interrupted"),
        ],
        &[],
    ),
    own(
        "chain-sort",
        "chains",
        &["sort"],
        &[main!("sort;...;compare")],
        &[],
    ),
    own(
        "chain-syscall",
        "chains",
        &["syscall"],
        &[main!("reader;read|__read|__GI___libc_read|__libc_read")],
        &[],
    ),
    own(
        "chain-thread",
        "chains",
        &["thread"],
        &[FIRST_OF_THREAD],
        &[],
    ),
    own(
        "chain-plt",
        "chain-loads",
        &["plt"],
        &[
            main!("hammer"),
            main!("hammer;little|little@plt"),
            main!("hammer;less|less@plt"),
        ],
        &[],
    ),
    Subject {
        comm: "chain-dlopen",
        program: Program::Loader,
        chains: &[
            main!("come_and_go;visit;visited"),
            // Its stub, and the linker that binds it at its first call.
            main!("come_and_go;visit;visited@plt"),
            main!("come_and_go;..."),
        ],
        shares: &[],
    },
    own(
        "chain-digest",
        "chain-loads",
        &["digest"],
        &[main!("digest;SHA256;...")],
        &[],
    ),
    own(
        "chain-cipher",
        "chain-loads",
        &["cipher"],
        &[main!("cipher;EVP_EncryptUpdate;...")],
        &[],
    ),
    own(
        "chain-cpp",
        "chain-cpp",
        &[],
        &[
            main!("shapes::for_all;shapes::Square::draw"),
            main!("shapes::for_all;shapes::Circle::draw"),
            // Half of it is the landing pad, which the compiler puts away from the rest.
            main!("shapes::catcher"),
            main!("shapes::catcher;..."),
        ],
        &[
            ("shapes::Square::draw", 30.0),
            ("shapes::Circle::draw", 15.0),
        ],
    ),
    own(
        "chain-rust",
        "chain-rust",
        &[],
        &[
            rust!("<chains::Square as chains::Shape>::draw"),
            rust!("<chains::Circle as chains::Shape>::draw"),
            rust!("chains::sorted;...;chains::ordered"),
        ],
        &[
            ("<chains::Square as chains::Shape>::draw", 30.0),
            ("<chains::Circle as chains::Shape>::draw", 10.0),
        ],
    ),
    own(
        "chain-abort",
        "chain-abort",
        &[],
        &[
            rust!("<chains::Square as chains::Shape>::draw"),
            rust!("<chains::Circle as chains::Shape>::draw"),
            rust!("chains::sorted;...;chains::ordered"),
        ],
        &[],
    ),
    Subject {
        comm: "chain-rust-t",
        program: Program::Thread,
        chains: &[
            "clone3|__clone3|__GI___clone3|clone|__clone|[libc.so.6];...;chains::main::{{closure}};chains::in_thread",
        ],
        shares: &[],
    },
    own(
        "chain-go",
        "chain-go",
        &[],
        &[
            go!("main.(*square).draw"),
            go!("main.(*circle).draw"),
            go!("main.dive{30}"),
            "runtime.goexit;main.main.func1;main.inGoroutine",
            // Go's own thread, which looks after the others; the signal by which it takes the CPU from a goroutine, and
            // the call that the signal leaves behind there (runtime/preempt.go); and what that goroutine goes over to.
            "runtime.clone|runtime.mstart;...;runtime.sysmon;...",
            go!(
                "main.(*square).draw;runtime.sigtramp|runtime.cgoSigtramp|runtime.asyncPreempt;..."
            ),
            go!(
                "main.(*circle).draw;runtime.sigtramp|runtime.cgoSigtramp|runtime.asyncPreempt;..."
            ),
            go!("main.dive{30};runtime.sigtramp|runtime.cgoSigtramp|runtime.asyncPreempt;..."),
            "runtime.goexit;main.main.func1;main.inGoroutine;runtime.sigtramp|runtime.cgoSigtramp|runtime.asyncPreempt;...",
            "runtime.mcall;...",
        ],
        &[
            ("main.(*square).draw", 30.0),
            ("main.(*circle).draw", 10.0),
            ("main.dive", 10.0),
        ],
    ),
    Subject {
        comm: "chain-python",
        program: Program::Python,
        chains: &["_start;...;Py_RunMain;...;_PyEval_EvalFrameDefault;..."],
        shares: &[],
    },
    // What it starts has a check of its own.
    own(BRIEF, "chains", &["brief"], &[], &[]),
];

/// What starts [`SHORT`] again and again.
const BRIEF: &str = "chain-brief";

/// What lives too short to be seen in /proc by whoever reads its samples.
pub const SHORT: Subject = Subject {
    comm: "chain-once",
    program: Program::Thread,
    chains: &[
        main!("short_life"),
        // The dynamic linker's own beginning, before there is a `main`.
        "_start|[ld-linux-x86-64.so.2];...",
        // The end of each program. GCC builds these functions without unwind tables (libgcc's Makefile.in, `CRTSTUFF_CFLAGS`): from there nobody can go on.
        "__do_global_dtors_aux;...",
        "deregister_tm_clones",
    ],
    shares: &[],
};

/// A loop in Python's own bytecode.
const LOOP: &str = "
open('/proc/self/comm', 'w').write('chain-python')
def work():
    total = 0
    for at in range(1000):
        total += at * at
    return total
while True:
    work()
";

/// The interpreter that the distribution has built: its functions are those of CPython, whatever else is first in PATH.
const PYTHON: &str = "/usr/bin/python3";

impl Subject {
    /// When it is run.
    pub fn turn(&self) -> Turn {
        if self.comm == BRIEF {
            Turn::Short
        } else if self.shares.is_empty() && !matches!(self.program, Program::Thread) {
            Turn::Chains
        } else {
            Turn::Shares
        }
    }

    /// The command that starts it, or why there is none here; nothing for a thread of another.
    pub fn command(&self, programs: &Path) -> Result<Option<Command>, String> {
        let own = |program: &str| {
            chains::path(programs, program).ok_or_else(|| format!("{program} was not compiled"))
        };
        Ok(Some(match self.program {
            Program::Own(program, arguments) => {
                let mut command = Command::new(own(program)?);
                command.args(arguments);
                command
            }
            Program::Loader => {
                let mut command = Command::new(own("chain-loads")?);
                command.arg("dlopen").arg(own("libchains.so")?);
                command
            }
            Program::Python => {
                if find("python3").is_none() || !Path::new(PYTHON).is_file() {
                    return Err(format!("no {PYTHON}"));
                }
                let mut command = Command::new(PYTHON);
                command.args(["-c", LOOP]);
                command
            }
            Program::Thread => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::chain::Chain, SHORT, SUBJECTS};

    #[test]
    fn every_chain_can_be_read_and_every_name_fits_into_a_threads() {
        for subject in SUBJECTS.iter().chain([&SHORT]) {
            assert!(subject.comm.len() < 16, "{}", subject.comm);
            for chain in subject.chains {
                Chain::parse(chain).unwrap_or_else(|error| panic!("{chain}: {error:#}"));
            }
        }
    }

    #[test]
    fn no_two_are_called_the_same() {
        let names: std::collections::BTreeSet<_> =
            SUBJECTS.iter().map(|subject| subject.comm).collect();
        assert_eq!(names.len(), SUBJECTS.len());
    }
}
