//! Files that contradict themselves: an error that names the section, or an answer without what is wrong; never a panic, and never
//! more work or memory than the file has bytes for.

#[path = "../../../../fuzz/checks/unwind/image.rs"]
#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the tests of unwind tables take more of it, and have it too"
)]
mod image;

use std::{fs, sync::Arc};

use gimli::constants as dw;
use image::Image;

use super::{
    super::{Dwarf, DwarfFrame, Named},
    Beside, C, LIMIT,
    built::{Program, Tool},
};
use crate::{
    Error,
    elf::sections::{self, Sections},
};

const CODE: u64 = 0x40_1000;

/// A unit of version 4 with 64-bit addresses, and the abbreviations and other sections that it takes.
#[derive(Default)]
struct Unit {
    abbreviations: Vec<u8>,
    entries: Vec<u8>,
    others: Vec<(&'static str, Vec<u8>)>,
    /// Units before it.
    before: Vec<u8>,
}

impl Unit {
    /// A root over 0x1000 bytes of code, with the abbreviation 1 and a line table at 0.
    fn new() -> Self {
        let unit = Self::default().abbreviation(
            1,
            dw::DW_TAG_compile_unit,
            true,
            &[
                (dw::DW_AT_low_pc, dw::DW_FORM_addr),
                (dw::DW_AT_high_pc, dw::DW_FORM_data4),
                (dw::DW_AT_stmt_list, dw::DW_FORM_sec_offset),
            ],
        );
        unit.entry(&[1])
            .entry(&CODE.to_le_bytes())
            .entry(&0x1000_u32.to_le_bytes())
            .entry(&0_u32.to_le_bytes())
    }

    fn abbreviation(
        mut self,
        code: u8,
        tag: gimli::DwTag,
        has_children: bool,
        attributes: &[(gimli::DwAt, gimli::DwForm)],
    ) -> Self {
        let table = &mut self.abbreviations;
        table.extend([code, tag.0 as u8, u8::from(has_children)]);
        for (name, form) in attributes {
            table.extend([name.0 as u8, form.0 as u8]);
        }
        table.extend([0, 0]);
        self
    }

    fn entry(mut self, bytes: &[u8]) -> Self {
        self.entries.extend(bytes);
        self
    }

    fn section(mut self, name: &'static str, bytes: &[u8]) -> Self {
        self.others.push((name, bytes.to_vec()));
        self
    }

    /// Where the next entry is, from the unit's header on.
    fn here(&self) -> u32 {
        11 + self.entries.len() as u32
    }

    fn open(mut self) -> Result<Dwarf, Error> {
        self.abbreviations.push(0);
        let mut info = (self.entries.len() as u32 + 7).to_le_bytes().to_vec();
        info.extend([4, 0, 0, 0, 0, 0, 8]);
        info.extend(&self.entries);
        info.splice(0..0, self.before);
        let mut image = Image::new(0x1000).with(".debug_info", 0, info).with(
            ".debug_abbrev",
            0,
            self.abbreviations,
        );
        for (name, bytes) in self.others {
            image = image.with(name, 0, bytes);
        }
        open(image.bytes())
    }
}

fn open(bytes: Vec<u8>) -> Result<Dwarf, Error> {
    let sections = Sections::open(sections::Image::Memory(bytes.into()), "f", LIMIT)?;
    let nothing = Beside(std::env::temp_dir().join("no such folder"));
    Dwarf::open(sections, Arc::new(nothing)).map(|dwarf| dwarf.expect("some"))
}

/// What the frames at the code's beginning are: whether each has a name.
fn frames(dwarf: &Dwarf) -> Result<Vec<bool>, Error> {
    let mut frames = Vec::new();
    dwarf
        .visit()
        .frames(CODE, Named::All, &mut |frame: DwarfFrame<'_>| {
            frames.push(frame.name.is_some())
        })?;
    Ok(frames)
}

/// A line table of version 4 without rows.
fn no_lines() -> Vec<u8> {
    let mut table = 17_u32.to_le_bytes().to_vec();
    table.extend([4, 0]);
    table.extend(11_u32.to_le_bytes());
    table.extend([1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0]);
    table
}

fn function(unit: Unit, code: u8, attribute: gimli::DwAt) -> Unit {
    unit.abbreviation(
        code,
        dw::DW_TAG_subprogram,
        true,
        &[
            (dw::DW_AT_low_pc, dw::DW_FORM_addr),
            (dw::DW_AT_high_pc, dw::DW_FORM_data4),
            (attribute, dw::DW_FORM_ref4),
        ],
    )
}

fn names_section(error: &Error, section: &str) {
    let text = error.to_string();
    assert!(text.starts_with("f: ") && text.contains(section), "{text}");
}

#[test]
fn origins_in_a_circle() {
    let unit = function(Unit::new(), 2, dw::DW_AT_abstract_origin);
    let here = unit.here();
    let dwarf = unit
        .section(".debug_line", &no_lines())
        .entry(&[2])
        .entry(&CODE.to_le_bytes())
        .entry(&8_u32.to_le_bytes())
        .entry(&here.to_le_bytes())
        .entry(&[0, 0])
        .open()
        .expect("a file");
    assert_eq!(frames(&dwarf).expect("an answer"), [false]);
}

