//! What of an ELF file is needed to make tables: its text, and its call frame information.

use std::ops::Range;

use object::{
    Endianness, elf, pod,
    read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _},
};

use super::{go, rule::Machine, v8};
use crate::{
    Error,
    elf::{
        Class, Headers,
        packing::{Packing, Unpackable, unpack},
        source::Source,
    },
};

/// A file's parts.
pub(super) struct Image<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) machine: Machine,
    /// Where the program begins.
    pub(super) entry: u64,
    /// Executable segments by address; none overlaps another.
    pub(super) text: Vec<Text>,
    /// A Go program: its own code keeps frame pointers.
    pub(super) is_go: bool,
    /// The functions of Go's runtime that its tables describe wrongly.
    pub(super) special: Vec<(Range<u64>, go::Special)>,
    /// The functions that V8 brings compiled, which keep frame pointers.
    pub(super) builtins: Vec<Range<u64>>,
    /// It names no other file that it needs: a C library, or a program that holds its own.
    pub(super) stands_alone: bool,
    pub(super) eh_frame: Option<Part>,
    pub(super) debug_frame: Option<Part>,
    /// Procedure linkage tables.
    pub(super) stubs: Vec<Part>,
}

/// A segment of code.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) addresses: Range<u64>,
    pub(super) offset: u64,
}

/// A section, not read yet.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) address: u64,
    offset: u64,
    size: u64,
    packing: Packing,
    /// Its end is not known: it ends at its first terminator.
    pub(super) is_open: bool,
}

/// What position-dependent code of x86-64 and aarch64 reaches: no file has more text.
const MAX_TEXT: u64 = 1 << 31;
/// Above all that a process can map on either machine; sums with an address of code stay below 2^64.
const MAX_ADDRESS: u64 = 1 << 62;
/// More than any linker writes of the dynamic section and a procedure linkage table.
const MAX_SMALL_PART: u64 = 1 << 24;

type Header = elf::FileHeader64<Endianness>;
type SectionHeader = elf::SectionHeader64<Endianness>;

impl<'a> Image<'a> {
    pub(super) fn read(source: &'a Source<'a>) -> Result<Self, Error> {
        check_kind(source)?;
        let headers = Headers::<Header>::read(source)?;
        let endian = headers.endian;
        let machine = match headers.header.e_machine(endian) {
            elf::EM_X86_64 => Machine::X86_64,
            elf::EM_AARCH64 => Machine::Aarch64,
            other => return Err(not_unwindable(source, format!("of machine {other}"))),
        };
        if !matches!(headers.header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
            return Err(not_unwindable(
                source,
                "neither executable nor shared object".to_owned(),
            ));
        }
        let mut image = Self {
            source,
            machine,
            entry: headers.header.e_entry(endian),
            text: text(source, &headers)?,
            is_go: false,
            special: Vec::new(),
            builtins: Vec::new(),
            stands_alone: stands_alone(source, &headers)?,
            eh_frame: None,
            debug_frame: None,
            stubs: Vec::new(),
        };
        let has_sections = image.find_sections(&headers)?;
        if !has_sections {
            image.eh_frame = eh_frame_by_segment(source, &headers)?;
        }
        Ok(image)
    }

    /// Whether there are any.
    fn find_sections(&mut self, headers: &Headers<'_, Header>) -> Result<bool, Error> {
        let endian = headers.endian;
        let bytes = headers.sections()?;
        let sections: &[SectionHeader] = pod::slice_from_all_bytes(&bytes).unwrap_or_default();
        let Some(names) = headers.section_names(sections)? else {
            return Ok(false);
        };
        for section in sections {
            if section.sh_flags(endian) & u64::from(elf::SHF_EXECINSTR) != 0
                && section.sh_type(endian) == elf::SHT_NOBITS
            {
                return Err(not_unwindable(
                    self.source,
                    "debug information without the code".to_owned(),
                ));
            }
            let name = names.at(section.sh_name(endian));
            self.take(name, section, endian);
        }
        if self.is_go {
            self.special = go::special(self.source, endian, sections)?;
        }
        // Symbols that can't be read take nothing away from the tables.
        self.builtins = v8::builtins(self.source, endian, sections).unwrap_or_default();
        Ok(true)
    }

