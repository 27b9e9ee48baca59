//! `cargo xtask check-objects`: reads every instruction of the kernel objects.
//!
//! Promised, and checked here rather than believed:
//! - no helper is called that writes outward (to user memory, a packet, a return value, another process);
//! - every program is of a kind that observes: it has no verdict to give;
//! - every function that a program calls has func_info in `.BTF.ext`, without which the kernel refuses the program.
//!   Debian's ready-made `core` has none, so an implicit `memcpy` shows up here and not on a user's machine;
//! - a program on a function of user space has a tail call in it, which keeps its variables from programs that preempt it (`layer::nowhere`);
//! - no symbol is left undefined, and no panic can be reached: the kernel has nowhere to panic to.

mod helpers;
mod image;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::{build_ebpf::OBJECTS, shell};
use image::{Call, Image};

/// Sections whose programs observe and cannot decide: their return value means nothing, or only to themselves.
const OBSERVERS: [&str; 14] = [
    "raw_tp",
    "raw_tracepoint",
    "tp_btf",
    "tp",
    "tracepoint",
    "kprobe",
    "kretprobe",
    "uprobe",
    "uprobe.s",
    "uretprobe",
    "fentry",
    "fexit",
    "perf_event",
    // Where the compiler puts functions that programs share; nothing attaches to it.
    ".text",
];

/// Sections whose programs can preempt each other on a CPU.
const PREEMPTIBLE: [&str; 3] = ["uprobe", "uprobe.s", "uretprobe"];

/// `bpf_tail_call`.
const TAIL_CALL: u32 = 12;

/// Checks the built objects and says what was read.
pub fn run() -> Result<()> {
    let mut faults = 0;
    for object in OBJECTS {
        let path = shell::objects().join(object);
        let (report, found) = check_file(&path)?;
        println!("{object}: {report}");
        for fault in &found {
            eprintln!("{object}: {fault}");
        }
        faults += found.len();
    }
    if faults > 0 {
        bail!("{faults} faults in the kernel objects");
    }
    Ok(())
}

/// What was read, as one line, and what is wrong.
fn check_file(path: &Path) -> Result<(String, Vec<String>)> {
    let bytes = fs::read(path).with_context(|| {
        format!(
            "cannot read {}: build it with `cargo xtask build-ebpf`",
            path.display()
        )
    })?;
    let image = Image::parse(&bytes).with_context(|| format!("cannot parse {}", path.display()))?;
    let faults = check(&image);
    let used: BTreeSet<&str> = image
        .calls()
        .filter_map(|(_, call)| match call {
            Call::Helper(id) => helpers::name(id),
            _ => None,
        })
        .collect();
    let report = format!(
        "{} instructions in {} programs; helpers: {}",
        image.instruction_count(),
        image.programs().count(),
        used.into_iter().collect::<Vec<_>>().join(" "),
    );
    Ok((report, faults))
}

/// Every fault of `image`.
fn check(image: &Image) -> Vec<String> {
    let mut faults = Vec::new();
    for section in image.sections() {
        let kind = kind(section);
        if !OBSERVERS.contains(&kind) {
            faults.push(format!(
                "section {section}: programs of kind {kind} can do more than observe"
            ));
        }
    }
    for program in image.programs() {
        if PREEMPTIBLE.contains(&kind(&program.section))
            && !image.helpers_of(program).contains(&TAIL_CALL)
        {
            faults.push(format!(
                "{program}: {} has no tail call: another program that preempts it could write over its variables",
                image.function(program).unwrap_or_default()
            ));
        }
    }
    if image.programs().next().is_none() {
        faults.push("the object holds no program".to_owned());
    }
    for symbol in image.undefined() {
        faults.push(format!("symbol {symbol} is undefined"));
    }
    for (place, call) in image.calls() {
        match call {
            Call::Helper(id) if !helpers::is_read_only(id) => faults.push(format!(
                "{place}: helper {id} ({}) is not on the list of those that only observe",
                helpers::name(id)
                    .map_or_else(|| "unknown".to_owned(), |name| format!("bpf_{name}")),
            )),
            Call::KernelFunction(id) => {
                faults.push(format!(
                    "{place}: calls the kernel's function with BTF id {id}"
                ));
            }
            Call::Register => faults.push(format!("{place}: calls through a register")),
            Call::Unknown(source) => {
                faults.push(format!("{place}: a call of unknown kind {source}"));
            }
            Call::Helper(_) | Call::Function(_) => {}
        }
    }
    for (function, place) in image.reachable() {
        match image.function(&function) {
            None => faults.push(format!(
                "{place}: calls {function}, where no function begins"
            )),
            Some(name) if is_panic(name) => {
                faults.push(format!(
                    "{place}: can reach {name}, and the kernel cannot panic for us"
                ));
            }
            Some(name) if !image.has_info(&function) => faults.push(format!(
                "{place}: calls {name}, which has no func_info: the kernel would refuse the program"
            )),
            Some(_) => {}
        }
    }
    faults
}

/// What the programs of a section are.
fn kind(section: &str) -> &str {
    section.split('/').next().unwrap_or(section)
}

/// Whether a symbol is part of Rust's panic machinery, whatever the mangling.
fn is_panic(name: &str) -> bool {
    [
        "panic",
        "unwrap_failed",
        "expect_failed",
        "slice_index_fail",
        "index_len_fail",
    ]
    .iter()
    .any(|part| name.contains(part))
}
