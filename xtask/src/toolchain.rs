//! The compiler and the linker of the kernel programs.
//!
//! Two ways lead to a `core` for `bpfel-unknown-none`: Debian packages one ready-made for its own rustc, and a rustup
//! nightly with `rust-src` builds one. Both link with `bpf-linker`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// The target of the kernel programs: little-endian BPF.
pub const TARGET: &str = "bpfel-unknown-none";

/// Variables of the caller's cargo that must not reach the build of the kernel programs: each of them picks a
/// toolchain, flags or a target folder for the host.
const HOST_ONLY: [&str; 11] = [
    "CARGO",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

/// Where a compiler with a `core` for the kernel's target comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// Debian's rustc, with its package of a ready-made `core`.
    Debian,
    /// rustup's nightly with `rust-src`; cargo builds `core` from it.
    Nightly,
}

impl Toolchain {
    /// The toolchain that is there; Debian's is preferred, because it needs no build of `core`.
    pub fn find() -> Result<Self> {
        if debian_core() {
            return Ok(Self::Debian);
        }
        if nightly_source() {
            return Ok(Self::Nightly);
        }
        bail!(
            "no Rust toolchain for {TARGET}: run `cargo xtask setup`, or install one with \
             `rustup toolchain install nightly --component rust-src`"
        )
    }

    /// The command that builds the kernel programs.
    pub fn build(&self) -> Result<Command> {
        let mut command = self.cargo("build", &build_dir(), &[])?;
        command.arg("--quiet");
        Ok(command)
    }

    /// The command that checks them with clippy, warnings being errors; in a folder of its own, for its flags would
    /// have everything built anew.
    pub fn lint(&self) -> Result<Command> {
        let mut command = self.cargo(
            "check",
            &shell::root().join("target/ebpf-lint"),
            &["-Dwarnings"],
        )?;
        command.arg("--quiet");
        match self {
            Self::Debian => command.env("RUSTC_WORKSPACE_WRAPPER", "/usr/bin/clippy-driver"),
            Self::Nightly => command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver"),
        };
        Ok(command)
    }

    /// cargo's `subcommand` for the kernel's target with this toolchain.
    fn cargo(&self, subcommand: &str, folder: &Path, more_flags: &[&str]) -> Result<Command> {
        let mut command = shell::command(host_cargo());
        for name in HOST_ONLY {
            command.env_remove(name);
        }
        match self {
            Self::Debian => {
                // A stable compiler that lets this one crate use an unstable feature: aya-ebpf's inline assembly.
                command.env("RUSTC", "/usr/bin/rustc");
                command.env("RUSTC_BOOTSTRAP", "aya_ebpf,net,profile");
                command.arg(subcommand);
            }
            Self::Nightly => {
                command.env("RUSTUP_TOOLCHAIN", "nightly");
                command.args([subcommand, "-Zbuild-std=core"]);
            }
        }
        let linker = linker()?;
        let linker = format!("-Clinker={}", linker.display());
        let flags = [
            linker.as_str(),
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            "-Cpanic=abort",
        ];
        command.env(
            "CARGO_ENCODED_RUSTFLAGS",
            [&flags, more_flags].concat().join("\u{1f}"),
        );
        command.args([
            "--release",
            "--target",
            TARGET,
            "--package",
            "fathom-ebpf",
            "--target-dir",
        ]);
        command.arg(folder);
        Ok(command)
    }
}

/// cargo's folder for the kernel programs, apart from the host's so that neither invalidates the other.
pub fn build_dir() -> PathBuf {
    shell::root().join("target/ebpf")
}

/// The linker that setup built, or one in `PATH`.
pub fn linker() -> Result<PathBuf> {
    let own = shell::cache()?.join("tools/bin/bpf-linker");
    if own.is_file() {
        return Ok(own);
    }
    shell::find("bpf-linker").context("no bpf-linker: run `cargo xtask setup`")
}

/// rustup's cargo when there is one, because it follows `RUSTUP_TOOLCHAIN`; else the cargo that runs this task.
fn host_cargo() -> PathBuf {
    shell::find("cargo")
        .or_else(|| env::var_os("CARGO").map(PathBuf::from))
        .unwrap_or_else(|| "cargo".into())
}

/// Whether Debian's rustc is there together with its `core` for the kernel.
fn debian_core() -> bool {
    Path::new("/usr/bin/rustc").is_file()
        && Path::new("/usr/lib/rustlib")
            .join(TARGET)
            .join("lib")
            .is_dir()
}

/// Whether rustup has a nightly with the source of `core`.
fn nightly_source() -> bool {
    let sysroot = Command::new("rustc")
        .args(["+nightly", "--print", "sysroot"])
        .output();
    sysroot.is_ok_and(|output| {
        output.status.success()
            && Path::new(String::from_utf8_lossy(&output.stdout).trim())
                .join("lib/rustlib/src/rust/library/core")
                .is_dir()
    })
}
