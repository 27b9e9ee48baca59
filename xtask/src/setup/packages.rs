//! What the distribution's packages provide.

use anyhow::{Result, bail, ensure};

use super::Purpose;
use crate::{
    apt::{self, PrivateSources, Release},
    shell,
    toolchain::Toolchain,
};

/// Where a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The release's own suites.
    Release,
    /// Its backports.
    Backports,
}

/// A package, what it is for, and how a system without apt shows that it has the same.
struct Package {
    name: &'static str,
    why: &'static str,
    purpose: Purpose,
    origin: Origin,
    /// A program of it, where one can be looked for.
    program: Option<&'static str>,
    /// The oldest major version that does.
    at_least: Option<u32>,
}

impl Package {
    const fn build(name: &'static str, why: &'static str) -> Self {
        Self {
            name,
            why,
            purpose: Purpose::Build,
            origin: Origin::Release,
            program: None,
            at_least: None,
        }
    }

    const fn test(name: &'static str, program: &'static str, why: &'static str) -> Self {
        Self {
            purpose: Purpose::Test,
            program: Some(program),
            ..Self::build(name, why)
        }
    }

    /// Whether what is installed here does.
    fn is_installed(&self) -> bool {
        apt::installed(self.name).is_some_and(|version| {
            self.at_least
                .is_none_or(|least| major(&version) >= Some(least))
        })
    }
}

/// Debian's Rust with a ready-made `core` for the kernel: under a name of its own in 12, in 13 the ordinary one of
/// backports.
fn rust(release: u32) -> [Package; 4] {
    let compiler = "compiles the kernel programs";
    let builder = "the cargo that belongs to it";
    let linter = "clippy of that very compiler, for the kernel programs";
    let core = "its `core` for the kernel's target";
    match release {
        ..=12 => [
            Package::build("rustc-web", compiler),
            Package::build("cargo-web", builder),
            Package::build("libstd-rust-web-dev-bpf", core),
            Package {
                purpose: Purpose::Test,
                ..Package::build("rust-web-clippy", linter)
            },
        ],
        13.. => [
            Package::build("rustc", compiler),
            Package::build("cargo", builder),
            Package::build("libstd-rust-dev-bpf", core),
            Package {
                purpose: Purpose::Test,
                ..Package::build("rust-clippy", linter)
            },
        ]
        .map(|package| Package {
            origin: Origin::Backports,
            at_least: Some(1),
            ..package
        }),
    }
}

/// Everything else.
fn common() -> [Package; 30] {
    [
        Package::build("llvm-22-dev", "bpf-linker is built over it"),
        Package::build("libpolly-22-dev", "LLVM's own build asks for it"),
        Package::build("zlib1g-dev", "LLVM's own build asks for it"),
        Package::build("libzstd-dev", "LLVM's own build asks for it"),
        Package {
            program: Some("cc"),
            ..Package::build("gcc", "links, and compiles the tests' C programs")
        },
        Package::test(
            "g++",
            "g++",
            "compiles the C++ that symbolizers are compared on",
        ),
        Package::test(
            "musl-tools",
            "musl-gcc",
            "a static program over another C library, for the profiler",
        ),
        Package {
            program: None,
            ..Package::test("postgresql", "", "a database at work, for the profiler")
        },
        Package::test(
            "nginx-light",
            "nginx",
            "the server under load whose log is compared with what fathom counts",
        ),
        Package::test("wrk", "wrk", "the load"),
        Package::test(
            "openssl",
            "openssl",
            "makes the certificates of servers under test",
        ),
        Package::test("curl", "curl", "a client over OpenSSL"),
        Package::test("wget", "wget", "a client over GnuTLS"),
        Package {
            program: None,
            ..Package::test("python3-pycurl", "", "curl's library over GnuTLS")
        },
        Package::test("nghttp2-client", "h2load", "load over HTTP/2"),
        Package::test("golang-go", "go", "a server and a client with Go's own TLS"),
        Package::test(
            "nodejs",
            "node",
            "a server and a client with Node's OpenSSL",
        ),
        Package::test(
            "bpftool",
            "bpftool",
            "shows that no program and no map is left behind",
        ),
        Package::test("bpftrace", "bpftrace", "the yardstick of `bench overhead`"),
        Package::test(
            "libbpf-tools",
            "tcplife",
            "tcplife and tcpconnlat, beside which flows are compared",
        ),
        Package::test("busybox-static", "busybox", "the guests' user space"),
        Package::test("linux-perf", "perf", "the second opinion on profiles"),
        Package::test("iproute2", "ss", "the second opinion on flows"),
        Package::test(
            "nftables",
            "nft",
            "a service's address that is translated, for conntrack",
        ),
        Package::test(
            "dwz",
            "dwz",
            "debug information that several files have in common, for the symbolizer",
        ),
        Package::test("cpio", "cpio", "packs the guests' initial file system"),
        Package::test("xz-utils", "xz", "unpacks kernel modules"),
        Package::test("zstd", "zstd", "unpacks kernel modules"),
        Package::test(
            "python3-venv",
            "python3",
            "an OTLP receiver written by others",
        ),
        Package {
            origin: Origin::Backports,
            at_least: Some(10),
            ..Package::test(
                "qemu-system-x86",
                "qemu-system-x86_64",
                "boots the kernels; before 10, guests crash at random",
            )
        },
    ]
}

