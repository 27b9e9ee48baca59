use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::unwind::{
    Cfa, Frame, Register, Row, Rule, Saved, Unsupported, convert_bytes,
    tests::{cfi, image::Image},
};

/// A folder that goes when the test ends.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn store(&self) -> Store {
        Store::open(self.path(), 1 << 30).expect("opens")
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).expect("a folder");
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|one| one == EXTENSION))
            .collect();
        paths.sort();
        paths
    }
}

struct Made {
    conversion: Conversion,
    origin: Origin,
    pages: Vec<(u64, Vec<(u16, Rule)>)>,
}

fn make(store: &Store, path: &Path) -> Made {
    let mut rules = Rules::new();
    let mut pages = Vec::new();
    let file = File::open(path).expect("opens");
    let (conversion, origin) = store
        .convert_file(&file, "f", 1 << 28, &mut rules, |page| {
            pages.push((page.number, page.rows.to_vec()));
        })
        .expect("converts");
    let named = |rows: Vec<Row>| {
        rows.into_iter()
            .map(|row| (row.low, rules.get(row.rule).expect("a rule")))
            .collect()
    };
    let pages = pages
        .into_iter()
        .map(|(number, rows)| (number, named(rows)))
        .collect();
    Made {
        conversion,
        origin,
        pages,
    }
}

/// The program that runs this test: it has thousands of rules and a build id.
fn program() -> PathBuf {
    std::env::current_exe().expect("a path")
}

#[test]
fn what_is_stored_is_what_was_converted() {
    let folder = Folder::new();
    let store = folder.store();
    let first = make(&store, &program());
    assert!(
        matches!(first.origin, Origin::Converted),
        "{:?}",
        first.origin
    );
    let again = make(&store, &program());
    assert!(matches!(again.origin, Origin::Stored), "{:?}", again.origin);
    assert_eq!(again.conversion, first.conversion);
    assert!(again.pages == first.pages && !first.pages.is_empty());
    assert_eq!(folder.entries().len(), 1);
}

#[test]
fn rules_have_the_numbers_of_the_table_that_is_shared() {
    let folder = Folder::new();
    let store = folder.store();
    make(&store, &program());
    let mut rules = Rules::new();
    let other = File::open("/proc/self/exe").expect("opens");
    let (mut ours, mut theirs) = (Table::default(), Table::default());
    convert_file(&other, "f", 1 << 28, &mut rules, |page| ours.push(page)).expect("converts");
    let count = rules.all().len();
    let (_, origin) = store
        .convert_file(&other, "f", 1 << 28, &mut rules, |page| theirs.push(page))
        .expect("converts");
    assert!(matches!(origin, Origin::Stored));
    assert_eq!(rules.all().len(), count, "all of its rules are known");
    assert!(ours.pages().eq(theirs.pages()));
}

#[test]
fn any_byte_that_is_changed_makes_it_no_entry() {
    let folder = Folder::new();
    let store = folder.store();
    let key = Key {
        build_id: vec![1, 2, 3],
        length: 4096,
        head: 7,
    };
    let mut rules = Rules::new();
    let mut table = Table::default();
    let image = image();
    let conversion = convert_bytes(&image, "f", 1 << 20, &mut rules, |page| {
        table.push(page);
    })
    .expect("converts");
    let bytes = format::write(&key, &conversion, &table, &rules);
    assert!(format::Entry::read(&bytes, &key).is_some());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(format::Entry::read(&changed, &key).is_none(), "byte {at}");
        assert!(
            format::Entry::read(&bytes[..at], &key).is_none(),
            "{at} bytes"
        );
        // Who changes it on purpose makes the checksum right: what is taken then is sound.
        let sum = format::checksum(&changed[16..]);
        changed[12..16].copy_from_slice(&sum.to_le_bytes());
        if let Some(entry) = format::Entry::read(&changed, &key) {
            let mut rules = Rules::new();
            for page in entry.table(&mut rules).pages() {
                assert!(page.rows.is_sorted_by(|a, b| a.low < b.low));
                assert!(page.rows.iter().all(|row| rules.get(row.rule).is_some()));
            }
        }
    }
    let other = Key { head: 8, ..key };
    assert!(format::Entry::read(&bytes, &other).is_none());
    drop(store);
}

/// A file of which every rule is known: what a conversion makes of it changes with a new [`format::VERSION`] and at no other time.
#[test]
fn the_version_is_that_of_what_conversions_make() {
    let mut rules = Rules::new();
    let mut table = Table::default();
    let conversion = convert_bytes(&image(), "f", 1 << 20, &mut rules, |page| {
        table.push(page);
    })
    .expect("converts");
    let key = Key {
        build_id: vec![7],
        length: 1,
        head: 1,
    };
    let bytes = format::write(&key, &conversion, &table, &rules);
    assert_eq!(
        (format::VERSION, format::checksum(&bytes[16..])),
        (3, 38_804_078),
        "other bytes want another version, and this their sum"
    );
}

