//! A unit's line table: from an address to file, line and column.

mod header;
mod program;
mod rows;

use super::{
    context::Context,
    cursor::Cursor,
    name::{Name, Place, Strings},
    text,
};
use crate::Error;

pub(super) use self::rows::Row;

/// The rows of a line table, and the names of its files.
#[derive(Debug)]
pub(super) struct Lines {
    rows: rows::Rows,
    files: Files,
}

/// The names of a line table's files, as its header has them.
#[derive(Debug)]
struct Files {
    /// Before version 5 the first file has the number 1, and directory 0 is the unit's.
    version: u16,
    directories: Box<[Name]>,
    all: Box<[File]>,
    /// The header with the strings that lie in it; names there are offsets into it.
    inline: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
struct File {
    name: Name,
    directory: u32,
}

impl Lines {
    /// Reads the line table of a unit; `None` when it has none.
    pub(super) fn read(context: &Context) -> Result<Option<Self>, Error> {
        let Some(offset) = context.root.lines else {
            return Ok(None);
        };
        let section = &context.linked.line;
        let size = section.size()?;
        let malformed = |why: &str| section.malformed(format!("the table at {offset:#x}: {why}"));
        let mut start = [0; 12];
        let here = size.saturating_sub(offset).min(12) as usize;
        section.read(offset, &mut start[..here])?;
        let mut cursor = Cursor::new(&start[..here], context.endian());
        let length = cursor
            .initial_length()
            .and_then(|(length, _)| length.checked_add(cursor.at() as u64))
            .filter(|&length| length <= size - offset)
            .ok_or_else(|| malformed("it is cut short"))?;
        let mut work = context.linked.scratch.borrow();
        let bytes = work.bytes(section.within_limit(length)?);
        section.read(offset, bytes)?;
        let mut cursor = Cursor::new(bytes, context.endian());
        let (header, files) =
            header::Header::read(&mut cursor, context.header.encoding).map_err(malformed)?;
        let mut rows = rows::Rows::new(bytes.len() - header.program, context.discarded());
        program::run(&header, cursor, &mut rows).map_err(malformed)?;
        rows.finish();
        Ok(Some(Self { rows, files }))
    }

    /// The row of an address.
    pub(super) fn find(&self, address: u64) -> Option<Row> {
        self.rows.find(address)
    }

    /// Whether the table has a file with this number.
    pub(super) fn has_file(&self, number: u32) -> bool {
        self.files.get(number).is_some()
    }

    /// The path of a file, by its number in the table; empty for one that the table doesn't have.
    pub(super) fn path(&self, number: u32, context: &Context) -> Result<String, Error> {
        match self.files.get(number) {
            Some(file) => self.files.path(file, context),
            None => Ok(String::new()),
        }
    }

    /// Bytes of memory that this takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.rows.bytes()
            + self.files.all.len() * size_of::<File>()
            + self.files.directories.len() * size_of::<Name>()
            + self.files.inline.len()
    }
}

impl Files {
    /// Whether strings lie in the header.
    fn has_inline(&self) -> bool {
        let is_inline = |name: Name| matches!(name.place(), Place::String(Strings::Inline, _));
        self.directories.iter().any(|&name| is_inline(name))
            || self.all.iter().any(|file| is_inline(file.name))
    }

    fn get(&self, number: u32) -> Option<&File> {
        let index = number as usize;
        match self.version {
            5 => self.all.get(index),
            _ => self.all.get(index.checked_sub(1)?),
        }
    }

    /// The header was read up to the string's end before.
    fn inline_string(&self, offset: u64) -> String {
        let string = self.inline.get(offset as usize..).unwrap_or_default();
        let end = memchr::memchr(0, string).unwrap_or(0);
        String::from_utf8_lossy(&string[..end]).into_owned()
    }

    /// A file's path: its directory and the unit's before it, where it is relative.
    fn path(&self, file: &File, context: &Context) -> Result<String, Error> {
        let string = |name: Name| match name.place() {
            Place::String(Strings::Inline, offset) => Ok(self.inline_string(offset)),
            Place::String(strings, offset) => text::read(&context.linked, strings, offset),
            _ => Ok(String::new()),
        };
        let name = string(file.name)?;
        if is_absolute(&name) {
            return Ok(name);
        }
        let index = file.directory as usize;
        let directory = match self.version {
            5 => self.directories.get(index),
            _ => index
                .checked_sub(1)
                .and_then(|index| self.directories.get(index)),
        };
        let directory = match directory {
            Some(&directory) => string(directory)?,
            None => String::new(),
        };
        let mut path = match context.root.directory {
            // In version 5 the first directory is the unit's own.
            Some(text) if !is_absolute(&directory) && (self.version < 5 || index > 0) => {
                text::of_root(context, text)?
            }
            _ => String::new(),
        };
        append(&mut path, &directory);
        append(&mut path, &name);
        Ok(path)
    }
}

/// On any system: the file may come from another one.
fn is_absolute(path: &str) -> bool {
    match path.as_bytes() {
        [b'/', ..] | [b'\\', b'\\', ..] => true,
        [drive, b':', b'/' | b'\\', ..] => drive.is_ascii_alphabetic(),
        _ => false,
    }
}

fn append(path: &mut String, part: &str) {
    if part.is_empty() {
        return;
    }
    if path.ends_with('/') {
        path.push_str(part.trim_start_matches('/'));
        return;
    }
    if !path.is_empty() && !part.starts_with('/') {
        path.push('/');
    }
    path.push_str(part);
}