    fn take(&mut self, name: &[u8], section: &SectionHeader, endian: Endianness) {
        if matches!(
            name,
            b".gopclntab" | b".data.rel.ro.gopclntab" | b".note.go.buildid"
        ) {
            self.is_go = true;
            return;
        }
        let name = match name {
            b".eh_frame" => ".eh_frame",
            b".debug_frame" => ".debug_frame",
            b".zdebug_frame" => ".zdebug_frame",
            b".plt" => ".plt",
            b".plt.sec" => ".plt.sec",
            b".plt.got" => ".plt.got",
            b".iplt" => ".iplt",
            _ => return,
        };
        let Some((offset, size)) = section.file_range(endian).filter(|&(_, size)| size > 0) else {
            return;
        };
        let packing = Packing::of(name, section.sh_flags(endian));
        let part = Part {
            name,
            address: section.sh_addr(endian),
            offset,
            size,
            packing,
            is_open: false,
        };
        match name {
            ".eh_frame" => self.eh_frame = Some(part),
            ".debug_frame" | ".zdebug_frame" => self.debug_frame = Some(part),
            _ => self.stubs.push(part),
        }
    }

    /// The segment of code that holds an address.
    pub(super) fn text_at(&self, address: u64) -> Option<&Text> {
        let behind = self
            .text
            .partition_point(|text| text.addresses.start <= address);
        self.text[..behind]
            .last()
            .filter(|text| text.addresses.contains(&address))
    }

    /// The bytes of code from an address on, as many as are wanted or there are.
    pub(super) fn code(&self, address: u64, wanted: u64) -> Result<Vec<u8>, Error> {
        let Some(text) = self.text_at(address) else {
            return Ok(Vec::new());
        };
        let wanted = wanted.min(text.addresses.end - address);
        let offset = text.offset + (address - text.addresses.start);
        self.source.read("the code", offset, wanted)
    }
}

impl Part {
    /// Its bytes, unpacked.
    pub(super) fn read(&self, source: &Source<'_>) -> Result<Vec<u8>, Error> {
        let what = self.what();
        let bytes = source.read(what, self.offset, self.size)?;
        if self.packing == Packing::None {
            return Ok(bytes);
        }
        let limit = source.limit();
        let unpacked = unpack(
            self.packing,
            &bytes,
            Endianness::Little,
            Class::Elf64,
            limit,
        );
        unpacked.map_err(|why| match why {
            Unpackable::Malformed(why) => Error::malformed(source.name(), what, why),
            Unpackable::TooLarge(size) => Error::TooLarge {
                file: source.name().to_owned(),
                what,
                size,
                limit,
            },
        })
    }

    /// What errors call it.
    pub(super) fn what(&self) -> &'static str {
        match self.name {
            ".eh_frame" => "the section .eh_frame",
            ".debug_frame" | ".zdebug_frame" => "the section .debug_frame",
            _ => "a procedure linkage table",
        }
    }

    /// Its addresses.
    pub(super) fn addresses(&self) -> Range<u64> {
        self.address..self.address.saturating_add(self.size)
    }
}

fn not_unwindable(source: &Source<'_>, found: String) -> Error {
    Error::NotUnwindable {
        file: source.name().to_owned(),
        found,
    }
}

fn check_kind(source: &Source<'_>) -> Result<(), Error> {
    const WHAT: &str = "the ELF header";
    let ident = source.read(WHAT, 0, source.len().min(16))?;
    if !ident.starts_with(&elf::ELFMAG) {
        return Err(Error::NotElf {
            file: source.name().to_owned(),
        });
    }
    match (ident.get(4), ident.get(5)) {
        (Some(&elf::ELFCLASS64), Some(&elf::ELFDATA2LSB)) => Ok(()),
        (Some(_), Some(_)) => Err(not_unwindable(
            source,
            "not of 64 bits, little endian".to_owned(),
        )),
        _ => Err(Error::malformed(source.name(), WHAT, "it is cut short")),
    }
}

