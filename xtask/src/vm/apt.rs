//! Packages that are unpacked and never installed, through apt's own client, over a private sources list and private state.
//!
//! apt checks the signatures and the hashes, as it does for the system; the system's own lists, cache and package
//! database are never touched. The mirror is the one that the machine's own sources name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// Debian's keys, by the names that the package has given the file.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Where a suite lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mirror {
    Main,
    Security,
}

/// An apt of the harness's own.
pub struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// Sets the private apt up below `dir`, with these suites and the mirrors that serve them; fetches nothing yet.
    pub fn new(dir: &Path, suites: &[(&str, Mirror)]) -> Result<Self> {
        if shell::find("apt-get").is_none() {
            bail!("no apt-get: what is unpacked here comes as Debian packages, through apt");
        }
        let dir = dir
            .is_absolute()
            .then(|| dir.to_path_buf())
            .with_context(|| format!("{} is not absolute", dir.display()))?;
        for sub in ["lists/partial", "cache/archives/partial", "state"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).with_context(|| format!("cannot create {}", sub.display()))?;
        }
        let apt = Self { dir };
        apt.write("status", "")?;
        apt.write("sources.list", &sources(suites)?)?;
        Ok(apt)
    }

    /// Brings the lists up to date. A suite that the mirror no longer has is a warning: its packages are then missing
    /// from [`Self::names`].
    pub fn update(&self) -> Result<()> {
        let status = self
            .command("apt-get")
            .args(["--quiet", "--quiet", "update"])
            .status()
            .context("cannot start apt-get")?;
        if !status.success() {
            eprintln!("warning: apt-get update did not reach every suite ({status})");
        }
        Ok(())
    }

    /// The names of the packages that match `pattern`, an extended regular expression.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found = shell::output(
            self.command("apt-cache")
                .args(["search", "--names-only"])
                .arg(pattern),
        )?;
        Ok(found
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect())
    }

    /// Downloads `package` and unpacks it into `into`, without installing anything.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        self.with_deb(package, into, |deb| {
            shell::run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(into))
        })
    }

    /// Unpacks of `package` only the files that match `pattern`, as tar's wildcards go: some packages are huge.
    pub fn unpack_files(&self, package: &str, pattern: &str, into: &Path) -> Result<()> {
        self.with_deb(package, into, |deb| {
            let mut dpkg = Command::new("dpkg-deb")
                .arg("--fsys-tarfile")
                .arg(deb)
                .stdout(Stdio::piped())
                .spawn()
                .context("cannot start dpkg-deb")?;
            let archive = dpkg.stdout.take().context("no pipe")?;
            let mut tar = Command::new("tar");
            tar.args(["--extract", "--wildcards", "--directory"])
                .arg(into)
                .arg(pattern)
                .stdin(archive);
            shell::run(&mut tar)?;
            ensure!(dpkg.wait()?.success(), "dpkg-deb cannot read {package}");
            Ok(())
        })
    }

    /// Downloads `package`, hands it on and deletes it.
    fn with_deb(
        &self,
        package: &str,
        into: &Path,
        unpack: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let debs = self.dir.join("debs").join(package);
        if debs.exists() {
            fs::remove_dir_all(&debs)?;
        }
        fs::create_dir_all(&debs)?;
        let mut download = self.command("apt-get");
        download.current_dir(&debs);
        shell::run(download.args(["--quiet", "--quiet", "download", package]))?;
        let deb = fs::read_dir(&debs)?
            .next()
            .with_context(|| format!("apt-get downloaded nothing for {package}"))??
            .path();
        fs::create_dir_all(into)?;
        unpack(&deb)?;
        fs::remove_dir_all(&debs)?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = shell::command(program);
        for (key, value) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State", "state"),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg("-o");
            command.arg(format!("{key}={}", self.dir.join(value).display()));
        }
        // No other sources, no translations, and no change of user: the folder may be out of another user's reach.
        for option in [
            "Dir::Etc::SourceParts=-",
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "Acquire::Retries=3",
            "APT::Sandbox::User=root",
            "APT::Architecture=amd64",
        ] {
            command.args(["-o", option]);
        }
        command
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.dir.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The private sources list: the suites on the machine's own mirrors.
fn sources(suites: &[(&str, Mirror)]) -> Result<String> {
    let keyring = KEYRINGS
        .into_iter()
        .find(|file| Path::new(file).is_file())
        .context("no Debian keyring: install debian-archive-keyring")?;
    let (main, security) = mirrors()?;
    Ok(suites
        .iter()
        .map(|(suite, mirror)| {
            let uri = match mirror {
                Mirror::Main => &main,
                Mirror::Security => &security,
            };
            format!("deb [signed-by={keyring}] {uri} {suite} main\n")
        })
        .collect())
}

/// The main and the security mirror that the machine's own sources name.
fn mirrors() -> Result<(String, String)> {
    let known =
        shell::output(shell::command("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?;
    pick_mirrors(known.lines()).context(
        "apt's sources name no Debian mirror (a URI that ends with /debian): what is unpacked here is Debian's",
    )
}

/// The Debian mirrors among `uris`; a security mirror that is not named lies beside the main one.
fn pick_mirrors<'a>(uris: impl Iterator<Item = &'a str> + Clone) -> Option<(String, String)> {
    let ending = |name: &str| {
        uris.clone()
            .find(|uri| uri.trim_end_matches('/').ends_with(name))
            .map(|uri| uri.trim_end_matches('/').to_owned())
    };
    let main = ending("/debian")?;
    let security = ending("/debian-security").unwrap_or_else(|| format!("{main}-security"));
    Some((main, security))
}

#[cfg(test)]
mod tests {
    use super::pick_mirrors;

    #[test]
    fn the_machines_own_mirror_is_taken() {
        let uris = [
            "https://tools.example/apt/",
            "http://mirror.example/debian-security/",
            "http://mirror.example/debian/",
        ];
        let (main, security) = pick_mirrors(uris.into_iter()).expect("a mirror");
        assert_eq!(main, "http://mirror.example/debian");
        assert_eq!(security, "http://mirror.example/debian-security");
    }

    #[test]
    fn a_security_mirror_that_is_not_named_lies_beside_the_main_one() {
        let (_, security) =
            pick_mirrors(["http://mirror.example/debian"].into_iter()).expect("a mirror");
        assert_eq!(security, "http://mirror.example/debian-security");
        assert!(pick_mirrors(["https://mirror.example/ubuntu"].into_iter()).is_none());
    }
}
