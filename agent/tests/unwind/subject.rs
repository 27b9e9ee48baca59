//! The program whose stacks are known.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use tempfile::TempDir;

use crate::running::Running;

/// Where it is built, once.
static PROGRAM: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    build(&folder.path().join(NAME));
    folder
});

const NAME: &str = "stacks";

/// The program with a stack of one shape; ends with this.
pub struct Subject(Running);

impl Subject {
    /// Runs it until its stack is as deep as it will be.
    pub fn start(shape: &str) -> Self {
        let (running, line) = Running::start(Command::new(Self::program()).arg(shape));
        assert_eq!(line, "ready");
        let subject = Self(running);
        // Before what else this machine does, or it would be sampled too rarely; who may not say so is skipped.
        let _ = rustix::process::setpriority_process(Some(subject.process()), -10);
        subject
    }

    fn process(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.0.0)
    }

    pub fn pid(&self) -> u32 {
        self.0.0.id()
    }

    /// Stops it until it ends.
    pub fn pause(&self) {
        rustix::process::kill_process(self.process(), rustix::process::Signal::STOP)
            .expect("it runs");
    }

    /// Its file: the one that `FATHOM_STACKS` names, where there is no compiler, or one that is built.
    pub fn program() -> PathBuf {
        env::var_os("FATHOM_STACKS").map_or_else(|| PROGRAM.path().join(NAME), PathBuf::from)
    }
}

fn build(program: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs/stacks.c");
    let built = Command::new("cc")
        .args([
            "-O2",
            "-fomit-frame-pointer",
            "-fno-optimize-sibling-calls",
            "-pthread",
            "-Wall",
            "-Werror",
            // Stubs that look their function up when they are first called.
            "-Wl,-z,lazy",
            "-o",
        ])
        .arg(program)
        .arg(source)
        .status()
        .expect("cc is installed by `cargo xtask setup`");
    assert!(built.success());
}