/// The packages for `purpose`.
fn needed(release: u32, purpose: Purpose) -> impl Iterator<Item = Package> {
    rust(release)
        .into_iter()
        .chain(common())
        .filter(move |package| purpose == Purpose::Test || package.purpose == Purpose::Build)
}

/// Installs the packages that are missing, saying each first.
pub fn install(release: &Release, purpose: Purpose) -> Result<()> {
    let missing: Vec<Package> = needed(release.number, purpose)
        .filter(|package| !package.is_installed())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("setup: missing, and now installed with apt:");
    for package in &missing {
        println!("  {:<24} {}", package.name, package.why);
    }
    let of = |origin| -> Vec<&str> {
        missing
            .iter()
            .filter(|package| package.origin == origin)
            .map(|package| package.name)
            .collect()
    };
    let (ordinary, backports) = (of(Origin::Release), of(Origin::Backports));
    if !ordinary.is_empty() {
        shell::run(apt::get().arg("update"))?;
        shell::run(apt::get().arg("install").args(&ordinary))?;
    }
    for (package, service) in SERVERS {
        if ordinary.contains(&package) {
            stop(service)?;
        }
    }
    if !backports.is_empty() {
        let suites =
            ["", "-updates", "-backports"].map(|suffix| format!("{}{suffix}", release.codename));
        let sources = PrivateSources::create(&shell::cache()?.join("apt"), release, &suites)?;
        shell::run(sources.apply(&mut apt::get()).arg("update"))?;
        let suite = format!("{}-backports", release.codename);
        shell::run(
            sources
                .apply(&mut apt::get())
                .args(["install", "--target-release", &suite])
                .args(&backports),
        )?;
    }
    for package in &missing {
        ensure!(
            package.is_installed(),
            "apt installed no {} that does",
            package.name
        );
    }
    Ok(())
}

/// Packages that start a service, and what it is called.
const SERVERS: [(&str, &str); 2] = [("nginx-light", "nginx"), ("postgresql", "postgresql")];

/// Debian starts a server as soon as it is installed. The tests start their own, so the one that came with the
/// package just now is stopped and stays off.
fn stop(service: &str) -> Result<()> {
    if std::path::Path::new("/run/systemd/system").is_dir() {
        let unit = format!("{service}.service");
        shell::run(shell::as_root("systemctl").args(["disable", "--now", &unit]))
    } else {
        shell::run(shell::as_root("service").args([service, "stop"]))
    }
}

/// For systems without apt: says what is missing and how it is had; fails when `purpose` can't be served.
pub fn explain(purpose: Purpose) -> Result<()> {
    let mut missing: Vec<String> = needed(12, purpose)
        .filter_map(|package| Some((package.program?, package.why)))
        .filter(|(program, _)| shell::find(program).is_none())
        .map(|(program, why)| format!("  {program:<24} {why}"))
        .collect();
    if Toolchain::find().is_err() {
        missing.push(
            "  Rust for the kernel      rustup toolchain install nightly --component rust-src\n\
             \x20                          (core is then built with -Z build-std=core)"
                .to_owned(),
        );
    }
    if crate::toolchain::linker().is_err() {
        missing.push(
            "  bpf-linker               cargo install bpf-linker@0.13.0, over an LLVM at least as new as rustc's\n\
             \x20                          (`rustc --version --verbose` says which)"
                .to_owned(),
        );
    }
    if !missing.is_empty() {
        bail!(
            "this system has no Debian apt, so set-up installs nothing. Missing:\n{}",
            missing.join("\n")
        );
    }
    Ok(())
}

/// The major number of a Debian version: `1:10.0.2+ds-2` is 10.
fn major(version: &str) -> Option<u32> {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    upstream
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{Purpose, major, needed};

    #[test]
    fn an_epoch_is_no_major_version() {
        assert_eq!(major("1:10.0.2+ds-2+deb13u1~bpo12+1"), Some(10));
        assert_eq!(major("7.1.0+6.1.192-2"), Some(7));
        assert_eq!(major("unknown"), None);
    }

    #[test]
    fn building_needs_neither_qemu_nor_a_server() {
        let names: Vec<_> = needed(12, Purpose::Build)
            .map(|package| package.name)
            .collect();
        assert!(names.contains(&"libstd-rust-web-dev-bpf"));
        assert!(!names.contains(&"qemu-system-x86") && !names.contains(&"nginx-light"));
    }
}