fn image() -> Vec<u8> {
    const START: u64 = 0x40_1000;
    let instructions: &[u8] = &[0x41, 0x0e, 16, 0x86, 2, 0x41, 0x0d, 6, 0x48, 0x0c, 7, 8];
    let other: &[u8] = &[0x44, 0x0e, 0x20];
    Image::new(128)
        .with(
            ".eh_frame",
            2,
            cfi::section(&[(START, 32, instructions), (START + 40, 24, other)]),
        )
        .bytes()
}

#[test]
fn a_file_that_was_edited_is_converted_anew_whatever_its_build_id() {
    let folder = Folder::new();
    let store = folder.store();
    let copy = folder.path().join("program");
    fs::copy(program(), &copy).expect("a copy");
    assert!(matches!(make(&store, &copy).origin, Origin::Converted));
    let mut longer = OpenOptions::new().append(true).open(&copy).expect("opens");
    longer.write_all(b"more").expect("writes");
    assert!(matches!(make(&store, &copy).origin, Origin::Converted));
    assert!(matches!(make(&store, &copy).origin, Origin::Stored));
    assert_eq!(folder.entries().len(), 1, "the newer one is kept");
}

#[test]
fn what_others_may_write_is_not_read() {
    let folder = Folder::new();
    let store = folder.store();
    make(&store, &program());
    let entry = folder.entries().remove(0);
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o666)).expect("its mode");
    assert!(matches!(make(&store, &program()).origin, Origin::Converted));
    // A link leads to what may be another's.
    let moved = folder.path().join("moved");
    fs::rename(&entry, &moved).expect("moves");
    symlink(&moved, &entry).expect("links");
    assert!(matches!(make(&store, &program()).origin, Origin::Converted));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("its mode");
    let refused = Store::open(folder.path(), 1).expect_err("anyone may write there");
    assert!(refused.to_string().contains("chmod go-w"), "{refused}");
}

#[test]
fn the_folder_stays_within_its_limit() {
    let folder = Folder::new();
    make(&folder.store(), &program());
    let entry = folder.entries().remove(0);
    let size = fs::metadata(&entry).expect("an entry").len();
    let old = folder.path().join("00").with_extension(EXTENSION);
    fs::rename(&entry, &old).expect("moves");
    let store = Store::open(folder.path(), size + size / 2).expect("opens");
    assert!(matches!(make(&store, &program()).origin, Origin::Converted));
    assert_eq!(folder.entries(), [entry], "the older one made room");
    let small = Store::open(folder.path(), size / 2).expect("opens");
    let other = folder.path().join("program");
    fs::copy(program(), &other).expect("a copy");
    OpenOptions::new()
        .append(true)
        .open(&other)
        .and_then(|mut file| file.write_all(b"more"))
        .expect("writes");
    let origin = make(&small, &other).origin;
    assert!(
        matches!(&origin, Origin::NotStored(Error::TooLarge { .. })),
        "{origin:?}"
    );
}

#[test]
fn every_kind_of_rule_is_read_as_it_was_written() {
    let registers = [
        Register::StackPointer,
        Register::FramePointer,
        Register::Other(0),
        Register::Other(255),
    ];
    let offsets = [0, -8, i32::MIN, i32::MAX];
    let mut cfas = vec![Cfa::Plt { pushed_at: 1 }, Cfa::Plt { pushed_at: 15 }];
    let mut saved = vec![Saved::Same, Saved::Undefined];
    for offset in offsets {
        saved.push(Saved::AtCfa(offset));
        for register in registers {
            cfas.push(Cfa::Offset(register, offset));
            cfas.push(Cfa::Deref {
                base: register,
                at: offset,
                plus: -offset.saturating_add(1),
            });
            saved.push(Saved::At(register, offset));
        }
    }
    saved.extend(registers.map(Saved::In));
    let mut rules = vec![Rule::None, Rule::End, Rule::FramePointer, Rule::SignalFrame];
    rules.extend(Unsupported::ALL.map(Rule::Unsupported));
    for (number, &cfa) in cfas.iter().enumerate() {
        for (other, &frame_pointer) in saved.iter().enumerate() {
            rules.push(Rule::Frame(Frame {
                cfa,
                frame_pointer,
                return_address: saved[(number + other) % saved.len()],
                is_signal: (number + other) % 2 == 0,
            }));
        }
    }
    for rule in rules {
        let mut bytes = Vec::new();
        format::write_rule(rule, &mut bytes);
        assert_eq!(bytes.len(), 27);
        let mut input = format::Input(&bytes);
        assert_eq!(format::read_rule(&mut input), Some(rule));
    }
}