#[test]
fn inlined_calls_without_end() {
    let mut unit = function(Unit::new(), 2, dw::DW_AT_specification)
        .section(".debug_line", &no_lines())
        .abbreviation(
            3,
            dw::DW_TAG_inlined_subroutine,
            true,
            &[
                (dw::DW_AT_low_pc, dw::DW_FORM_addr),
                (dw::DW_AT_high_pc, dw::DW_FORM_data1),
            ],
        )
        .entry(&[2])
        .entry(&CODE.to_le_bytes())
        .entry(&8_u32.to_le_bytes())
        .entry(&[0; 4]);
    for _ in 0..100_000 {
        unit = unit.entry(&[3]).entry(&CODE.to_le_bytes()).entry(&[8]);
    }
    let dwarf = unit.open().expect("a file");
    let frames = frames(&dwarf).expect("an answer");
    // The innermost one, and those that are kept apart within one another.
    assert!(
        frames.len() > 100 && frames.len() < 1000,
        "{}",
        frames.len()
    );
}

#[test]
fn the_same_ranges_over_and_over() {
    let mut unit = function(Unit::new(), 2, dw::DW_AT_specification)
        .section(".debug_line", &no_lines())
        .abbreviation(
            3,
            dw::DW_TAG_inlined_subroutine,
            false,
            &[(dw::DW_AT_ranges, dw::DW_FORM_sec_offset)],
        )
        .entry(&[2])
        .entry(&CODE.to_le_bytes())
        .entry(&8_u32.to_le_bytes())
        .entry(&[0; 4]);
    for _ in 0..20_000 {
        unit = unit.entry(&[3, 0, 0, 0, 0]);
    }
    let mut ranges = Vec::new();
    for range in 1..20_000_u64 {
        ranges.extend(range.to_le_bytes());
        ranges.extend((range + 1).to_le_bytes());
    }
    ranges.extend([0; 16]);
    let dwarf = unit
        .section(".debug_ranges", &ranges)
        .open()
        .expect("a file");
    names_section(&frames(&dwarf).expect_err("too many"), ".debug_ranges");
}

#[test]
fn more_files_than_bytes() {
    // Version 5, a directory table without a format, and 127 or 2^35 entries of it.
    for (count, why) in [
        ([0x7f, 0, 0, 0, 0, 0], "no parts"),
        ([0x80, 0x80, 0x80, 0x80, 0x80, 1], "too many files"),
    ] {
        let mut table = [5, 0, 8, 0].to_vec();
        table.extend(17_u32.to_le_bytes());
        table.extend([1, 1, 1, 0, 1, 1, 0]);
        table.extend(count);
        table.extend([0; 8]);
        table.splice(0..0, (table.len() as u32).to_le_bytes());
        let dwarf = Unit::new().section(".debug_line", &table).open();
        let error = frames(&dwarf.expect("a file")).expect_err("too many");
        names_section(&error, ".debug_line");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn abbreviations_that_say_nothing() {
    let error = Unit::new()
        .section(".debug_line", &no_lines())
        .entry(&[77])
        .open()
        .and_then(|dwarf| frames(&dwarf));
    names_section(&error.expect_err("unknown"), ".debug_info");
    let unit = Unit {
        abbreviations: vec![1, 0x11, 1, 0x11],
        ..Unit::new()
    };
    let error = unit.open().and_then(|dwarf| frames(&dwarf));
    names_section(&error.expect_err("cut short"), ".debug_abbrev");
}

/// One that can't be read is between an address and its answer only where no other unit has it.
#[test]
fn a_unit_costs_nothing_of_the_others() {
    // Addresses of three bytes; a root with an abbreviation that is none; and one whose root is not there.
    let units: [&[u8]; 3] = [
        &[7, 0, 0, 0, 4, 0, 0, 0, 0, 0, 3],
        &[8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8, 99],
        &[7, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8],
    ];
    for count in 1..=units.len() {
        let unit = Unit {
            before: units[..count].concat(),
            ..function(Unit::new(), 2, dw::DW_AT_specification)
        };
        let dwarf = unit
            .section(".debug_line", &no_lines())
            .entry(&[2])
            .entry(&CODE.to_le_bytes())
            .entry(&8_u32.to_le_bytes())
            .entry(&[0; 6])
            .open()
            .expect("a file");
        assert_eq!(frames(&dwarf).expect("an answer"), [false]);
        let elsewhere = dwarf.visit().frames(CODE / 2, Named::All, &mut |_| ());
        let error = elsewhere.expect_err("it may be one of those");
        names_section(&error, ".debug_info");
        let said = match count {
            1 => "a unit can't be read: f: .debug_info: a unit's address size".to_owned(),
            count => format!("{count} units can't be read: f: .debug_info: a unit's address size"),
        };
        assert!(error.to_string().contains(&said), "{error}");
    }
}

#[test]
fn what_ends_before_it_should() {
    let program = Program::build(Tool::C, C, "-O2 -g");
    let whole = fs::read(program.path()).expect("the program");
    let headers = whole.len() - 64 * 40;
    let (mut answers, mut errors) = (0, 0);
    for length in (0..whole.len()).step_by(97) {
        // The section headers stay, wherever they are; what they lead to is gone.
        let mut bytes = whole.clone();
        if length < headers {
            bytes.drain(length..headers);
        } else {
            bytes.truncate(length);
        }
        let Ok(sections) = Sections::open(sections::Image::Memory(bytes.into()), "f", LIMIT) else {
            errors += 1;
            continue;
        };
        let nothing = Beside(program.folder().to_owned());
        match Dwarf::open(sections, Arc::new(nothing)) {
            Ok(Some(dwarf)) => {
                for address in program.code().step_by(16) {
                    match dwarf.visit().frames(address, Named::All, &mut |_| ()) {
                        Ok(_) => answers += 1,
                        Err(error) => {
                            names_section(&error, ".debug_");
                            errors += 1;
                        }
                    }
                }
            }
            Ok(None) => {}
            Err(error) => {
                names_section(&error, ".debug_");
                errors += 1;
            }
        }
    }
    assert!(errors > 10, "{errors} errors, {answers} answers");
}