/// The executable segments, as far as the file has bytes for them.
fn text(source: &Source<'_>, headers: &Headers<'_, Header>) -> Result<Vec<Text>, Error> {
    const WHAT: &str = "the program headers";
    let endian = headers.endian;
    let malformed = |why: String| Error::malformed(source.name(), WHAT, why);
    let mut text = Vec::new();
    let mut total = 0_u64;
    for program in headers.program_headers() {
        let (offset, size) = program.file_range(endian);
        let is_code = program.p_type(endian) == elf::PT_LOAD
            && program.p_flags(endian) & elf::PF_X != 0
            && size > 0;
        if !is_code {
            continue;
        }
        source.check("a segment of code", offset, size)?;
        let start = program.p_vaddr(endian);
        // The kernel's own file has its code there.
        let end = start
            .checked_add(size)
            .filter(|&end| end <= MAX_ADDRESS)
            .ok_or_else(|| {
                not_unwindable(
                    source,
                    format!("code at {start:#x}, where no process has any"),
                )
            })?;
        total = total.saturating_add(size);
        text.push(Text {
            addresses: start..end,
            offset,
        });
    }
    if total > MAX_TEXT {
        return Err(malformed(format!("{total} bytes of code")));
    }
    text.sort_unstable_by_key(|text| text.addresses.start);
    let overlap = text
        .windows(2)
        .any(|pair| pair[0].addresses.end > pair[1].addresses.start);
    if overlap {
        return Err(malformed("segments of code overlap".to_owned()));
    }
    Ok(text)
}

fn stands_alone(source: &Source<'_>, headers: &Headers<'_, Header>) -> Result<bool, Error> {
    let endian = headers.endian;
    for program in headers.program_headers() {
        if program.p_type(endian) != elf::PT_DYNAMIC {
            continue;
        }
        let (offset, size) = program.file_range(endian);
        let bytes = source.read("the dynamic section", offset, size.min(MAX_SMALL_PART))?;
        let needed = bytes
            .chunks_exact(16)
            .any(|entry| entry[..8] == u64::from(elf::DT_NEEDED as u32).to_le_bytes());
        if needed {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `.eh_frame` of a file whose section headers are gone: its search table says where it starts (LSB Core, chapter
/// "Exception Frame Header").
fn eh_frame_by_segment(
    source: &Source<'_>,
    headers: &Headers<'_, Header>,
) -> Result<Option<Part>, Error> {
    const WHAT: &str = "the segment of .eh_frame_hdr";
    let endian = headers.endian;
    let programs = headers.program_headers();
    let Some(program) = programs
        .iter()
        .find(|program| program.p_type(endian) == elf::PT_GNU_EH_FRAME)
    else {
        return Ok(None);
    };
    let (offset, size) = program.file_range(endian);
    let bytes = source.read(WHAT, offset, size.min(64))?;
    let bases = gimli::BaseAddresses::default().set_eh_frame_hdr(program.p_vaddr(endian));
    let address = gimli::EhFrameHdr::new(&bytes, gimli::LittleEndian)
        .parse(&bases, 8)
        .and_then(|header| header.eh_frame_ptr().direct())
        .map_err(|error| Error::malformed(source.name(), WHAT, error.to_string()))?;
    let part = programs.iter().find_map(|program| {
        let (offset, size) = program.file_range(endian);
        let into = address.checked_sub(program.p_vaddr(endian))?;
        (program.p_type(endian) == elf::PT_LOAD && into < size).then(|| Part {
            name: ".eh_frame",
            address,
            offset: offset.saturating_add(into),
            size: size - into,
            packing: Packing::None,
            is_open: true,
        })
    });
    Ok(part)
}
