//! Kinds of differences, told apart by what can be seen in the answers and in the symbol table. `symbolizer/docs/differences.md` explains each.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::File,
    path::Path,
};

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSymbol as _, ReadCache};

use crate::symbolizer::answer::{Answer, Frame};

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Only the other knows the function.
    NameMissing,
    /// Only fathom knows the function.
    NameMore,
    /// Both names are symbols of one address.
    NameAlias,
    /// One name is the other's with what the compiler adds to a part or a copy of a function (`.cold`, `.part.0`).
    NameSuffix,
    /// The innermost functions differ because one has more inlined frames.
    NameDepth,
    /// The names differ in a generic function's arguments, of which Go's own table has `[...]` only.
    NameGeneric,
    /// The other has the name as the source has it, and fathom the linkage name, which says the same and more.
    NamePlain,
    /// The functions differ otherwise.
    NameOther,
    /// Only the other knows the file.
    LineMissing,
    /// Only fathom knows the file.
    LineMore,
    /// The same file name and line, in another folder.
    LineFolder,
    /// One says line 0 of the same file.
    LineZero,
    /// The same file, and another line.
    LineOther,
    /// Another file.
    LineFile,
    /// The innermost frames are equal, those around them differ in number.
    ChainDepth,
    /// The innermost frames are equal, a function around them has another name.
    ChainName,
    /// The functions are equal, a call's file or line differs.
    ChainLine,
    /// A stub of the procedure linkage table has another name than objdump gives it.
    Stub,
    /// The linkage names are equal; a Rust name of the old form is spelled otherwise.
    SpellingRustLegacy,
    /// The linkage names are equal; a Rust name of the new form is spelled otherwise.
    SpellingRust,
    /// The linkage names are equal; a C++ name is spelled otherwise.
    SpellingCxx,
    /// The linkage names are equal; another name is spelled otherwise.
    SpellingOther,
}

impl Class {
    /// What differs: nothing, or what is seen first of the name and of the line, or of the frames around.
    pub fn of(ours: &Answer, theirs: &Answer, symbols: &Symbols) -> Vec<Self> {
        let (our, their) = (ours.first(), theirs.first());
        let name = name(ours, theirs, symbols);
        let line = match (our, their) {
            (Some(our), Some(their)) => line(our, their),
            _ => None,
        };
        let around = if name.is_none() && line.is_none() {
            chain(ours, theirs)
        } else {
            None
        };
        [name, line, around].into_iter().flatten().collect()
    }

    /// Whether it says that a source of names has less, and no answer is wrong.
    pub fn is_explained(self) -> bool {
        matches!(self, Self::NameGeneric | Self::NamePlain)
    }

    /// The kind of a name that two demanglers spell differently.
    pub fn of_spelling(linkage: &str) -> Self {
        let is_hash =
            |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let legacy = linkage.rsplit_once("17h").is_some_and(|(_, rest)| {
            rest.get(..16).is_some_and(is_hash) && rest[16..].starts_with('E')
        });
        match linkage {
            _ if legacy => Self::SpellingRustLegacy,
            _ if linkage.starts_with("_R") => Self::SpellingRust,
            _ if linkage.starts_with("_Z") => Self::SpellingCxx,
            _ => Self::SpellingOther,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameMissing => "name-missing",
            Self::NameMore => "name-more",
            Self::NameAlias => "name-alias",
            Self::NameSuffix => "name-suffix",
            Self::NameDepth => "name-depth",
            Self::NameGeneric => "name-generic",
            Self::NamePlain => "name-plain",
            Self::NameOther => "name-other",
            Self::LineMissing => "line-missing",
            Self::LineMore => "line-more",
            Self::LineFolder => "line-folder",
            Self::LineZero => "line-zero",
            Self::LineOther => "line-other",
            Self::LineFile => "line-file",
            Self::ChainDepth => "chain-depth",
            Self::ChainName => "chain-name",
            Self::ChainLine => "chain-line",
            Self::Stub => "stub",
            Self::SpellingRustLegacy => "spelling-rust-legacy",
            Self::SpellingRust => "spelling-rust",
            Self::SpellingCxx => "spelling-cxx",
            Self::SpellingOther => "spelling-other",
        })
    }
}

