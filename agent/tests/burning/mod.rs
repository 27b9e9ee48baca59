//! `tests/programs/burn.c`, which works for a known time in known functions, and whether it can be sampled here.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Prints why a test does nothing here, and says so.
pub fn skips(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return false;
    }
    eprintln!("SKIPPED {test}: to sample other processes takes root");
    true
}

/// Builds the program under a name of its own.
pub fn build(folder: &Path, name: &str) -> PathBuf {
    let program = folder.join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs/burn.c");
    let built = Command::new("cc")
        .args([
            "-O1",
            "-fno-omit-frame-pointer",
            "-pthread",
            "-Wall",
            "-Werror",
            "-o",
        ])
        .arg(&program)
        .arg(&source)
        .status()
        .expect("cc is installed by `cargo xtask setup`");
    assert!(built.success());
    program
}
