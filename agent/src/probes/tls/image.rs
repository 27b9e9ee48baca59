//! An ELF file as far as TLS functions ask for it: its segments, its sections, and parts of it on demand.
//!
//! Nothing is mapped: a mapped file that is cut short by someone else ends the process that reads it (SIGBUS), while a read of it is an error.
//! Nothing is held but the headers; what is searched goes through one window of [`WINDOW`] bytes, so a file of a gigabyte costs as much memory as a small one. And
//! whatever a file says of itself, no more than [`MAX_READ`] bytes of it are read.

use std::{cell::Cell, fs::File, ops::Range, os::unix::fs::FileExt as _};

use object::{
    Endianness, elf, pod,
    read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _},
};

use super::Why;

/// How much of a part is read at a time.
pub(super) const WINDOW: usize = 256 << 10;
/// The most that is read in one piece: a function, or a table of names of sections.
const MAX_PIECE: u64 = 4 << 20;
/// The most that is read of a file in all: the names and symbols of a browser with debug information have 200 MB.
const MAX_READ: u64 = 1 << 30;
/// More headers than any linker writes: what says it has more is no file to trust.
const MAX_SEGMENTS: usize = 4096;
const MAX_SECTIONS: u64 = 1 << 16;

/// Where the bytes come from.
pub(super) enum Source<'a> {
    File(&'a File),
    Memory(&'a [u8]),
}

/// A 64-bit little-endian executable or shared library.
pub(super) struct Image<'a> {
    source: Source<'a>,
    length: u64,
    /// How much may still be read.
    left: Cell<u64>,
    /// `e_machine`.
    pub(super) machine: u16,
    pub(super) segments: Vec<Segment>,
    pub(super) sections: Vec<Section>,
}

/// What a `PT_LOAD` program header maps.
pub(super) struct Segment {
    pub(super) file: Range<u64>,
    pub(super) address: u64,
    pub(super) executable: bool,
    pub(super) writable: bool,
}

/// A section that has bytes in the file.
pub(super) struct Section {
    pub(super) name: Vec<u8>,
    pub(super) kind: u32,
    pub(super) file: Range<u64>,
    /// Which section `sh_link` names, by its place in [`Image::sections`].
    pub(super) link: usize,
}

type Header = elf::FileHeader64<Endianness>;
type ProgramHeader = elf::ProgramHeader64<Endianness>;
type SectionHeader = elf::SectionHeader64<Endianness>;

impl<'a> Image<'a> {
    pub(super) fn file(file: &'a File) -> Result<Self, Why> {
        let length = file.metadata().map_err(Why::read("the file's size"))?.len();
        Self::parse(Source::File(file), length)
    }

    pub(super) fn bytes(bytes: &'a [u8]) -> Result<Self, Why> {
        Self::parse(Source::Memory(bytes), bytes.len() as u64)
    }

    fn parse(source: Source<'a>, length: u64) -> Result<Self, Why> {
        const WHAT: &str = "the ELF header";
        let mut image = Self {
            source,
            length,
            left: Cell::new(MAX_READ),
            machine: 0,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        if length < size_of::<Header>() as u64 {
            return Err(Why::NotElf);
        }
        let bytes = image.read(WHAT, 0, size_of::<Header>() as u64)?;
        if bytes.get(..4) != Some(&elf::ELFMAG) {
            return Err(Why::NotElf);
        }
        if bytes.get(4) == Some(&elf::ELFCLASS32) {
            return Err(Why::Unsupported("32-bit code"));
        }
        if bytes.get(5) == Some(&elf::ELFDATA2MSB) {
            return Err(Why::Unsupported("big-endian code"));
        }
        let (header, _) =
            pod::from_bytes::<Header>(&bytes).map_err(|()| Why::malformed(WHAT, "cut short"))?;
        if !header.is_supported() {
            return Err(Why::malformed(WHAT, "unknown class, byte order or version"));
        }
        let endian = Endianness::Little;
        if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
            return Err(Why::Unsupported(
                "a file that is neither program nor shared library",
            ));
        }
        image.machine = header.e_machine(endian);
        image.read_segments(header)?;
        image.read_sections(header)?;
        Ok(image)
    }

    fn read_segments(&mut self, header: &Header) -> Result<(), Why> {
        const WHAT: &str = "the program headers";
        let endian = Endianness::Little;
        let count = usize::from(header.e_phnum(endian));
        if count > MAX_SEGMENTS {
            return Err(Why::malformed(WHAT, format!("{count} of them")));
        }
        let size = size_of::<ProgramHeader>();
        if count > 0 && usize::from(header.e_phentsize(endian)) != size {
            return Err(Why::malformed(WHAT, "their size is not that of ELF64"));
        }
        let bytes = self.read(WHAT, header.e_phoff(endian), (count * size) as u64)?;
        let headers: &[ProgramHeader] = pod::slice_from_all_bytes(&bytes).unwrap_or_default();
        let loaded = headers
            .iter()
            .filter(|header| header.p_type(endian) == elf::PT_LOAD);
        self.segments = loaded
            .map(|header| {
                let (start, size) = header.file_range(endian);
                Segment {
                    file: start..start.saturating_add(size),
                    address: header.p_vaddr(endian),
                    executable: header.p_flags(endian) & elf::PF_X != 0,
                    writable: header.p_flags(endian) & elf::PF_W != 0,
                }
            })
            .collect();
        Ok(())
    }