fn name(ours: &Answer, theirs: &Answer, symbols: &Symbols) -> Option<Class> {
    let function = |answer: &'_ Answer| answer.first().and_then(|frame| frame.function.clone());
    match (function(ours), function(theirs)) {
        (None, None) => None,
        (Some(our), Some(their)) if our == their => None,
        (None, Some(_)) => Some(Class::NameMissing),
        (Some(_), None) => Some(Class::NameMore),
        (Some(our), Some(their)) => Some(if symbols.are_aliases(&our, &their) {
            Class::NameAlias
        } else if our == without_arguments(&their) {
            Class::NameGeneric
        } else if has_within(&our, &their) {
            Class::NamePlain
        } else if base(&our) == base(&their) {
            Class::NameSuffix
        } else if ours.len() != theirs.len() {
            Class::NameDepth
        } else {
            Class::NameOther
        }),
    }
}

/// A name as Go's own table has it: `f[int]` is `f[...]` there.
fn without_arguments(name: &str) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}[...]{}", &name[..first], &name[last + 1..])
        }
        _ => name.to_owned(),
    }
}

/// Whether a mangled name (Itanium C++ ABI, 5.1) has a source's name in it: `3run` in `_ZN4gold4Task3runEv`.
fn has_within(mangled: &str, name: &str) -> bool {
    mangled.starts_with("_Z") && mangled.contains(&format!("{}{name}", name.len()))
}

/// What compilers put behind the name of a part or a copy of a function.
const SUFFIXES: [&str; 8] = [
    ".cold",
    ".part.",
    ".constprop.",
    ".isra.",
    ".lto_priv.",
    ".llvm.",
    ".localalias",
    ".abi0",
];

/// A name without such a suffix.
fn base(name: &str) -> &str {
    let first = SUFFIXES.iter().filter_map(|suffix| name.find(suffix)).min();
    first.map_or(name, |at| &name[..at])
}

fn line(our: &Frame, their: &Frame) -> Option<Class> {
    let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
    match (&our.file, &their.file) {
        (None, None) => None,
        (None, Some(_)) => Some(Class::LineMissing),
        (Some(_), None) => Some(Class::LineMore),
        (Some(ours), Some(theirs)) if ours == theirs => match (our.line, their.line) {
            (a, b) if a == b => None,
            (0, _) | (_, 0) => Some(Class::LineZero),
            _ => Some(Class::LineOther),
        },
        (Some(ours), Some(theirs)) if last(ours) == last(theirs) && our.line == their.line => {
            Some(Class::LineFolder)
        }
        _ => Some(Class::LineFile),
    }
}

fn chain(ours: &Answer, theirs: &Answer) -> Option<Class> {
    if ours.len() != theirs.len() {
        return Some(Class::ChainDepth);
    }
    let differs =
        |of: fn(&Frame, &Frame) -> bool| ours.iter().zip(theirs).any(|(our, their)| of(our, their));
    if differs(|our, their| our.function != their.function) {
        Some(Class::ChainName)
    } else if differs(|our, their| (&our.file, our.line) != (&their.file, their.line)) {
        Some(Class::ChainLine)
    } else {
        None
    }
}

/// Where each name of a file's symbol tables points to.
#[derive(Debug, Default)]
pub struct Symbols {
    addresses: HashMap<String, HashSet<u64>>,
}

impl Symbols {
    /// Reads the tables of some files: a file and its separate debug file. One that can't be read is an error.
    pub fn read(files: &[&Path]) -> Result<Self> {
        let mut addresses: HashMap<String, HashSet<u64>> = HashMap::new();
        for file in files {
            let data =
                File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
            let cache = ReadCache::new(data);
            let object = object::File::parse(&cache).with_context(|| file.display().to_string())?;
            for symbol in object.symbols().chain(object.dynamic_symbols()) {
                if symbol.is_definition()
                    && let Ok(name) = symbol.name()
                {
                    addresses
                        .entry(name.to_owned())
                        .or_default()
                        .insert(symbol.address());
                }
            }
        }
        Ok(Self { addresses })
    }

    fn are_aliases(&self, a: &str, b: &str) -> bool {
        match (self.addresses.get(a), self.addresses.get(b)) {
            (Some(a), Some(b)) => !a.is_disjoint(b),
            _ => false,
        }
    }
}
