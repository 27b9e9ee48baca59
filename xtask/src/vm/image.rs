//! The guest's root: one initramfs with the programs of the scenarios and the libraries that these need.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// What the guest starts: just enough of a system for [`fathom_scenarios::plan`] to be carried out.
const INIT: &str = "#!/bin/sh
export PATH=/bin:/usr/sbin:/usr/bin:/sbin HOME=/root
. /etc/settings
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
mkdir -p /tmp
for module in /modules/$(uname -r)/*.ko; do [ -e $module ] && insmod $module; done
ip link set lo up
exec /bin/scenario guest --plan /plan.json --records /dev/ttyS1
";

/// Variables of the environment, as the shell reads them.
const SETTINGS: &str = "etc/settings";

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An initramfs in the making: paths in the guest, each with its mode and content.
pub struct Image {
    entries: BTreeMap<String, Member>,
    settings: String,
}

struct Member {
    mode: u32,
    /// Seconds since 1970. What Python has compiled is good for a source of that very time.
    modified: u32,
    content: Vec<u8>,
}

impl Image {
    /// A root with busybox, the init script and what libc and nginx look up.
    pub fn new() -> Result<Self> {
        let mut image = Self {
            entries: BTreeMap::new(),
            settings: String::new(),
        };
        for dir in ["dev", "proc", "sys", "run", "root", "var/log/nginx", "tmp"] {
            image.directory(dir);
        }
        image.add("init", PROGRAM, INIT.as_bytes().to_vec());
        image.add(
            "etc/passwd",
            FILE,
            b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n".to_vec(),
        );
        image.add(
            "etc/group",
            FILE,
            b"root:x:0:\nnogroup:x:65534:\nnobody:x:65534:\n".to_vec(),
        );
        image.add(
            "etc/hosts",
            FILE,
            b"127.0.0.1 localhost\n::1 localhost\n".to_vec(),
        );
        image.file(SETTINGS, Vec::new());
        image.busybox()?;
        Ok(image)
    }

    /// Puts the program `file` into the guest's /bin, and the shared libraries that it needs where it looks for them.
    pub fn program(&mut self, file: &Path) -> Result<()> {
        let name = file
            .file_name()
            .with_context(|| format!("{} has no name", file.display()))?
            .to_string_lossy();
        if fs::metadata(file)?.permissions().mode() & 0o111 == 0 {
            bail!("{} is no program", file.display());
        }
        self.add(&format!("bin/{name}"), PROGRAM, read(file)?);
        self.libraries_of(file)
    }

    fn libraries_of(&mut self, file: &Path) -> Result<()> {
        for library in libraries(file)? {
            let inside = inside(&library);
            if !self.entries.contains_key(&inside) {
                self.add(&inside, PROGRAM, read(&library)?);
            }
        }
        Ok(())
    }

    /// Puts `path`, a file or a folder with everything below it, where it lies here, with the libraries that programs and modules among it need.
    /// A link stays a link, and the file that it leads to is put there, too.
    pub fn same(&mut self, path: &Path) -> Result<()> {
        let inside = inside(path);
        let about = fs::symlink_metadata(path).with_context(|| format!("no {}", path.display()))?;
        if self.entries.contains_key(&inside) && !about.is_dir() {
            return Ok(());
        }
        if about.is_dir() {
            self.directory(&inside);
            for entry in fs::read_dir(path)? {
                self.same(&entry?.path())?;
            }
        } else if about.is_symlink() {
            let to = fs::read_link(path)?;
            self.link(&inside, &to.to_string_lossy());
            let to = path.parent().unwrap_or(path).join(to);
            if to.is_file() {
                self.same(&to)?;
            }
        } else {
            let content = read(path)?;
            let mode = match about.permissions().mode() & 0o111 {
                0 => FILE,
                _ => PROGRAM,
            };
            if content.starts_with(b"\x7fELF") {
                self.libraries_of(path)?;
            }
            self.add(&inside, mode, content);
            if let Some(member) = self.entries.get_mut(&inside) {
                member.modified = u32::try_from(about.mtime()).unwrap_or(0);
            }
        }
        Ok(())
    }

    /// A variable of every program's environment.
    pub fn setting(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.settings, "export {name}='{value}'");
        self.file(SETTINGS, self.settings.clone().into_bytes());
    }

    /// A link to `target`.
    fn link(&mut self, inside: &str, target: &str) {
        self.add(inside, LINK, target.as_bytes().to_vec());
    }

    /// An empty folder that lies where it lies here.
    pub fn same_directory(&mut self, path: &Path) {
        self.directory(&inside(path));
    }

    /// Puts the program `name` of the system into the guest; `package` is what a user installs when it is missing.
    pub fn system_program(&mut self, name: &str, package: &str) -> Result<()> {
        let file = shell::find(name)
            .with_context(|| format!("no {name} for the guest: install {package}"))?;
        self.program(&file)
    }

    /// Puts a plain file into the guest.
    pub fn file(&mut self, inside: &str, content: Vec<u8>) {
        self.add(inside, FILE, content);
    }

    /// Writes the image: the `newc` form of cpio, which the kernel unpacks (Documentation/driver-api/early-userspace/
    /// buffer-format.rst). It is not compressed: the emulated processor would take longer to unpack it than to copy it.
    pub fn write(&self, to: &Path) -> Result<()> {
        let mut archive = Vec::new();
        for (inode, (name, member)) in self.entries.iter().enumerate() {
            entry(&mut archive, inode + 1, name, member)?;
        }
        entry(&mut archive, 0, "TRAILER!!!", &Member::of(0, Vec::new()))?;
        fs::write(to, &archive).with_context(|| format!("cannot write {}", to.display()))
    }

    fn busybox(&mut self) -> Result<()> {
        let file =
            shell::find("busybox").context("no busybox for the guest: install busybox-static")?;
        if !libraries(&file)?.is_empty() {
            bail!("{} is not static: install busybox-static", file.display());
        }
        let applets = shell::output(Command::new(&file).arg("--list"))?;
        for applet in applets.lines() {
            self.link(&format!("bin/{applet}"), "/bin/busybox");
        }
        self.add("bin/busybox", PROGRAM, read(&file)?);
        Ok(())
    }

    fn directory(&mut self, path: &str) {
        let mut so_far = String::new();
        for part in path.split('/') {
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(part);
            self.entries
                .entry(so_far.clone())
                .or_insert_with(|| Member::of(DIRECTORY, Vec::new()));
        }
    }

    fn add(&mut self, inside: &str, mode: u32, content: Vec<u8>) {
        if let Some((parent, _)) = inside.rsplit_once('/') {
            self.directory(parent);
        }
        self.entries
            .insert(inside.to_owned(), Member::of(mode, content));
    }
}

impl Member {
    fn of(mode: u32, content: Vec<u8>) -> Self {
        Self {
            mode,
            modified: 0,
            content,
        }
    }
}

/// The name within the archive of what lies at `path`.
fn inside(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

/// One member of a `newc` archive: a header of thirteen eight-digit numbers, the name and the content, each padded to
/// four bytes.
fn entry(archive: &mut Vec<u8>, inode: usize, name: &str, member: &Member) -> Result<()> {
    let size = u32::try_from(member.content.len()).with_context(|| format!("{name} is too big"))?;
    let fields = [
        u32::try_from(inode)?,
        member.mode,
        0,
        0,
        1,
        member.modified,
        size,
        0,
        0,
        0,
        0,
        u32::try_from(name.len() + 1)?,
        0,
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(&member.content);
    pad(archive);
    Ok(())
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The shared libraries that `program` loads at its start, as the dynamic linker resolves them; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!(
            "{} lacks a library here: {}",
            program.display(),
            missing.trim()
        );
    }
    Ok(text.lines().filter_map(library).collect())
}

/// The path in a line of ldd: `libc.so.6 => /lib/… (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn library(line: &str) -> Option<PathBuf> {
    let line = line.trim();
    let path = line.split_once("=> ").map_or(line, |(_, path)| path);
    let path = path.split_whitespace().next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Member, entry, library};

    #[test]
    fn ldd_lines_name_libraries_by_path() {
        let line = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)";
        assert_eq!(
            library(line),
            Some(PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"))
        );
        let loader = "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)";
        assert_eq!(
            library(loader),
            Some(PathBuf::from("/lib64/ld-linux-x86-64.so.2"))
        );
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007f)"), None);
        assert_eq!(library("\tstatically linked"), None);
    }

    #[test]
    fn an_archive_member_is_padded_to_four_bytes() {
        let mut archive = Vec::new();
        let member = Member::of(0o100_644, b"xyzzy".to_vec());
        entry(&mut archive, 1, "a", &member).expect("a member");
        // 110 bytes of header, two of name, no padding; five of content, three of padding.
        assert_eq!(archive.len(), 112 + 8);
        assert!(archive.starts_with(b"07070100000001000081A4"));
        assert_eq!(&archive[112..117], b"xyzzy");
    }
}
