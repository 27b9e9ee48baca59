//! Unwind tables of real files, compared at sampled addresses with what gimli's own evaluator gives. It finds entries through the
//! linker's search table (`.eh_frame_hdr`), which the conversion does not read, and runs expressions, which the conversion
//! matches.
//!
//! `FATHOM_UNWIND_FILES` names a file that lists others to compare, one on a line.

#[path = "../../fuzz/checks/unwind/truth.rs"]
mod truth;

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use fathom_symbolizer::{
    Error,
    unwind::{Rule, Rules, Table, convert_bytes},
};
use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindContext};
use object::{Object as _, ObjectSection as _, ObjectSegment as _};
use truth::{Bytes, State};

const LIMIT: usize = 1 << 30;

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    files: u64,
    addresses: u64,
    /// Compared, and the same.
    equal: u64,
    /// No entry, and no rule.
    none: u64,
    /// No entry, but known code or frame pointers.
    known: u64,
    unsupported: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

/// The reference: a file's sections as the `object` crate finds them.
struct Reference<'a> {
    eh_frame: EhFrame<Bytes<'a>>,
    header: gimli::ParsedEhFrameHdr<Bytes<'a>>,
    bases: BaseAddresses,
    context: UnwindContext<usize>,
}

impl<'a> Reference<'a> {
    fn new(file: &object::File<'a>) -> Option<Self> {
        let section = file.section_by_name(".eh_frame")?;
        let header = file.section_by_name(".eh_frame_hdr")?;
        let bases = BaseAddresses::default()
            .set_eh_frame(section.address())
            .set_eh_frame_hdr(header.address());
        let mut eh_frame = EhFrame::new(section.data().ok()?, LittleEndian);
        eh_frame.set_address_size(8);
        if file.architecture() == object::Architecture::Aarch64 {
            eh_frame.set_vendor(gimli::Vendor::AArch64);
        }
        let header = EhFrameHdr::new(header.data().ok()?, LittleEndian)
            .parse(&bases, 8)
            .ok()?;
        header.table()?;
        Some(Self {
            eh_frame,
            header,
            bases,
            context: UnwindContext::new(),
        })
    }

    /// Compares a rule with what holds at an address.
    fn compare(&mut self, state: State, rule: Rule, name: &str, tally: &mut Tally) {
        tally.addresses += 1;
        let table = self.header.table().expect("seen before");
        let entry = table.fde_for_address(
            &self.eh_frame,
            &self.bases,
            state.address,
            gimli::UnwindSection::cie_from_offset,
        );
        let wrong = |what: String| format!("{name} {:#x}: {rule:?}, but {what}", state.address);
        let entry = match entry {
            Ok(entry) => entry,
            Err(gimli::Error::NoUnwindInfoForAddress) => {
                match rule {
                    Rule::None => tally.none += 1,
                    Rule::FramePointer | Rule::End | Rule::SignalFrame | Rule::Frame(_) => {
                        tally.known += 1
                    }
                    _ => tally.wrong.push(wrong("no entry".to_owned())),
                }
                return;
            }
            Err(error) => return tally.wrong.push(wrong(error.to_string())),
        };
        let row = entry.unwind_info_for_address(
            &self.eh_frame,
            &self.bases,
            &mut self.context,
            state.address,
        );
        if let Rule::Unsupported(kind) = rule {
            *tally.unsupported.entry(kind.name()).or_default() += 1;
            return;
        }
        match row {
            Ok(row) => {
                let expected = state.by_row(&self.eh_frame, entry.cie(), row);
                if expected.is_some() && state.by_rule(rule) == expected {
                    tally.equal += 1;
                } else {
                    tally.wrong.push(wrong(format!("{expected:x?} by {row:?}")));
                }
            }
            Err(error) => tally.wrong.push(wrong(error.to_string())),
        }
    }
}

/// Compares a file at the ends of its rows and at random addresses of its code.
fn compare(path: &str, bytes: &[u8], samples: usize, tally: &mut Tally) {
    let mut rules = Rules::new();
    let mut table = Table::default();
    let conversion = match convert_bytes(bytes, path, LIMIT, &mut rules, |page| table.push(page)) {
        Ok(conversion) => conversion,
        Err(Error::NotUnwindable { .. } | Error::NotElf { .. }) => return,
        Err(error) => return tally.wrong.push(error.to_string()),
    };
    let file = object::File::parse(bytes).expect("it was converted");
    let Some(mut reference) = Reference::new(&file) else {
        return;
    };
    tally.files += 1;
    let mut check = |address| {
        let state = State {
            machine: conversion.machine,
            address,
        };
        let rule = rules.get(table.find(address)).expect("a known number");
        reference.compare(state, rule, path, tally);
    };
    let step = (conversion.kept as usize / samples).max(1);
    let starts = table.pages().flat_map(|page| {
        page.rows
            .iter()
            .map(move |row| page.number << 16 | u64::from(row.low))
    });
    for start in starts.step_by(step) {
        check(start);
        check(start.saturating_sub(1));
    }
    let mut random = Random(1);
    let code: Vec<_> = file.segments().filter(is_code).collect();
    for segment in &code {
        for _ in 0..samples / code.len() {
            check(segment.address() + random.below(segment.file_range().1));
        }
    }
}

fn is_code(segment: &object::Segment<'_, '_>) -> bool {
    let object::SegmentFlags::Elf { p_flags } = segment.flags() else {
        return false;
    };
    p_flags & object::elf::PF_X != 0 && segment.file_range().1 > 0
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl Tally {
    fn assert_equal(&self) {
        eprintln!(
            "{} files, {} addresses: {} equal, {} without a rule, {} of known code, unsupported {:?}",
            self.files, self.addresses, self.equal, self.none, self.known, self.unsupported
        );
        let some = &self.wrong[..self.wrong.len().min(20)];
        assert!(some.is_empty(), "{} wrong: {some:#?}", self.wrong.len());
        assert!(
            self.files > 0 && self.equal > self.addresses / 2,
            "{self:?}"
        );
    }
}

/// What this process runs, and programs that every system has.
fn ordinary_files() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").expect("this process has mappings");
    let mut files: Vec<PathBuf> = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
        .collect();
    let programs = fs::read_dir("/usr/bin").expect("programs");
    let mut programs: Vec<_> = programs.flatten().map(|entry| entry.path()).collect();
    programs.sort();
    let small = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() < 4 << 20)
    };
    files.extend(programs.into_iter().filter(small).take(150));
    files.dedup();
    files
}

#[test]
fn rules_are_what_gimli_evaluates() {
    let (files, samples) = match env::var_os("FATHOM_UNWIND_FILES") {
        Some(list) => {
            let list = fs::read_to_string(list).expect("a list of files");
            (list.lines().map(PathBuf::from).collect(), 20_000)
        }
        None => (ordinary_files(), 2_000),
    };
    let mut tally = Tally::default();
    for path in files {
        if let Ok(bytes) = fs::read(&path) {
            compare(&path.to_string_lossy(), &bytes, samples, &mut tally);
        }
    }
    tally.assert_equal();
}
