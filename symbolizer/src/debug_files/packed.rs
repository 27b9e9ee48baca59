//! `.gnu_debugdata`: a whole ELF file with a symbol table of the functions that `.dynsym` does not have, packed by xz
//! (GDB's documentation, "Debugging information in a special section").

use std::{
    io::{Cursor, Read as _},
    num::NonZeroUsize,
};

use xz4rust::{XzDecoder, XzReader};

use super::DebugFile;
use crate::{
    Error,
    elf::{Elf, Image, Input},
};

const WHAT: &str = "the section .gnu_debugdata";
/// xz's own largest dictionary, that of `-9`.
const MAX_DICTIONARY: usize = 64 << 20;
const FIRST_DICTIONARY: usize = 1 << 16;
const BUFFER: NonZeroUsize = NonZeroUsize::new(1 << 14).expect("it is not zero");

/// The file in the section, if there is one.
///
/// # Errors
/// When it is no xz stream, unpacks to more than the input's limit, or holds no ELF file.
pub(crate) fn debug_data(input: &Input, elf: &Elf) -> Result<Option<DebugFile>, Error> {
    let Some(section) = elf.section(b".gnu_debugdata") else {
        return Ok(None);
    };
    let packed = section.read(WHAT, &input.source()?)?;
    let limit = input.limit();
    let dictionary = MAX_DICTIONARY.min(limit);
    let decoder = XzDecoder::in_heap_with_alloc_dict_size(FIRST_DICTIONARY, dictionary);
    let reader = XzReader::new_with_buffer_size_and_decoder(Cursor::new(packed), BUFFER, decoder);
    let mut unpacked = Vec::new();
    reader
        .take(limit as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| Error::malformed(input.name(), WHAT, error.to_string()))?;
    if unpacked.len() > limit {
        return Err(Error::TooLarge {
            file: input.name().to_string(),
            what: WHAT,
            size: unpacked.len() as u64,
            limit,
        });
    }
    let name = format!("{}: .gnu_debugdata", input.name());
    let input = Input::new(Image::Memory(unpacked.into()), name.into(), limit);
    let elf = Elf::read(&input.source()?)?;
    Ok(Some(DebugFile { input, elf }))
}
