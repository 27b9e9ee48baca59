//! Programs that speak TLS in a way that no symbol gives away.

use std::fs::File;

use memchr::memmem;

use super::{Why, image::Image, library};

/// What a program speaks TLS with that fathom can't see into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// A Java virtual machine: TLS is Java code, which the machine compiles as it runs.
    Java,
    /// rustls, with its version. No build of it is seen so far. In one that keeps its symbols (not `strip = true`), each byte that comes in passes
    /// `rustls::common_state::CommonState::take_received_plaintext`, and each that goes out `CommonState::buffer_plaintext` (0.23): these are no generics, and so mostly functions of their own,
    /// but what they are given are Rust types, whose layout no compiler promises. A stripped build has nothing to hold on to; that it is rustls is known from the names of source files
    /// in its panics, which only `-Z location-detail=none` or `--remap-path-prefix` take away.
    Rustls(String),
    /// OpenSSL or one of its relatives, linked into a program whose symbols were stripped.
    OpenSslStripped,
    /// BoringSSL (or AWS-LC), linked into a program whose symbols were stripped, or hidden in a library, as in gRPC's for Python.
    BoringSslStripped,
}

impl Unseen {
    /// What it is, in a few words.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Java => "Java",
            Self::Rustls(_) => "rustls",
            Self::OpenSslStripped => "OpenSSL without symbols",
            Self::BoringSslStripped => "BoringSSL without symbols",
        }
    }
}

/// The most bytes of constants that are searched.
const MAX_CONSTANTS: u64 = 96 << 20;

/// What the compiler leaves of rustls in each program: the names of its source files, for panics, as `…/rustls-0.23.12/src/conn.rs`.
const RUSTLS: &[u8] = b"/rustls-";
/// Both libraries have the names of their source files among their constants, for error messages. In two parts, or the program that holds these lines would be found to be both.
const BORINGSSL: [&[u8]; 2] = [b"/ssl/handshake_", b"client.cc\0"];
const OPENSSL: [&[u8]; 2] = [b"ssl/statem/extensions_", b"clnt.c\0"];

/// What an executable or a library that [`super::inspect`] finds no function in speaks TLS with all the same, as far as its name and its constants tell. It reads the constants (`.rodata`), up to
/// 96 MB of them; to be asked once for a file, and not for those that [`super::inspect`] has an answer for.
///
/// # Errors
/// What is wrong with the file.
pub fn unseen(file: &File) -> Result<Option<Unseen>, Why> {
    of(&Image::file(file)?)
}

/// [`unseen`] for a file that is in memory.
///
/// # Errors
/// As [`unseen`].
pub fn unseen_bytes(bytes: &[u8]) -> Result<Option<Unseen>, Why> {
    of(&Image::bytes(bytes)?)
}

fn of(image: &Image<'_>) -> Result<Option<Unseen>, Why> {
    if library::soname(image).is_some_and(|soname| soname.starts_with("libjvm.so")) {
        return Ok(Some(Unseen::Java));
    }
    let Some(constants) = image.section(".rodata") else {
        return Ok(None);
    };
    let rustls = memmem::Finder::new(RUSTLS);
    let others = [
        (BORINGSSL.concat(), Unseen::BoringSslStripped),
        (OPENSSL.concat(), Unseen::OpenSslStripped),
    ];
    let others = others
        .each_ref()
        .map(|(name, unseen)| (memmem::Finder::new(name), unseen));
    let end = constants
        .file
        .end
        .min(constants.file.start.saturating_add(MAX_CONSTANTS));
    let range = constants.file.start..end;
    let mut found = None;
    image.scan("the constants", &range, 64, |_, bytes| {
        found = rustls
            .find_iter(bytes)
            .find_map(|at| rustls_version(&bytes[at + RUSTLS.len()..]))
            .map(Unseen::Rustls)
            .or_else(|| {
                let other = others
                    .iter()
                    .find(|(finder, _)| finder.find(bytes).is_some());
                other.map(|&(_, unseen)| unseen.clone())
            });
        found.is_some()
    })?;
    Ok(found)
}

/// The version that a source file's name goes on with: `0.23.12/src/…`. (`/rustls-webpki-…` and `/rustls-pemfile-…` are other crates.)
fn rustls_version(bytes: &[u8]) -> Option<String> {
    let bytes = &bytes[..bytes.len().min(24)];
    let version = &bytes[..memchr::memchr(b'/', bytes)?];
    let fits = version.first()?.is_ascii_digit()
        && version
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
    fits.then(|| String::from_utf8_lossy(version).into_owned())
}

#[cfg(test)]
mod tests;
