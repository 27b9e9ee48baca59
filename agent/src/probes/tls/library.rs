//! The C libraries: by their symbols, in a shared library of their own or linked into a program.

use std::ops::Range;

use memchr::memmem;
use object::elf;

use super::{
    Function, Library, Site, Targets, Why,
    image::{Image, name_at},
    returns,
    symbols::{Symbol, Table, find},
};

/// What the names of all functions begin with.
const STEMS: [&str; 2] = ["SSL_", "gnutls_"];

/// In the order in which they are preferred where two names are one function.
const FUNCTIONS: [Function; 18] = [
    Function::SslRead,
    Function::SslWrite,
    Function::SslReadEx,
    Function::SslWriteEx,
    Function::SslSendfile,
    Function::SslSetFd,
    Function::SslSetRfd,
    Function::SslSetWfd,
    Function::SslFree,
    Function::GnutlsRecv,
    Function::GnutlsRecvSeq,
    Function::GnutlsSend,
    Function::GnutlsSend2,
    Function::GnutlsSendRange,
    Function::GnutlsSetInt2,
    Function::GnutlsSetPtr,
    Function::GnutlsSetPtr2,
    Function::GnutlsDeinit,
];

/// Functions that tell relatives apart: only BoringSSL and AWS-LC have the first, only OpenSSL (from 1.1.0 on) the second.
const MARKERS: [&str; 2] = ["SSL_CTX_set_grease_enabled", "SSL_waiting_for_async"];

/// The most bytes of constants that are searched for a version.
const MAX_CONSTANTS: u64 = 64 << 20;
/// The most bytes of `.dynamic`.
const MAX_DYNAMIC: u64 = 64 << 10;
/// The longest version.
const MAX_VERSION: usize = 24;

/// The functions of a C library that a file holds.
pub(super) fn inspect(image: &Image<'_>) -> Result<Targets, Why> {
    // GnuTLS's imitation of OpenSSL: its SSL_read calls gnutls_record_recv, which is seen where it is.
    if soname(image).is_some_and(|name| name.starts_with("libgnutls-openssl.so")) {
        return Err(Why::NotTls);
    }
    // What a library exports is in `.dynsym`; only a program that has one linked in says so in `.symtab`, if it was not stripped.
    for table in [Table::Dynamic, Table::Full] {
        let names: Vec<_> = FUNCTIONS
            .iter()
            .map(|function| function.symbol())
            .chain(MARKERS)
            .collect();
        let found = find(image, table, &STEMS, &names)?;
        let functions = functions(image, &found);
        let holds = |functions: &[Found], wanted: &[Function]| {
            functions
                .iter()
                .any(|found| wanted.contains(&found.function))
        };
        if holds(&functions, &[Function::SslRead, Function::SslReadEx]) {
            let marked = |marker| {
                let place = FUNCTIONS.len() + marker;
                found.iter().any(|symbol| symbol.wanted == place)
            };
            return Ok(ssl(image, functions, marked(0), marked(1)));
        }
        if holds(&functions, &[Function::GnutlsRecv]) {
            return Ok(gnutls(image, functions));
        }
    }
    Err(Why::NotTls)
}

struct Found {
    function: Function,
    address: u64,
    size: u64,
    entry: u64,
}

/// The symbols that are functions of ours, each address once.
fn functions(image: &Image<'_>, symbols: &[Symbol]) -> Vec<Found> {
    let mut functions: Vec<Found> = Vec::new();
    for symbol in symbols {
        let Some(&function) = FUNCTIONS.get(symbol.wanted) else {
            continue;
        };
        let Some(entry) = image.offset_of(symbol.address, true) else {
            continue;
        };
        functions.push(Found {
            function,
            address: symbol.address,
            size: symbol.size,
            entry,
        });
    }
    functions.sort_by_key(|found| (found.entry, found.function));
    functions.dedup_by_key(|found| found.entry);
    functions.sort_by_key(|found| (found.function, found.entry));
    functions
}

fn ssl(image: &Image<'_>, mut functions: Vec<Found>, boring: bool, openssl: bool) -> Targets {
    functions.retain(|found| found.function.symbol().starts_with("SSL_"));
    let soname = soname(image);
    let is_libssl = soname
        .as_deref()
        .is_some_and(|name| name.starts_with("libssl.so."));
    let has_extended = WRAPPERS
        .iter()
        .any(|(wrapper, _)| functions.iter().any(|found| found.function == *wrapper));
    let library = if boring {
        Library::BoringSsl
    } else if is_libssl && has_extended && !openssl {
        // A libssl has all functions. A program that one is linked into may not have the function that tells.
        Library::LibreSsl
    } else {
        Library::OpenSsl
    };
    drop_wrappers(image, &mut functions, library != Library::OpenSsl);
    let version = match library {
        Library::BoringSsl => None,
        _ => constant_version(image, b"OpenSSL ", b"LibreSSL ").or_else(|| version_of(soname?)),
    };
    targets(library, version, functions)
}

/// Functions that some libraries make of others.
const WRAPPERS: [(Function, Function); 2] = [
    (Function::SslReadEx, Function::SslRead),
    (Function::SslWriteEx, Function::SslWrite),
];

