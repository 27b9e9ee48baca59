use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::*;
use crate::{Frames, Gear, Options, Source, Symbolizer};

/// A program that was built with symbols, and taken apart in the way of distributions.
struct Program {
    folder: tempfile::TempDir,
    /// Where its static function is.
    address: u64,
    build_id: Vec<u8>,
}

const SOURCE: &str = "
static __attribute__((noinline)) int hidden(int a) { __asm__ volatile(\"\" : \"+r\"(a)); return a * 3; }
__attribute__((visibility(\"default\"))) int shown(int a) { return hidden(a) + 1; }
";

fn run(folder: &Path, line: &str) -> bool {
    let status = Command::new("sh")
        .args(["-ec", line])
        .current_dir(folder)
        .status();
    status.is_ok_and(|status| status.success())
}

/// `test` is what is not tested without the tools.
fn program(test: &str) -> Option<Program> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("lib.c"), SOURCE).expect("written");
    let built = run(
        folder.path(),
        "gcc -O2 -shared -fPIC -fvisibility=hidden -Wl,--build-id -o whole.so lib.c
         objcopy --only-keep-debug whole.so lib.so.debug
         objcopy -S whole.so lib.so
         objcopy --add-gnu-debuglink=lib.so.debug lib.so linked.so
         objcopy --remove-section=.note.gnu.build-id lib.so.debug
         nm -D lib.so --defined-only --format=posix | cut -d' ' -f1 > exported
         nm whole.so --format=posix --defined-only | awk '$2 ~ /^[tT]$/ { print $1 }' > functions
         objcopy --strip-all --remove-section=.comment --keep-symbols=functions --only-keep-debug whole.so mini
         xz -k -9e mini
         objcopy -S --add-section .gnu_debugdata=mini.xz whole.so packed.so",
    );
    if !built {
        eprintln!("SKIPPED {test}: no gcc, binutils and xz here");
        return None;
    }
    let nm = Command::new("nm")
        .arg(folder.path().join("whole.so"))
        .output()
        .expect("nm is there");
    let text = String::from_utf8_lossy(&nm.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.ends_with(" t hidden"))
        .expect("it has one");
    let file = File::open(folder.path().join("whole.so")).expect("opens");
    Some(Program {
        address: u64::from_str_radix(&line[..16], 16).expect("hexadecimal"),
        build_id: crate::build_id(&file, "whole.so")
            .expect("readable")
            .expect("it has one"),
        folder,
    })
}

impl Program {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ask(&self, symbolizer: &Symbolizer, file: &str) -> Frames {
        let frames = symbolizer.symbolize_file(self.path(file), Gear::Names, &[self.address]);
        frames.expect("readable").remove(0)
    }

    /// Puts the debug file where it is looked for by the build id.
    fn by_build_id(&self, directory: &str, from: &str) {
        let hex: String = self
            .build_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let folder = self.path(directory).join(".build-id").join(&hex[..2]);
        fs::create_dir_all(&folder).expect("made");
        fs::copy(self.path(from), folder.join(format!("{}.debug", &hex[2..]))).expect("copied");
    }
}

fn looking_in(directory: PathBuf) -> Symbolizer {
    Symbolizer::new(Options {
        debug_directories: vec![directory],
        ..Options::default()
    })
}

fn name(frames: &Frames) -> Option<(&str, Source)> {
    let frame = frames.first()?;
    Some((frame.name.as_ref()?.linkage(), frame.source))
}

#[test]
fn a_debug_file_is_found_by_build_id() {
    let Some(program) = program("a_debug_file_is_found_by_build_id") else {
        return;
    };
    program.by_build_id("store", "lib.so.debug");
    let symbolizer = looking_in(program.path("store"));
    let frames = program.ask(&symbolizer, "lib.so");
    assert_eq!(name(&frames), Some(("hidden", Source::SymbolTable)));
    assert!(
        program
            .ask(&looking_in(program.path("nowhere")), "lib.so")
            .is_empty()
    );
}

#[test]
fn a_debug_file_of_another_build_is_refused() {
    let Some(program) = program("a_debug_file_of_another_build_is_refused") else {
        return;
    };
    assert!(run(
        program.folder.path(),
        "gcc -O1 -shared -fPIC -Wl,--build-id -o other.so lib.c"
    ));
    program.by_build_id("store", "other.so");
    let frames = program.ask(&looking_in(program.path("store")), "lib.so");
    assert_eq!(name(&frames), None);
}

#[test]
fn a_debug_file_is_found_by_its_link_and_told_by_its_checksum() {
    let Some(program) = program("a_debug_file_is_found_by_its_link_and_told_by_its_checksum")
    else {
        return;
    };
    let nowhere = program.path("nowhere");
    let hidden = Some(("hidden", Source::SymbolTable));
    let ask = || {
        let symbolizer = looking_in(nowhere.clone());
        let frames = program.ask(&symbolizer, "linked.so");
        name(&frames).map(|(name, source)| (name.to_owned(), source))
    };
    let owned = |name: Option<(&str, Source)>| name.map(|(name, source)| (name.to_owned(), source));
    // The checksum is of the file before its build id was taken out.
    assert_eq!(ask(), None);
    assert!(run(
        program.folder.path(),
        "objcopy --only-keep-debug whole.so lib.so.debug"
    ));
    assert_eq!(ask(), owned(hidden));
    fs::create_dir(program.path(".debug")).expect("made");
    fs::rename(
        program.path("lib.so.debug"),
        program.path(".debug/lib.so.debug"),
    )
    .expect("moved");
    assert_eq!(ask(), owned(hidden));
    let mut changed = fs::read(program.path(".debug/lib.so.debug")).expect("readable");
    *changed.last_mut().expect("some") ^= 1;
    fs::write(program.path(".debug/lib.so.debug"), changed).expect("written");
    assert_eq!(ask(), None);
}

#[test]
fn symbols_that_are_packed_into_the_file_are_found() {
    let Some(program) = program("symbols_that_are_packed_into_the_file_are_found") else {
        return;
    };
    let symbolizer = looking_in(program.path("nowhere"));
    let frames = program.ask(&symbolizer, "packed.so");
    assert_eq!(name(&frames), Some(("hidden", Source::MiniDebugInfo)));

    // More than may be held is an error that names the section; names that need none of it are still there.
    let small = Symbolizer::new(Options {
        memory: 4096,
        debug_directories: Vec::new(),
        ..Options::default()
    });
    let path = program.path("packed.so");
    let error = small
        .symbolize_file(&path, Gear::Names, &[program.address])
        .expect_err("too large");
    assert!(error.to_string().contains(".gnu_debugdata"), "{error}");

    // Whatever is in its place is an error, too.
    let whole = fs::read(&path).expect("readable");
    let at = memchr::memmem::find(&whole, b"\xfd7zXZ\0").expect("an xz stream");
    for (offset, value) in [(0, 0), (7, 9), (12, 0xff), (40, 0xff), (200, 0xff)] {
        let mut damaged = whole.clone();
        damaged[at + offset] ^= value;
        if value == 0 {
            damaged[at] = 0;
        }
        fs::write(&path, damaged).expect("written");
        let error = symbolizer.symbolize_file(&path, Gear::Names, &[program.address]);
        let error = error.expect_err("damaged").to_string();
        assert!(error.contains(".gnu_debugdata"), "{error}");
    }
}

/// What stands for a server.
#[derive(Debug, Default)]
struct Store {
    file: Option<PathBuf>,
    asked: AtomicUsize,
}

impl DebugFiles for Store {
    fn debug_file(
        &self,
        build_id: &[u8],
    ) -> Result<Option<File>, Box<dyn error::Error + Send + Sync>> {
        assert!(build_id.len() > 8);
        self.asked.fetch_add(1, Relaxed);
        match &self.file {
            Some(file) => Ok(Some(File::open(file)?)),
            None => Err("no answer within 2 s".into()),
        }
    }
}

#[test]
fn a_store_is_asked_once_for_what_is_not_here() {
    let Some(program) = program("a_store_is_asked_once_for_what_is_not_here") else {
        return;
    };
    for file in [Some(program.path("lib.so.debug")), None] {
        let store = Arc::new(Store {
            file,
            asked: AtomicUsize::new(0),
        });
        let symbolizer = Symbolizer::new(Options {
            debug_directories: Vec::new(),
            debug_files: Some(store.clone()),
            ..Options::default()
        });
        let path = program.path("lib.so");
        for address in [program.address, program.address + 1] {
            let answer = symbolizer.symbolize_file(&path, Gear::Names, &[address]);
            match &store.file {
                Some(_) => assert_eq!(
                    name(&answer.expect("found")[0]).map(|(name, _)| name),
                    Some("hidden")
                ),
                None => {
                    let error = answer.expect_err("not told").to_string();
                    assert!(error.ends_with("no answer within 2 s"), "{error}");
                }
            }
        }
        assert_eq!(store.asked.load(Relaxed), 1);
    }
}

/// What dwz took out lies below `.dwz`, in whichever folder debug files are kept.
#[test]
fn a_file_that_others_share_is_found_in_our_directories() {
    let Some(program) = program("a_file_that_others_share_is_found_in_our_directories") else {
        return;
    };
    let below = program.path("debug/.dwz/x86_64-linux-gnu");
    fs::create_dir_all(&below).expect("folders");
    fs::copy(program.path("whole.so"), below.join("shared.debug")).expect("a copy");
    let finder = Finder::new(vec![program.path("debug")], None, 1 << 24);
    let find = |path: &str, build_id: &[u8]| {
        let link = links::AltLink {
            path: PathBuf::from(path),
            build_id: build_id.to_vec(),
        };
        finder
            .supplementary(&link, None)
            .expect("readable")
            .is_some()
    };
    let path = "/usr/lib/debug/.dwz/x86_64-linux-gnu/shared.debug";
    assert!(find(path, &program.build_id));
    assert!(find(
        "../../../.dwz/x86_64-linux-gnu/shared.debug",
        &program.build_id
    ));
    assert!(!find(path, &[7; 20]), "another file of that name");
    assert!(!find("/usr/lib/debug/shared.debug", &program.build_id));
}
