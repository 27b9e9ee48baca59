//! The `fathom` binary: it maps what the command line returns to an exit code, and nothing else.

fn main() -> std::process::ExitCode {
    fathom::cli::main()
}