/// Drops the functions that call another one: `all` of them where the library is known for it, else those whose code branches to it.
fn drop_wrappers(image: &Image<'_>, functions: &mut Vec<Found>, all: bool) {
    for (wrapper, plain) in WRAPPERS {
        let plain: Vec<_> = functions
            .iter()
            .filter(|found| found.function == plain)
            .map(|found| found.address)
            .collect();
        functions.retain(|found| {
            let calls = || {
                all || returns::branches_to(image, found.entry, found.address, found.size, &plain)
            };
            found.function != wrapper || plain.is_empty() || !calls()
        });
    }
}

fn gnutls(image: &Image<'_>, mut functions: Vec<Found>) -> Targets {
    functions.retain(|found| found.function.symbol().starts_with("gnutls_"));
    if functions
        .iter()
        .any(|found| found.function == Function::GnutlsSend2)
    {
        functions.retain(|found| found.function != Function::GnutlsSend);
    }
    let version = gnutls_version(image).or_else(|| version_of(soname(image)?));
    targets(Library::GnuTls, version, functions)
}

fn targets(library: Library, version: Option<String>, functions: Vec<Found>) -> Targets {
    let sites = functions
        .into_iter()
        .map(|found| Site {
            function: found.function,
            entry: found.entry,
            returns: Vec::new(),
        })
        .collect();
    Targets {
        library,
        version,
        sites,
        go: None,
    }
}

/// The version behind one of two names in the constants: of `OpenSSL 3.0.19 27 Jan 2026` the `3.0.19`. A file whose constants can't be read has none:
/// the functions are what counts.
fn constant_version(image: &Image<'_>, name: &[u8], other: &[u8]) -> Option<String> {
    let finders = [memmem::Finder::new(name), memmem::Finder::new(other)];
    in_constants(image, |bytes| {
        finders.iter().find_map(|finder| {
            let length = finder.needle().len();
            finder
                .find_iter(bytes)
                .find_map(|at| version(&bytes[at + length..], b' '))
        })
    })
}

/// GnuTLS has its bare version among its constants (`gnutls_check_version` gives it out).
fn gnutls_version(image: &Image<'_>) -> Option<String> {
    let finder = memmem::Finder::new(b"\x003.");
    in_constants(image, |bytes| {
        finder
            .find_iter(bytes)
            .find_map(|at| version(&bytes[at + 1..], 0))
    })
}

fn in_constants(
    image: &Image<'_>,
    mut search: impl FnMut(&[u8]) -> Option<String>,
) -> Option<String> {
    let constants = image.section(".rodata")?;
    let limit = constants.file.start.saturating_add(MAX_CONSTANTS);
    let range = constants.file.start..constants.file.end.min(limit);
    let mut found = None;
    image
        .scan("the constants", &range, 64, |_, bytes| {
            found = search(bytes);
            found.is_some()
        })
        .ok()?;
    found
}

/// A version: three numbers with dots between them, and perhaps letters behind (`1.1.1w`), up to `end`. (Node's help has an "OpenSSL 3.0" of its own.)
fn version(bytes: &[u8], end: u8) -> Option<String> {
    let bytes = &bytes[..bytes.len().min(MAX_VERSION)];
    let version = &bytes[..memchr::memchr(end, bytes)?];
    let (first, rest) = version.split_first()?;
    let fits = first.is_ascii_digit()
        && version.iter().filter(|&&byte| byte == b'.').count() == 2
        && rest
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    fits.then(|| String::from_utf8_lossy(version).into_owned())
}

/// What comes after `.so.` in a soname.
fn version_of(soname: String) -> Option<String> {
    let (_, version) = soname.split_once(".so.")?;
    Some(version.to_owned())
}

/// The name by which others ask for a shared library (`DT_SONAME`).
pub(super) fn soname(image: &Image<'_>) -> Option<String> {
    let dynamic = image
        .sections
        .iter()
        .find(|section| section.kind == elf::SHT_DYNAMIC)?;
    let names = image.sections.get(dynamic.link)?;
    let size = (dynamic.file.end - dynamic.file.start).min(MAX_DYNAMIC);
    let bytes = image
        .read("the section .dynamic", dynamic.file.start, size)
        .ok()?;
    let (entries, _) = bytes.as_chunks::<16>();
    let offset = entries.iter().find_map(|entry| {
        let (tag, value) = entry.split_first_chunk::<8>()?;
        let value = u64::from_le_bytes(value.try_into().ok()?);
        (i64::from_le_bytes(*tag) == elf::DT_SONAME).then_some(value)
    })?;
    let start = names.file.start.checked_add(offset)?;
    let name: Range<u64> = start..names.file.end.min(start.saturating_add(256));
    let bytes = image
        .read(
            "the soname",
            name.start,
            name.end.saturating_sub(name.start),
        )
        .ok()?;
    let name = name_at(&bytes, 0);
    let printable = name.iter().all(u8::is_ascii_graphic) && !name.is_empty();
    printable.then(|| String::from_utf8_lossy(&name).into_owned())
}
