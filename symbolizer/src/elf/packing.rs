//! Compressed sections: the System V gABI's (chapter 4, "Section Compression"), with zlib and zstd, and GNU's older `.zdebug_`.

use std::io::Read as _;

use object::{Endianness, elf, pod};

use super::Class;

/// How a section lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    None,
    /// `SHF_COMPRESSED`: a compression header and what it says.
    Header,
    /// `.zdebug_`: "ZLIB", the size in eight bytes, big endian, and a zlib stream.
    Gnu,
}

/// Why a section can't be unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unpackable {
    /// It contradicts itself.
    Malformed(String),
    /// It would have so many bytes, more than are wanted.
    TooLarge(u64),
}

impl Packing {
    /// By a section's name and flags.
    pub(crate) fn of(name: &str, flags: u64) -> Self {
        if flags & u64::from(elf::SHF_COMPRESSED) != 0 {
            Self::Header
        } else if name.starts_with(".zdebug_") {
            Self::Gnu
        } else {
            Self::None
        }
    }
}

/// The bytes of a compressed section, of which there may be `limit` at most.
pub(crate) fn unpack(
    packing: Packing,
    packed: &[u8],
    endian: Endianness,
    class: Class,
    limit: usize,
) -> Result<Vec<u8>, Unpackable> {
    let malformed = |why: &str| Unpackable::Malformed(why.to_owned());
    let short = || malformed("its compression header is cut short");
    let (kind, size, stream) = match (packing, class) {
        (Packing::None, _) => (None, packed.len() as u64, packed),
        (Packing::Gnu, _) => {
            let (head, stream) = packed.split_first_chunk::<12>().ok_or_else(short)?;
            let [b'Z', b'L', b'I', b'B', size @ ..] = head else {
                return Err(malformed("it is not compressed as its name says"));
            };
            (
                Some(elf::ELFCOMPRESS_ZLIB),
                u64::from_be_bytes(*size),
                stream,
            )
        }
        (Packing::Header, Class::Elf32) => {
            let head = pod::from_bytes::<elf::CompressionHeader32<Endianness>>(packed);
            let (head, stream) = head.map_err(|()| short())?;
            let size = head.ch_size.get(endian).into();
            (Some(head.ch_type.get(endian)), size, stream)
        }
        (Packing::Header, Class::Elf64) => {
            let head = pod::from_bytes::<elf::CompressionHeader64<Endianness>>(packed);
            let (head, stream) = head.map_err(|()| short())?;
            let size = head.ch_size.get(endian);
            (Some(head.ch_type.get(endian)), size, stream)
        }
    };
    let room = usize::try_from(size).ok().filter(|&size| size <= limit);
    let mut bytes = Vec::with_capacity(room.ok_or(Unpackable::TooLarge(size))?);
    let read = match kind {
        None => (&mut &*stream).take(size).read_to_end(&mut bytes),
        Some(elf::ELFCOMPRESS_ZLIB) => flate2::read::ZlibDecoder::new(stream)
            .take(size)
            .read_to_end(&mut bytes),
        Some(elf::ELFCOMPRESS_ZSTD) => match ruzstd::decoding::StreamingDecoder::new(stream) {
            Ok(decoder) => decoder.take(size).read_to_end(&mut bytes),
            Err(error) => return Err(malformed(&format!("it can't be unpacked: {error}"))),
        },
        Some(other) => {
            return Err(malformed(&format!(
                "it is compressed in the unknown way {other}"
            )));
        }
    };
    read.map_err(|error| malformed(&format!("it can't be unpacked: {error}")))?;
    if bytes.len() as u64 != size {
        return Err(malformed(&format!(
            "{} bytes when unpacked instead of {size}",
            bytes.len()
        )));
    }
    Ok(bytes)
}
