//! The entries of `.eh_frame` and `.debug_frame`: which addresses each is for, and the rows that it makes.
//!
//! Formats: LSB Core, chapter "Exception Frames"; DWARF 5, section 6.4. gimli reads the entries and runs their instructions;
//! what it does not do is go on behind a terminator, which linkers leave in the middle, and behind an entry it does not know.

use std::ops::Range;

use gimli::{
    BaseAddresses, EndianSlice, Error, LittleEndian, UnwindContext, UnwindOffset, UnwindSection,
    UnwindTable, UnwindTableRow,
};

use super::{
    rule::{Machine, Rule, Unsupported},
    translate::{Translated, Translator},
};

/// The bytes of a section.
pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// A frame description entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fde {
    pub(super) start: u64,
    /// Where it is in its section: of entries for the same addresses the first counts.
    offset: u32,
    length: u32,
}

impl Fde {
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.length))
    }
}

/// A section and its entries by address.
pub(super) struct Frames<'a, Section> {
    section: Section,
    bytes: &'a [u8],
    bases: BaseAddresses,
    context: UnwindContext<usize, Storage>,
    pub(super) fdes: Vec<Fde>,
    /// Entries whose addresses are not known ([`Unsupported::Encoding`]).
    pub(super) unknown: u64,
    /// Entries that are not for code of this file: what a linker has left out.
    pub(super) elsewhere: u64,
}

/// gimli's own storage remembers three states; hand-written assembly has been seen with more.
#[derive(Debug)]
pub(super) struct Storage;

impl gimli::UnwindContextStorage<usize> for Storage {
    type Rules = [(gimli::Register, gimli::RegisterRule<usize>); 192];
    type Stack = Box<[UnwindTableRow<usize, Self>; 16]>;
}

/// The longest common information entry. Each FDE has its own one run first: without a bound a hostile file could have a long
/// one run for each of many short FDEs. The longest of 3,860 files has 56 bytes.
const MAX_CIE: usize = 512;

impl<'a, Section: UnwindSection<Bytes<'a>>> Frames<'a, Section> {
    /// Reads all entries. `is_text` tells which addresses are code. With `is_open` the section ends at its first terminator.
    ///
    /// # Errors
    /// Says why the section can't be read.
    pub(super) fn read(
        section: Section,
        bytes: &'a [u8],
        bases: BaseAddresses,
        is_open: bool,
        is_text: impl Fn(u64) -> bool,
    ) -> Result<Self, String> {
        let mut frames = Self {
            section,
            bytes,
            bases,
            context: UnwindContext::new_in(),
            fdes: Vec::new(),
            unknown: 0,
            elsewhere: 0,
        };
        let mut at = 0;
        while at < bytes.len() {
            let size = entry_size(bytes, at)?;
            if size == TERMINATOR {
                if is_open {
                    break;
                }
            } else {
                frames.take(at, &is_text)?;
            }
            at += size;
        }
        frames.fdes.sort_unstable();
        Ok(frames)
    }

    fn take(&mut self, at: usize, is_text: &impl Fn(u64) -> bool) -> Result<(), String> {
        let fde = match self.parse(at) {
            Ok(Some(fde)) => fde,
            Ok(None) => return Ok(()),
            Err(error) if is_unknown(&error) => {
                self.unknown += 1;
                return Ok(());
            }
            Err(error) => return Err(entry_error(at, error)),
        };
        if fde.len() == 0 {
            return Ok(());
        }
        if !is_text(fde.initial_address()) {
            self.elsewhere += 1;
            return Ok(());
        }
        self.fdes.push(Fde {
            start: fde.initial_address(),
            // Sections of 4 GiB and more are refused when they are read; text is shorter than that.
            offset: u32::try_from(at).map_err(|_| "it has 4 GiB or more".to_owned())?,
            length: u32::try_from(fde.len()).unwrap_or(u32::MAX),
        });
        Ok(())
    }

    /// The entry at an offset; `None` for a common information entry, which is read with those that use it.
    fn parse(&self, at: usize) -> Result<Option<gimli::FrameDescriptionEntry<Bytes<'a>>>, Error> {
        let partial = match self
            .section
            .partial_fde_from_offset(&self.bases, Section::Offset::from(at))
        {
            Err(Error::NotCiePointer(_)) => return Ok(None),
            other => other?,
        };
        let cie_at = UnwindOffset::into(partial.cie_offset());
        if entry_size(self.bytes, cie_at).is_ok_and(|size| size > MAX_CIE) {
            return Err(Error::OffsetOutOfBounds(cie_at as u64));
        }
        partial.parse(Section::cie_from_offset).map(Some)
    }

    /// Runs an entry's instructions. `each` gets the rules for its addresses, in their order and without a hole.
    ///
    /// # Errors
    /// Says why the entry can't be read.
    pub(super) fn rows(
        &mut self,
        fde: &Fde,
        machine: Machine,
        mut each: impl FnMut(Range<u64>, Translated),
    ) -> Result<(), String> {
        let at = fde.offset as usize;
        let parsed = match self.parse(at) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(()),
            Err(error) => return Err(entry_error(at, error)),
        };
        let translator = Translator::new(machine, &self.section, parsed.cie());
        let mut from = fde.start;
        let table = UnwindTable::new(&self.section, &self.bases, &mut self.context, &parsed);
        let outcome = table.and_then(|mut table| {
            while let Some(row) = table.next_row()? {
                each(row.start_address()..row.end_address(), translator.rule(row));
                from = row.end_address();
            }
            Ok(())
        });
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if is_meaningless(&error) => {
                let rule = Rule::Unsupported(Unsupported::Instruction);
                if from < fde.end() {
                    each(from..fde.end(), rule.into());
                }
                Ok(())
            }
            Err(error) => Err(entry_error(at, error)),
        }
    }
}

