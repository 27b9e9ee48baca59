//! Names and paths that are handed out, and read only if somebody wants to.

use super::{
    context::Context,
    file::File,
    form::Text,
    lines::Lines,
    name::{Name, Place, Strings},
    unit::Unit,
};
use crate::{
    Error,
    elf::{sections::Section, windows::Windows},
};

/// A name or a path. It is known which one it is before it is read: who keeps what they made of a text finds it by [`Self::id`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct DwarfText<'a> {
    id: TextId,
    unit: &'a Unit,
    place: At<'a>,
}

/// Says which text it is. Of one [`Dwarf`](super::Dwarf), the same id is the same text; two ids may have the same text, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TextId(u32, u64);

#[derive(Clone, Copy, Debug)]
enum At<'a> {
    Name(Strings, u64),
    File(&'a Lines, u32),
}

/// The id of what lies in the file itself, and not in one unit's.
const SHARED: u32 = u32::MAX;
/// The longest string; names of templates have some thousand bytes.
const MAX_STRING: usize = 1 << 20;
/// How much of a section is read to find a string's end; the next try takes eight times as much.
const STRING_AT_FIRST: usize = 256;

impl<'a> DwarfText<'a> {
    /// A name in the unit with a number; `None` for one that nobody knows.
    pub(super) fn name(number: u32, unit: &'a Unit, name: Name) -> Option<Self> {
        let Place::String(strings, offset) = name.place() else {
            return None;
        };
        let space = if unit.context.is_split() {
            number
        } else {
            SHARED
        };
        Some(Self {
            id: TextId(space, name.id()),
            unit,
            place: At::Name(strings, offset),
        })
    }

    /// A file of the line table of the unit with a number.
    pub(super) fn file(number: u32, unit: &'a Unit, lines: &'a Lines, file: u32) -> Self {
        Self {
            id: TextId(number, u64::from(file)),
            unit,
            place: At::File(lines, file),
        }
    }

    /// Which one it is.
    pub(crate) fn id(&self) -> TextId {
        self.id
    }

    /// The text. What is not UTF-8 in it is replaced. `windows` are only of this file's texts.
    ///
    /// # Errors
    /// When it can't be read, or has no end.
    pub(crate) fn read(&self, windows: &mut Windows) -> Result<String, Error> {
        let context = &self.unit.context;
        match self.place {
            At::File(lines, number) => lines.path(number, context),
            // In another file there are others at the same place; and what was unpacked needs no windows.
            At::Name(Strings::Str, offset)
                if !context.is_split() && !context.file.str.is_packed() =>
            {
                let section = &context.file.str;
                let read = |from, into: &mut [u8]| section.read(from, into);
                match windows.string(offset, section.size()?, read)? {
                    Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
                    None => string(section, offset),
                }
            }
            At::Name(strings, offset) => read(&context.file, strings, offset),
        }
    }
}

/// A string that a unit's root has.
pub(super) fn of_root(context: &Context, text: Text) -> Result<String, Error> {
    match context.string(text, 0)?.place() {
        Place::String(strings, offset) => read(&context.file, strings, offset),
        _ => Ok(String::new()),
    }
}

/// The string at an offset of one of a file's sections.
pub(super) fn read(file: &File, strings: Strings, offset: u64) -> Result<String, Error> {
    let of_other = |section: fn(&File) -> &Section| match file.supplementary()? {
        Some(other) => string(section(&other.file), offset),
        None => Ok(String::new()),
    };
    match strings {
        Strings::Str => string(&file.str, offset),
        // A few kilobytes of file names that are asked for again and again.
        Strings::LineStr => file.line_str.view()?.string(offset),
        Strings::Inline => string(&file.info, offset),
        Strings::SupplementaryStr => of_other(|other| &other.str),
        Strings::SupplementaryLineStr => of_other(|other| other.line_str.section()),
        Strings::SupplementaryInline => of_other(|other| &other.info),
    }
}

/// The string at an offset, up to its zero.
fn string(section: &Section, offset: u64) -> Result<String, Error> {
    let left = section.size()?.saturating_sub(offset);
    let mut small = [0; STRING_AT_FIRST];
    let mut large = Vec::new();
    let mut length = STRING_AT_FIRST;
    loop {
        let here = left.min(length as u64) as usize;
        let bytes = match length {
            STRING_AT_FIRST => &mut small[..here],
            _ => {
                large.resize(here, 0);
                &mut large[..]
            }
        };
        section.read(offset, bytes)?;
        if let Some(end) = memchr::memchr(0, bytes) {
            return Ok(String::from_utf8_lossy(&bytes[..end]).into_owned());
        }
        if here < length || length >= MAX_STRING {
            return Err(section.malformed(format!("the string at {offset:#x} does not end")));
        }
        length *= 8;
    }
}
