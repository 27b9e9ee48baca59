//! `cargo xtask`: everything that this repository does to itself, one file a task.
//!
//! The tasks need nothing but a stable Rust to build; what a task needs beyond that, `cargo xtask setup` provides.

mod apt;
mod bench;
mod build;
mod build_ebpf;
mod dist;
mod elf_files;
mod objects;
mod run;
mod setup;
mod shell;
mod symbolizer;
mod test;
mod toolchain;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, test and measure fathom.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building and testing need: packages with apt, tools into a folder of fathom's own
    Setup,
    /// Build the programs that run in the kernel, into target/bpf
    BuildEbpf,
    /// Read every instruction of the built kernel objects: they only observe, and every kernel's loader accepts their form
    CheckObjects,
    /// Run everything that CI runs, and end with one line of counts
    Test(test::Options),
    /// Build the kernel objects and the release binary
    Build,
    /// Build everything and start `fathom agent` in the foreground
    Run {
        /// What to pass on to `fathom agent`, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Measure what fathom costs
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
    /// Compare what `fathom symbolize` says, with others and on every file
    Symbolizer {
        #[command(subcommand)]
        look: symbolizer::Look,
    },
    /// Put the one file to ship into target/dist
    Dist,
    /// Run the scenarios on every kernel of the matrix, in guests under QEMU
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Setup => setup::run(setup::Purpose::Test),
        Task::BuildEbpf => build_ebpf::run(),
        Task::CheckObjects => objects::run(),
        Task::Test(options) => test::run(&options),
        Task::Build => setup::run(setup::Purpose::Build).and_then(|()| build::run()),
        Task::Run { arguments } => run::run(&arguments),
        Task::Bench { what } => bench::run(&what),
        Task::Symbolizer { look } => symbolizer::run(&look),
        Task::Dist => setup::run(setup::Purpose::Build).and_then(|()| dist::run()),
        Task::Vm(args) => vm::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
