//! The kernels of the matrix: the newest Debian cloud kernel of each line, fetched once.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};

use super::apt::{Apt, Mirror};
use crate::shell;

/// The lines of the matrix, oldest first.
pub const LINES: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.2"];

/// The suites that carry a kernel of the matrix.
const SUITES: [(&str, Mirror); 6] = [
    ("bullseye", Mirror::Main),
    ("bullseye-security", Mirror::Security),
    ("bookworm", Mirror::Main),
    ("bookworm-security", Mirror::Security),
    ("bookworm-backports", Mirror::Main),
    ("trixie-backports", Mirror::Main),
];

/// For how long a resolved release counts as the newest of its line.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its line, such as `6.12`.
    pub line: &'static str,
    /// Its release as `uname -r` says it.
    pub release: String,
    /// Its boot image.
    pub image: PathBuf,
    /// Its modules that the scenarios need, in the order in which they are loaded.
    pub modules: Vec<PathBuf>,
}

/// Modules that a real system loads when they are asked for: TUN devices, and what `ss` and fathom ask for sockets. One that a kernel has built in, or does not
/// have, is left out. Each comes after those that it needs.
const MODULES: [&str; 4] = ["tun", "inet_diag", "tcp_diag", "udp_diag"];

/// The kernels of `lines`, from the cache where it is fresh. `update` asks the mirror in any case.
pub fn fetch(lines: &[&'static str], apt_dir: &Path, update: bool) -> Result<Vec<Kernel>> {
    let cache = shell::cache()?.join("kernels");
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let mut apt = None;
    let mut kernels = Vec::new();
    for &line in lines {
        let known = cached(&cache, line);
        if let Some(kernel) = known.as_ref().filter(|_| !update && is_fresh(&cache, line)) {
            kernels.push(kernel.clone());
            continue;
        }
        if apt.is_none() {
            let new = Apt::new(apt_dir, &SUITES)?;
            new.update()?;
            let names = new.names("^linux-(image|binary)-[0-9.].*-cloud-amd64$")?;
            apt = Some((new, names));
        }
        let (apt, names) = apt.as_ref().context("apt was set up above")?;
        match (resolve(line, names), known) {
            (Some(found), _) => kernels.push(download(apt, line, &found, &cache)?),
            (None, Some(kernel)) => {
                eprintln!(
                    "warning: the mirror shows no {line} kernel; {} from the cache is used",
                    kernel.release
                );
                kernels.push(kernel);
            }
            (None, None) => {
                bail!("the mirror shows no linux-image-{line}.*-cloud-amd64, and none is cached")
            }
        }
    }
    Ok(kernels)
}

/// A release of a line, and the packages that hold its boot image and its modules: one, or one for each.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    release: String,
    packages: Vec<String>,
}

/// The newest release of `line` among package names. From 7.x on the boot image lies in `linux-binary-*`, and the modules in `linux-modules-*`.
fn resolve(line: &str, names: &[String]) -> Option<Found> {
    let release_of = |name: &str, kind: &str| {
        let release = name.strip_prefix(kind)?;
        release
            .strip_prefix(line)?
            .starts_with('.')
            .then(|| release.to_owned())
    };
    let release = names
        .iter()
        .filter_map(|name| release_of(name, "linux-image-"))
        // A later release's kernel that was built for an older one is not that line's own.
        .filter(|release| !release.contains("-0.deb"))
        .max_by_key(|release| numbers(release))?;
    let parts = ["binary", "modules"].map(|part| format!("linux-{part}-{release}"));
    let packages = if names.contains(&parts[0]) {
        parts.to_vec()
    } else {
        vec![format!("linux-image-{release}")]
    };
    Some(Found { release, packages })
}

