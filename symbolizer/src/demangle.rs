//! Mangled names to the names that their authors wrote.

use std::fmt::{self, Write};

mod cpp;

/// The longest name that is made for readers; a mangled name of a few bytes can stand for megabytes.
const MAX_LENGTH: usize = 4096;

/// The readable form of a Rust (legacy or v0) or C++ (Itanium ABI) name; any other name is returned as it is. A name
/// whose readable form is longer than 4 KiB stays mangled. Rust's hashes and what C++'s functions return are left out.
pub fn demangle(name: &str) -> String {
    let mut out = String::new();
    match demangle_into(name, &mut out) {
        Some(()) => out,
        None => name.to_owned(),
    }
}

/// Writes what [`demangle`] returns into `out`, which is empty. None where it is the name itself; something may have been written then.
pub(crate) fn demangle_into(name: &str, out: &mut String) -> Option<()> {
    if may_be_rust(name) && rust(name, out).is_some() {
        return Some(());
    }
    out.clear();
    cpp::demangle(name, false, out)?;
    (out.len() <= MAX_LENGTH).then_some(())
}

/// As [`demangle`], in full, as llvm-symbolizer has it: with what C++'s templates return and with the hashes of Rust's older names; up to
/// 64 KiB.
pub fn demangle_full(name: &str) -> String {
    let mut out = String::new();
    let done = if name.starts_with("_R") {
        // What LLVM made of one function is said behind its name, as it is of C++'s.
        let (symbol, suffix) = match name.split_once('.') {
            Some((symbol, _)) => (symbol, format!(" ({})", &name[symbol.len()..])),
            None => (name, String::new()),
        };
        rust(symbol, &mut out).map(|()| out.push_str(&suffix))
    } else {
        cpp::demangle(name, true, &mut out)
    };
    match done {
        Some(()) => out,
        None => name.to_owned(),
    }
}

/// Whether it may be worth the time to read a name as Rust's. Those of the older form look like C++'s; behind their last part there is
/// nothing, or what LLVM added after a dot.
fn may_be_rust(name: &str) -> bool {
    let is_like_cpp = ["_ZN", "ZN", "__ZN"]
        .iter()
        .any(|start| name.starts_with(start));
    !is_like_cpp || name.ends_with('E') || memchr::memchr(b'.', name.as_bytes()).is_some()
}

fn rust(name: &str, out: &mut String) -> Option<()> {
    let symbol = rustc_demangle::try_demangle(name).ok()?;
    // The alternate form is the one without the hash.
    write!(Limited(out), "{symbol:#}").ok()
}

/// Takes text up to [`MAX_LENGTH`].
struct Limited<'a>(&'a mut String);

impl fmt::Write for Limited<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_LENGTH {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