    fn read_sections(&mut self, header: &Header) -> Result<(), Why> {
        const WHAT: &str = "the section headers";
        let endian = Endianness::Little;
        let offset = header.e_shoff(endian);
        let size = size_of::<SectionHeader>() as u64;
        if offset == 0 {
            return Ok(());
        }
        if u64::from(header.e_shentsize(endian)) != size {
            return Err(Why::malformed(WHAT, "their size is not that of ELF64"));
        }
        let first = self.read(WHAT, offset, size)?;
        let first: &[SectionHeader] = pod::slice_from_all_bytes(&first).unwrap_or_default();
        let first = first.first();
        // With 65,280 sections or more their number and that of the section with their names are in the first one.
        let count = match header.e_shnum(endian) {
            0 => first.map_or(0, |first| first.sh_size(endian)),
            count => u64::from(count),
        };
        let names = match header.e_shstrndx(endian) {
            elf::SHN_XINDEX => first.map_or(0, |first| first.sh_link(endian)),
            names => u32::from(names),
        };
        if count > MAX_SECTIONS {
            return Err(Why::malformed(WHAT, format!("{count} of them")));
        }
        let bytes = self.read(WHAT, offset, count * size)?;
        let headers: &[SectionHeader] = pod::slice_from_all_bytes(&bytes).unwrap_or_default();
        let names = match headers
            .get(names as usize)
            .and_then(|names| names.file_range(endian))
        {
            Some((start, size)) => self.read("the names of the sections", start, size)?,
            None => Vec::new(),
        };
        self.sections = headers
            .iter()
            .map(|header| {
                let (start, size) = header.file_range(endian).unwrap_or_default();
                Section {
                    name: name_at(&names, header.sh_name(endian)),
                    kind: header.sh_type(endian),
                    file: start..start.saturating_add(size),
                    link: header.sh_link(endian) as usize,
                }
            })
            .collect();
        Ok(())
    }

    /// The first section of a name, with bytes in the file.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.name == name.as_bytes() && !section.file.is_empty())
    }

    /// The file offset of an address, and of code where `executable`. It lies within the file.
    pub(super) fn offset_of(&self, address: u64, executable: bool) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.executable || !executable)
            .find_map(|segment| {
                let within = address.checked_sub(segment.address)?;
                let offset = segment.file.start.checked_add(within)?;
                (offset < segment.file.end.min(self.length)).then_some(offset)
            })
    }

    /// The address that a file offset is loaded at, less the load bias.
    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        let segment = self
            .segments
            .iter()
            .find(|segment| segment.file.contains(&offset))?;
        segment.address.checked_add(offset - segment.file.start)
    }

    fn check(&self, part: &'static str, offset: u64, length: u64) -> Result<(), Why> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(Why::malformed(
                part,
                format!(
                    "{length} bytes at {offset:#x} lie beyond the file's end at {:#x}",
                    self.length
                ),
            )),
        }
    }

    /// The bytes of a small part.
    pub(super) fn read(
        &self,
        part: &'static str,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, Why> {
        self.check(part, offset, length)?;
        if length > MAX_PIECE {
            return Err(Why::TooLarge {
                part,
                size: length,
                limit: MAX_PIECE,
            });
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.fill(part, offset, &mut bytes)?;
        Ok(bytes)
    }

    fn fill(&self, part: &'static str, offset: u64, into: &mut [u8]) -> Result<(), Why> {
        let size = into.len() as u64;
        let left = self.left.get().checked_sub(size);
        self.left.set(left.ok_or(Why::TooLarge {
            part,
            size,
            limit: MAX_READ,
        })?);
        match self.source {
            Source::File(file) => file.read_exact_at(into, offset).map_err(Why::read(part)),
            Source::Memory(memory) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let from = memory
                    .get(start..start.saturating_add(into.len()))
                    .ok_or_else(|| Why::malformed(part, "cut short"))?;
                into.copy_from_slice(from);
                Ok(())
            }
        }
    }

    /// Shows a part to `see`, a window at a time with its file offset, until `see` says that it has seen enough (`true`).
    /// Neighbouring windows have `overlap` bytes in common, so that what is no longer than these is whole in one of them, and may be seen twice.
    pub(super) fn scan(
        &self,
        part: &'static str,
        range: &Range<u64>,
        overlap: usize,
        mut see: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), Why> {
        let size = range.end.saturating_sub(range.start);
        self.check(part, range.start, size)?;
        let window = WINDOW.max(2 * overlap) as u64;
        let mut bytes = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let length = window.min(range.end - at);
            bytes.resize(usize::try_from(length).unwrap_or(0), 0);
            self.fill(part, at, &mut bytes)?;
            if see(at, &bytes) || at + length == range.end {
                break;
            }
            at += length - overlap as u64;
        }
        Ok(())
    }
}

/// The NUL-terminated name at an offset of a string table, empty where there is none.
pub(super) fn name_at(names: &[u8], offset: u32) -> Vec<u8> {
    let name = names.get(offset as usize..).unwrap_or_default();
    let end = memchr::memchr(0, name).unwrap_or(0);
    name[..end].to_vec()
}
