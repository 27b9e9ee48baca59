//! The running kernel's type information (`/sys/kernel/btf/vmlinux`): where a struct's members lie, what an enum's values
//! are, how many arguments a function takes.
//!
//! The format is that of the kernel's `Documentation/bpf/btf.rst`. It is read once at start and dropped.

use std::{collections::HashMap, fs, io, path::Path};

/// Where every kernel built with `CONFIG_DEBUG_INFO_BTF` shows it.
pub const KERNEL: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Types that point at types more often than this are a loop.
const MAX_DEPTH: usize = 16;

/// Why there is no type information.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error(
        "{path}: {error}; fathom needs a kernel with CONFIG_DEBUG_INFO_BTF=y (Debian 11, Ubuntu 20.10, RHEL 8.2 and later have it)"
    )]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: not BTF: {what}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// One blob of type information.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    /// Where each type's record starts; type ids start at 1.
    types: Vec<u32>,
    strings: usize,
    /// Structs, unions, enums and functions by name: their ids.
    by_name: HashMap<(u32, Box<[u8]>), u32>,
}

/// A type's fixed part.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    count: usize,
    bitfields: bool,
    /// A size in bytes, or a type id.
    size_or_type: u32,
    /// Where its members start.
    members: usize,
}

impl Btf {
    /// The running kernel's.
    ///
    /// # Errors
    /// When the kernel has none, or it can't be read.
    pub fn kernel() -> Result<Self, Error> {
        Self::read(Path::new(KERNEL))
    }

    /// A file's.
    ///
    /// # Errors
    /// When it can't be read, or is malformed.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let data = fs::read(path).map_err(|error| Error::Read {
            path: name.clone(),
            error,
        })?;
        Self::parse(data).map_err(|what| Error::Malformed { path: name, what })
    }

    fn parse(data: Vec<u8>) -> Result<Self, &'static str> {
        let word = |at: usize| -> Option<u32> {
            let bytes = data.get(at..at.checked_add(4)?)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let position = |at: usize| word(at).map(|word| word as usize);
        if data.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err("no magic number");
        }
        let header = position(4).ok_or("no header")?;
        let start = header + position(8).ok_or("no header")?;
        let length = position(12).ok_or("no header")?;
        let strings = header + position(16).ok_or("no header")?;
        let end = start.checked_add(length).ok_or("types too long")?;
        if end > data.len() || strings > data.len() {
            return Err("cut short");
        }
        let mut types = Vec::with_capacity(length / 24);
        let mut at = start;
        while at < end {
            let info = word(at + 4).ok_or("cut short in a type")?;
            let count = (info & 0xffff) as usize;
            let extra = match (info >> 24) & 0x1f {
                INT | VAR | DECL_TAG => 4,
                ARRAY => 12,
                STRUCT | UNION | DATASEC | ENUM64 => count * 12,
                ENUM | FUNC_PROTO => count * 8,
                kind if kind <= ENUM64 => 0,
                _ => return Err("a kind of type that this version does not know"),
            };
            types.push(u32::try_from(at).map_err(|_| "larger than 4 GiB")?);
            at += 12 + extra;
        }
        let mut btf = Self {
            data,
            types,
            strings,
            by_name: HashMap::new(),
        };
        btf.index();
        Ok(btf)
    }

    fn index(&mut self) {
        let mut by_name = HashMap::new();
        for id in 1..=u32::try_from(self.types.len()).unwrap_or(u32::MAX) {
            let Some(found) = self.get(id) else { continue };
            if matches!(found.kind, STRUCT | UNION | ENUM | ENUM64 | FUNC) && found.name != 0 {
                let kind = if found.kind == ENUM64 {
                    ENUM
                } else {
                    found.kind
                };
                by_name
                    .entry((kind, self.string(found.name).into()))
                    .or_insert(id);
            }
        }
        self.by_name = by_name;
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.data.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn get(&self, id: u32) -> Option<Type> {
        let at = *self.types.get((id as usize).checked_sub(1)?)? as usize;
        let info = self.word(at + 4)?;
        Some(Type {
            name: self.word(at)?,
            kind: (info >> 24) & 0x1f,
            count: (info & 0xffff) as usize,
            bitfields: info >> 31 == 1,
            size_or_type: self.word(at + 8)?,
            members: at + 12,
        })
    }

    fn string(&self, offset: u32) -> &[u8] {
        let from = self
            .data
            .get(self.strings + offset as usize..)
            .unwrap_or(&[]);
        let end = from
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(from.len());
        &from[..end]
    }

    fn named(&self, kind: u32, name: &str) -> Option<Type> {
        let id = self.by_name.get(&(kind, name.as_bytes().into()))?;
        self.get(*id)
    }

    /// A type without the typedefs and qualifiers around it.
    fn bare(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_DEPTH {
            let found = self.get(id)?;
            if !(TYPEDEF..=RESTRICT).contains(&found.kind) && found.kind != TYPE_TAG {
                return Some(found);
            }
            id = found.size_or_type;
        }
        None
    }

    /// Where a member lies in its struct, in bytes: `sock.__sk_common.skc_family`. Members of unnamed structs and unions
    /// are found as C finds them.
    pub fn offset(&self, path: &str) -> Option<u32> {
        let mut names = path.split('.');
        let mut found = self.named(STRUCT, names.next()?)?;
        let mut bits = 0;
        for name in names {
            let (offset, id) = self.member(found, name.as_bytes(), 0)?;
            bits += offset;
            found = self.bare(id)?;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// A member's offset in bits and its type.
    fn member(&self, of: Type, name: &[u8], depth: usize) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH || !matches!(of.kind, STRUCT | UNION) {
            return None;
        }
        for index in 0..of.count {
            let at = of.members + index * 12;
            let member = self.word(at)?;
            let id = self.word(at + 4)?;
            let mut offset = self.word(at + 8)?;
            if of.bitfields {
                offset &= 0x00ff_ffff;
            }
            if member == 0 {
                if let Some((inner, id)) = self.member(self.bare(id)?, name, depth + 1) {
                    return Some((offset + inner, id));
                }
            } else if self.string(member) == name {
                return Some((offset, id));
            }
        }
        None
    }

    /// A struct's size in bytes.
    pub fn size(&self, name: &str) -> Option<u32> {
        Some(self.named(STRUCT, name)?.size_or_type)
    }

    /// How many arguments a function takes; `None` where the kernel has no such function.
    pub fn arguments(&self, function: &str) -> Option<u32> {
        let proto = self.get(self.named(FUNC, function)?.size_or_type)?;
        (proto.kind == FUNC_PROTO).then(|| u32::try_from(proto.count).ok())?
    }

    /// The value of one name of an enum.
    pub fn value(&self, of: &str, name: &str) -> Option<u32> {
        let found = self.named(ENUM, of)?;
        let width = if found.kind == ENUM64 { 12 } else { 8 };
        (0..found.count).find_map(|index| {
            let at = found.members + index * width;
            (self.string(self.word(at)?) == name.as_bytes()).then(|| self.word(at + 4))?
        })
    }
}

#[cfg(test)]
mod tests;
