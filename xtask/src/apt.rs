//! apt, used so that the machine's own sources stay as they are.
//!
//! Packages of another suite (backports) come through a private sources list and private package lists. The mirror's
//! address is read from the machine's own sources: a machine that reaches packages reaches these too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::shell;

/// The release of Debian that this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `12`
    pub number: u32,
    /// `bookworm`
    pub codename: String,
}

impl Release {
    /// This machine's release; `None` when it is no Debian, or has no apt.
    pub fn here() -> Option<Self> {
        shell::find("apt-get")?;
        Self::parse(&fs::read_to_string("/etc/os-release").ok()?)
    }

    fn parse(os_release: &str) -> Option<Self> {
        let field = |key: &str| {
            os_release.lines().find_map(|line| {
                let value = line.strip_prefix(key)?.strip_prefix('=')?;
                Some(value.trim_matches('"').to_owned())
            })
        };
        (field("ID")? == "debian").then_some(())?;
        Some(Self {
            number: field("VERSION_ID")?.parse().ok()?,
            codename: field("VERSION_CODENAME")?,
        })
    }
}

/// The address of the machine's own package mirror.
pub fn mirror(codename: &str) -> Result<String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    std::iter::once(PathBuf::from("/etc/apt/sources.list"))
        .chain(parts)
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "list" || kind == "sources")
        })
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|text| mirror_in(&text, codename))
        .with_context(|| format!("the apt sources name no mirror of {codename}"))
}

/// The mirror of suite `codename` in one sources file, of either form (man 5 sources.list).
fn mirror_in(text: &str, codename: &str) -> Option<String> {
    let one_line = text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let address = words.next()?;
        (words.next()? == codename).then(|| address.to_owned())
    });
    one_line.or_else(|| {
        text.split("\n\n").find_map(|stanza| {
            let field = |key: &str| {
                stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(key))
                    .map(str::split_whitespace)
            };
            field("Suites:")?
                .any(|suite| suite == codename)
                .then_some(())?;
            Some(field("URIs:")?.next()?.to_owned())
        })
    })
}

/// A private sources list with its own package lists, below one folder.
#[derive(Debug)]
pub struct PrivateSources {
    folder: PathBuf,
}

impl PrivateSources {
    /// Writes a list of `suites` (`bookworm-backports`) at this machine's mirror into `folder`.
    pub fn create(folder: &Path, release: &Release, suites: &[String]) -> Result<Self> {
        let mirror = mirror(&release.codename)?;
        let keyring = ["gpg", "pgp"]
            .map(|kind| format!("/usr/share/keyrings/debian-archive-keyring.{kind}"))
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .context("no keyring of Debian's archive: install debian-archive-keyring")?;
        let text: String = suites
            .iter()
            .map(|suite| format!("deb [signed-by={keyring}] {mirror} {suite} main\n"))
            .collect();
        fs::create_dir_all(folder.join("lists/partial"))
            .and_then(|()| fs::write(folder.join("sources.list"), text))
            .with_context(|| format!("cannot write below {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    /// Adds the options that make `apt` use this list and no other.
    pub fn apply<'c>(&self, apt: &'c mut Command) -> &'c mut Command {
        let folder = self.folder.display();
        apt.arg(format!("-oDir::Etc::sourcelist={folder}/sources.list"))
            .arg("-oDir::Etc::sourceparts=-")
            .arg(format!("-oDir::State::lists={folder}/lists"))
            // The sandbox user of apt can't read a private folder.
            .arg("-oAPT::Sandbox::User=root")
    }
}

/// The installed version of `package`.
pub fn installed(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query")
        .args([
            "--show",
            "--showformat=${db:Status-Abbrev}\t${Version}",
            package,
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (status, version) = text.split_once('\t')?;
    (status.trim_end() == "ii").then(|| version.to_owned())
}

/// apt-get as root, asking nothing.
pub fn get() -> Command {
    let mut command = shell::as_root("env");
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "--yes",
        "--no-install-recommends",
    ]);
    command
}

#[cfg(test)]
mod tests {
    use super::{Release, mirror_in};

    #[test]
    fn a_release_is_read_and_another_system_is_none() {
        let debian =
            "PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        let expected = Release {
            number: 12,
            codename: "bookworm".to_owned(),
        };
        assert_eq!(Release::parse(debian), Some(expected));
        assert_eq!(
            Release::parse(&debian.replace("ID=debian", "ID=other")),
            None
        );
    }

    #[test]
    fn mirrors_are_found_in_both_forms() {
        let deb822 = "Types: deb\nURIs: http://security.example/s\nSuites: bookworm-security\n\n\
                      Types: deb\n# why\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n";
        assert_eq!(
            mirror_in(deb822, "bookworm").as_deref(),
            Some("http://mirror.example/debian")
        );
        let lines = "# deb http://old.example bookworm main\n\
                     deb [arch=amd64 signed-by=/k] http://mirror.example/debian bookworm main\n";
        assert_eq!(
            mirror_in(lines, "bookworm").as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(mirror_in(lines, "trixie"), None);
    }
}