fn entry_error(at: usize, error: Error) -> String {
    match error {
        Error::OffsetOutOfBounds(cie) => {
            format!("the entry at {at:#x}: no common information entry at {cie:#x}")
        }
        _ => format!("the entry at {at:#x}: {error}"),
    }
}

/// The size of a terminator: a length of zero and nothing behind it.
const TERMINATOR: usize = 4;

/// The bytes that an entry takes, with its length.
fn entry_size(bytes: &[u8], at: usize) -> Result<usize, String> {
    let short = || format!("the entry at {at:#x} is cut short");
    let rest = bytes.get(at..).unwrap_or_default();
    let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let (head, length) = match u32::from_le_bytes(*length) {
        u32::MAX => {
            let length = behind.first_chunk::<8>().ok_or_else(short)?;
            (12, u64::from_le_bytes(*length))
        }
        length => (4, u64::from(length)),
    };
    usize::try_from(length)
        .ok()
        .filter(|&length| length <= rest.len() - head)
        .map(|length| head + length)
        .ok_or_else(short)
}

/// What makes an entry's addresses unknown, though its bytes are whole.
fn is_unknown(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownAugmentation
            | Error::UnknownVersion(_)
            | Error::UnknownPointerEncoding(_)
            | Error::UnsupportedPointerEncoding(_)
            | Error::UnsupportedIndirectPointer
            | Error::UnsupportedAddressSize(_)
            | Error::UnsupportedSegmentSize(_)
            | Error::UnsupportedRegister(_)
            | Error::PcRelativePointerButSectionBaseIsUndefined
            | Error::TextRelativePointerButTextBaseIsUndefined
            | Error::DataRelativePointerButDataBaseIsUndefined
            | Error::FuncRelativePointerInBadContext
            | Error::CannotParseOmitPointerEncoding
    )
}

/// What an instruction can be though its bytes are whole.
fn is_meaningless(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownCallFrameInstruction(_)
            | Error::CfiInstructionInInvalidContext
            | Error::PopWithEmptyStack
            | Error::StackFull
            | Error::TooManyRegisterRules
            | Error::InvalidCfiSetLoc(_)
            | Error::AddressOverflow
    ) || is_unknown(error)
}
