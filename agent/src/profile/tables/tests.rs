use std::{fs, path::Path};

use fathom_symbolizer::Symbolizer;

use super::*;
use crate::probes::profile::tables::Part;

/// Maps in this process's own memory.
#[derive(Debug, Default)]
pub(in crate::profile) struct OwnMaps {
    rules: Vec<Rule>,
    files: HashMap<u32, Table>,
    /// How many rows there may be; 0 for any number.
    pub(in crate::profile) room: usize,
    /// What is published: by process the name of its address space, and its segments.
    pub(in crate::profile) published: HashMap<u32, (u64, Vec<Segment>)>,
}

/// The same, for the test to look into.
#[derive(Clone, Debug, Default)]
pub(in crate::profile) struct TestMaps(pub(in crate::profile) Arc<Mutex<OwnMaps>>);

impl TestMaps {
    pub(in crate::profile) fn lock(&self) -> MutexGuard<'_, OwnMaps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::profile) fn tables(&self, section_limit: usize) -> FileTables {
        FileTables::new(Box::new(self.clone()), section_limit).expect("a thread")
    }
}

fn rows(table: &Table) -> usize {
    table.pages().map(|page| page.rows.len()).sum()
}

impl Maps for TestMaps {
    fn add_rules(&mut self, rules: &Rules) -> Result<(), Error> {
        self.lock().rules = rules.all().to_vec();
        Ok(())
    }

    fn add_file(&mut self, number: u32, table: &Table) -> Result<(), Error> {
        let mut maps = self.lock();
        let used: usize = maps.files.values().map(rows).sum();
        if maps.room > 0 && used + rows(table) > maps.room {
            return Err(Error::Full(Part::Rows));
        }
        maps.files.insert(number, table.clone());
        Ok(())
    }

    fn remove_file(&mut self, number: u32) {
        self.lock().files.remove(&number);
    }

    fn find(&self, number: u32, address: u64) -> Rule {
        let maps = self.lock();
        let rule = maps.files.get(&number).map(|table| table.find(address));
        let rule = rule.and_then(|rule| maps.rules.get(usize::from(rule)));
        rule.copied().unwrap_or(Rule::None)
    }

    fn segment(&self, number: u32, start: u64, end: u64, bias: u64) -> Option<Segment> {
        let is_here = self.lock().files.contains_key(&number);
        is_here.then_some(Segment {
            start,
            end,
            bias,
            file: number + 1,
            kind: fathom_abi::unwind::SegmentKind::TABLE,
            ..Segment::default()
        })
    }

    fn publish(&mut self, pid: u32, space: u64, segments: &[Segment]) -> Result<(), Error> {
        let published = (space, segments.to_vec());
        self.lock().published.insert(pid, published);
        Ok(())
    }

    fn withdraw(&mut self, pid: u32) {
        self.lock().published.remove(&pid);
    }
}

const LIMIT: usize = 1 << 26;
const LONG: Duration = Duration::from_secs(60);

/// A small program with a table of its own.
fn program(folder: &Path, name: &str, from: &str) -> Module {
    let path = folder.join(name);
    fs::copy(from, &path).expect("copied");
    Symbolizer::default().open(&path).expect("an ELF file")
}

/// Asks for a table, and waits for it.
fn made(tables: &mut FileTables, module: &Module, now_ns: u64) -> (u32, Availability) {
    let number = tables.number(module);
    assert!(tables.request(number, module, now_ns));
    assert_eq!(tables.wait(now_ns, LONG), [number]);
    (number, tables.availability(number, now_ns))
}

#[test]
fn a_table_is_made_once_for_files_that_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (
        program(folder.path(), "1", "/bin/true"),
        program(folder.path(), "2", "/bin/true"),
    );
    let maps = TestMaps::default();
    let mut tables = maps.tables(LIMIT);
    let (number, availability) = made(&mut tables, &one, 1);
    assert_eq!(availability, Availability::Here);
    assert_eq!(tables.number(&two), number);
    assert_eq!(tables.counts().shared(), 1);
    assert!(!tables.request(number, &two, 2), "it is there");
    assert_eq!(tables.counts().converted(), 1);
    assert!(rows(&maps.lock().files[&number]) > 0);

    // One that was written into is another one, though its build id is the same.
    let path = folder.path().join("3");
    let mut bytes = fs::read("/bin/true").expect("readable");
    bytes.push(0);
    fs::write(&path, bytes).expect("written");
    let three = Symbolizer::default().open(&path).expect("an ELF file");
    assert_ne!(tables.number(&three), number);
}

#[test]
fn what_was_not_used_for_longest_makes_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let modules = ["/bin/true", "/bin/cat", "/bin/ls"]
        .map(|from| program(folder.path(), from.trim_start_matches("/bin/"), from));
    let maps = TestMaps::default();
    let mut tables = maps.tables(LIMIT);
    let (first, _) = made(&mut tables, &modules[0], 1);
    let (second, _) = made(&mut tables, &modules[1], 2);
    let used: usize = maps.lock().files.values().map(rows).sum();
    maps.lock().room = used;

    // Both are in use.
    let (third, availability) = made(&mut tables, &modules[2], 3);
    assert_eq!(availability, Availability::Failed(Failure::NoRoom));
    assert_eq!(tables.counts().failed(Failure::NoRoom), 1);

    // Time has passed, and the first one was used meanwhile. The third is larger than the second: both have to go.
    tables.touch(first, 5);
    maps.lock().room = used + 2 * rows(&maps.lock_files(first));
    let late = IN_USE_NS + RETRY_NS + 4;
    tables.touch(first, late);
    assert_eq!(tables.availability(third, late), Availability::Wanted);
    let (again, availability) = made(&mut tables, &modules[2], late);
    assert_eq!(again, third);
    let is_there = availability == Availability::Here;
    assert_eq!(
        tables.availability(second, late),
        Availability::Wanted,
        "it went first"
    );
    assert_eq!(
        tables.availability(first, late),
        Availability::Here,
        "it is in use"
    );
    assert_eq!(tables.counts().evicted(), 1);
    assert_eq!(is_there, maps.lock().files.contains_key(&third));
}

impl TestMaps {
    fn lock_files(&self, number: u32) -> Table {
        self.lock().files[&number].clone()
    }
}

#[test]
fn what_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let module = program(folder.path(), "ls", "/bin/ls");
    let mut tables = TestMaps::default().tables(16);
    let (number, availability) = made(&mut tables, &module, 1);
    assert_eq!(availability, Availability::Failed(Failure::TooLarge));
    assert!(!tables.request(number, &module, 2), "it won't come");
    assert_eq!(tables.counts().failed(Failure::TooLarge), 1);
}

#[test]
fn a_file_that_nobody_was_led_to_is_forgotten_unless_its_table_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let maps = TestMaps::default();
    let mut tables = maps.tables(LIMIT);
    let (there, _) = made(&mut tables, &program(folder.path(), "1", "/bin/true"), 1);
    let module = program(folder.path(), "2", "/bin/cat");
    let absent = tables.number(&module);
    tables.touch(absent, 1);
    tables.forget_unused(100_000_000_000);
    assert!(tables.knows(there) && !tables.knows(absent));
    assert_eq!(tables.availability(absent, 2), Availability::Wanted);
    assert!(
        !tables.request(absent, &module, 2),
        "nobody has that number"
    );
    let again = tables.number(&module);
    assert!(again != absent && tables.request(again, &module, 2));
}
