//! The header of a line table (DWARF 5, section 6.2.4; DWARF 2 to 4, the same section).

use gimli::{DwForm, DwLnct, constants as dw};

use super::{File, Files};
use crate::dwarf::{
    cursor::Cursor,
    form::{self, Encoding, Value},
    name::Name,
};

/// What a line program's meaning depends on.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) minimum_instruction: u8,
    pub(super) maximum_operations: u8,
    pub(super) line_base: i8,
    pub(super) line_range: u8,
    pub(super) opcode_base: u8,
    /// The number of operands of each standard opcode, the one of opcode 1 first.
    pub(super) operands: Box<[u8]>,
    /// Where the program begins.
    pub(super) program: usize,
}

const CUT: &str = "its header is cut short";
/// More than any producer writes.
const MAX_FORMATS: usize = 64;
const MAX_FILES: u64 = 1 << 24;

impl Header {
    /// Reads the header that the cursor stands before, at the start of its bytes. `encoding` is the unit's.
    pub(super) fn read(
        cursor: &mut Cursor<'_>,
        encoding: Encoding,
    ) -> Result<(Self, Files), &'static str> {
        let (_, offset_size) = cursor.initial_length().ok_or(CUT)?;
        let version = cursor.u16().ok_or(CUT)?;
        if !(2..=5).contains(&version) {
            return Err("its version is not known");
        }
        let mut encoding = Encoding {
            version,
            offset: offset_size,
            ..encoding
        };
        if version == 5 {
            encoding.address = cursor.u8().ok_or(CUT)?;
            cursor.u8().ok_or(CUT)?;
        }
        let length = cursor.number(offset_size).ok_or(CUT)?;
        let program = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(cursor.at()))
            .filter(|&program| program <= cursor.end())
            .ok_or(CUT)?;
        let mut here = cursor.until(program).ok_or(CUT)?;
        let mut header = Self::fixed(&mut here, version, program).ok_or(CUT)?;
        header.operands = here
            .take(u64::from(header.opcode_base.saturating_sub(1)))
            .ok_or(CUT)?
            .into();
        let mut files = match version {
            5 => files(&mut here, encoding)?,
            _ => old_files(&mut here, version).ok_or(CUT)?,
        };
        if files.has_inline() {
            here.seek(0);
            files.inline = here.take(program as u64).ok_or(CUT)?.into();
        }
        Ok((header, files))
    }

    fn fixed(cursor: &mut Cursor<'_>, version: u16, program: usize) -> Option<Self> {
        let minimum_instruction = cursor.u8()?;
        let maximum_operations = match version {
            4.. => cursor.u8()?,
            _ => 1,
        };
        let _default_is_stmt = cursor.u8()?;
        Some(Self {
            minimum_instruction,
            maximum_operations,
            line_base: cursor.u8()?.cast_signed(),
            line_range: cursor.u8()?,
            // Opcode 0 is the extended one, whatever this says.
            opcode_base: cursor.u8()?.max(1),
            operands: Box::default(),
            program,
        })
    }
}

/// The files of version 5.
fn files(cursor: &mut Cursor<'_>, encoding: Encoding) -> Result<Files, &'static str> {
    let mut directories = Vec::new();
    table(cursor, encoding, |file| directories.push(file.name))?;
    let mut all = Vec::new();
    table(cursor, encoding, |file| all.push(file))?;
    Ok(Files {
        version: 5,
        directories: directories.into(),
        all: all.into(),
        inline: Box::default(),
    })
}

/// One table of version 5: what its entries look like, and the entries.
fn table(
    cursor: &mut Cursor<'_>,
    encoding: Encoding,
    mut each: impl FnMut(File),
) -> Result<(), &'static str> {
    let mut formats = [(DwLnct(0), DwForm(0)); MAX_FORMATS];
    let count = usize::from(cursor.u8().ok_or(CUT)?);
    let formats = formats
        .get_mut(..count)
        .ok_or("its files have too many parts")?;
    for format in &mut *formats {
        let content = cursor.uleb().ok_or(CUT)?;
        let form = cursor.uleb().ok_or(CUT)?;
        *format = (
            DwLnct(u16::try_from(content).unwrap_or(0)),
            DwForm(u16::try_from(form).unwrap_or(0)),
        );
    }
    let count = cursor.uleb().ok_or(CUT)?;
    if count > MAX_FILES {
        return Err("it has too many files");
    }
    for _ in 0..count {
        let start = cursor.at();
        let mut file = File {
            name: Name::UNKNOWN,
            directory: 0,
        };
        for &(content, form) in &*formats {
            let value = form::value(cursor, form, encoding).ok_or(CUT)?;
            match (content, value) {
                (dw::DW_LNCT_path, Value::Text(text)) => file.name = Name::string(text, 0),
                (dw::DW_LNCT_directory_index, Value::Constant(index)) => {
                    file.directory = u32::try_from(index).unwrap_or(u32::MAX);
                }
                _ => {}
            }
        }
        // Without a byte for each there would be as many as it likes.
        if cursor.at() == start {
            return Err("its files have no parts");
        }
        each(file);
    }
    Ok(())
}

/// The files of the versions before 5: strings, each with some numbers.
fn old_files(cursor: &mut Cursor<'_>, version: u16) -> Option<Files> {
    let name = |at: usize| Name::string(form::Text::Inline(at as u64), 0);
    let mut directories = Vec::new();
    loop {
        let at = cursor.at();
        if cursor.string()?.is_empty() {
            break;
        }
        directories.push(name(at));
    }
    let mut all = Vec::new();
    loop {
        let at = cursor.at();
        if cursor.string()?.is_empty() {
            break;
        }
        let directory = cursor.uleb()?;
        cursor.skip_leb()?;
        cursor.skip_leb()?;
        all.push(File {
            name: name(at),
            directory: u32::try_from(directory).unwrap_or(u32::MAX),
        });
    }
    Some(Files {
        version,
        directories: directories.into(),
        all: all.into(),
        inline: Box::default(),
    })
}