/// The numbers of a release, for ordering: `6.12.117+deb12-cloud-amd64` is later than `6.12.90+deb12.1-cloud-amd64`.
fn numbers(release: &str) -> Vec<u64> {
    release
        .trim_end_matches("-cloud-amd64")
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// The kernel of `line` that the cache's note names.
fn cached(cache: &Path, line: &'static str) -> Option<Kernel> {
    let release = fs::read_to_string(cache.join(line)).ok()?.trim().to_owned();
    let dir = cache.join(&release);
    is_whole(&dir).then(|| kernel(line, release, &dir))
}

/// Whether everything that a kernel needs lies in its folder. The modules come first.
fn is_whole(dir: &Path) -> bool {
    dir.join("modules").is_dir() && dir.join("vmlinuz").is_file()
}

/// The kernel that lies in `dir`.
fn kernel(line: &'static str, release: String, dir: &Path) -> Kernel {
    let modules = MODULES
        .into_iter()
        .map(|name| dir.join("modules").join(format!("{name}.ko")))
        .filter(|file| file.is_file())
        .collect();
    Kernel {
        line,
        release,
        image: dir.join("vmlinuz"),
        modules,
    }
}

fn is_fresh(cache: &Path, line: &str) -> bool {
    fs::metadata(cache.join(line))
        .and_then(|note| note.modified())
        .is_ok_and(|written| {
            SystemTime::now()
                .duration_since(written)
                .is_ok_and(|age| age < FRESH)
        })
}

/// Puts `found` into the cache, unless it is there, and notes it as the newest of its line.
fn download(apt: &Apt, line: &'static str, found: &Found, cache: &Path) -> Result<Kernel> {
    let dir = cache.join(&found.release);
    if !is_whole(&dir) {
        let unpacked = cache.join(format!(".{}-{}", found.release, std::process::id()));
        for package in &found.packages {
            println!("fetching {package}");
            apt.unpack(package, &unpacked)?;
        }
        fs::create_dir_all(&dir)?;
        // Under their final names only when whole: two checkouts may share the cache.
        let partial = |name: &str| dir.join(format!("{name}.{}", std::process::id()));
        let modules = partial("modules");
        fs::create_dir_all(&modules)?;
        take_modules(&unpacked, &modules)?;
        if fs::rename(&modules, dir.join("modules")).is_err() {
            // The other one was first.
            fs::remove_dir_all(&modules)?;
        }
        let inside = boot_image(&unpacked, &found.release)
            .with_context(|| format!("{} holds no boot image", found.packages[0]))?;
        fs::copy(&inside, partial("vmlinuz"))?;
        fs::rename(partial("vmlinuz"), dir.join("vmlinuz"))?;
        fs::remove_dir_all(&unpacked)?;
    }
    fs::write(cache.join(line), &found.release)?;
    Ok(kernel(line, found.release.clone(), &dir))
}

/// Puts those of [`MODULES`] that lie below `from` into `to`, as they are loaded: not compressed.
fn take_modules(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            take_modules(&path, to)?;
            continue;
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let Some((name, kind)) = file.split_once('.') else {
            continue;
        };
        if !MODULES.contains(&name) {
            continue;
        }
        let into = to.join(format!("{name}.ko"));
        match kind {
            "ko" => {
                fs::copy(&path, &into)?;
            }
            "ko.xz" => fs::write(&into, unxz(&path)?)?,
            _ => {}
        }
    }
    Ok(())
}

fn unxz(file: &Path) -> Result<Vec<u8>> {
    let output = shell::command("xz")
        .args(["--decompress", "--stdout"])
        .arg(file)
        .output()
        .context("cannot start xz: install xz-utils")?;
    if !output.status.success() {
        bail!(
            "cannot decompress {}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

fn boot_image(unpacked: &Path, release: &str) -> Option<PathBuf> {
    [
        format!("boot/vmlinuz-{release}"),
        format!("usr/lib/modules/{release}/vmlinuz"),
        format!("lib/modules/{release}/vmlinuz"),
    ]
    .into_iter()
    .map(|name| unpacked.join(name))
    .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::{Found, resolve};

    fn names() -> Vec<String> {
        [
            "linux-image-5.10.0-46-cloud-amd64",
            "linux-image-5.10.0-9-cloud-amd64",
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.12.90+deb12.1-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-7.2.12+deb13-cloud-amd64",
            "linux-binary-7.2.12+deb13-cloud-amd64",
            "linux-modules-7.2.12+deb13-cloud-amd64",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn package(line: &str) -> Option<String> {
        resolve(line, &names())?.packages.into_iter().next()
    }

    #[test]
    fn the_newest_release_of_a_line_is_taken_by_number() {
        let found = |line| package(line).expect("a release");
        assert_eq!(found("5.10"), "linux-image-5.10.0-46-cloud-amd64");
        assert_eq!(found("6.1"), "linux-image-6.1.0-56-cloud-amd64");
        assert_eq!(found("6.12"), "linux-image-6.12.117+deb12-cloud-amd64");
    }

    #[test]
    fn a_line_that_is_not_there_is_none_and_never_a_longer_one() {
        assert_eq!(resolve("6.18", &names()), None);
        assert_eq!(package("5.1"), None);
    }

    #[test]
    fn newer_kernels_keep_their_boot_image_and_their_modules_in_packages_of_their_own() {
        let found = resolve("7.2", &names());
        assert_eq!(
            found,
            Some(Found {
                release: "7.2.12+deb13-cloud-amd64".to_owned(),
                packages: ["linux-binary", "linux-modules"]
                    .map(|part| format!("{part}-7.2.12+deb13-cloud-amd64"))
                    .to_vec(),
            })
        );
    }
}
