//! Mangled names to the names that their authors wrote.

use std::fmt::{self, Write};

/// The longest name that is made; a mangled name of a few bytes can stand for megabytes.
const MAX_LENGTH: usize = 4096;

/// The readable form of a Rust (legacy or v0) or C++ (Itanium ABI) name; any other name is returned as it is. A name
/// whose readable form is longer than 4 KiB stays mangled. Rust's hashes are left out.
pub fn demangle(name: &str) -> String {
    rust(name)
        .or_else(|| cpp(name))
        .unwrap_or_else(|| name.to_owned())
}

fn rust(name: &str) -> Option<String> {
    let symbol = rustc_demangle::try_demangle(name).ok()?;
    let mut out = Limited::default();
    // The alternate form is the one without the hash.
    write!(out, "{symbol:#}").ok()?;
    Some(out.0)
}

fn cpp(name: &str) -> Option<String> {
    // clang's and gcc's suffixes (`.cold`, `.constprop.0`, `.llvm.123`) are no part of the mangled name.
    let (symbol, suffix) = match name.split_once('.') {
        Some((symbol, _)) => (symbol, &name[symbol.len()..]),
        None => (name, ""),
    };
    if !symbol.starts_with("_Z") {
        return None;
    }
    let symbol = cpp_demangle::Symbol::new(symbol.as_bytes()).ok()?;
    let options = cpp_demangle::DemangleOptions::new().no_return_type();
    let mut out = Limited::default();
    symbol.structured_demangle(&mut out, &options).ok()?;
    out.write_str(suffix).ok()?;
    Some(out.0)
}

/// Takes text up to [`MAX_LENGTH`].
#[derive(Default)]
struct Limited(String);

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_LENGTH {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::demangle;

    /// The expectations are `c++filt`'s and `rustfilt`'s.
    #[test]
    fn names_read_as_their_authors_wrote_them() {
        assert_eq!(demangle("main"), "main");
        assert_eq!(demangle("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(demangle("_ZN3foo3barEi.cold"), "foo::bar(int).cold");
        assert_eq!(
            demangle("_ZNSt6vectorIiSaIiEE9push_backERKi"),
            "std::vector<int, std::allocator<int> >::push_back(int const&)"
        );
        assert_eq!(
            demangle("_ZN4core3fmt5write17h0123456789abcdefE"),
            "core::fmt::write"
        );
        assert_eq!(demangle("_RNvC6_123foo3bar"), "123foo::bar");
    }

    #[test]
    fn what_is_not_mangled_well_stays_as_it_is() {
        for name in ["", "_Z", "_ZN", "_R", "_ZN3fo", "_ZZZZ", "a;b\nc"] {
            assert_eq!(demangle(name), name);
        }
    }

    #[test]
    fn a_name_that_would_explode_stays_mangled() {
        // Each level names the one before it twice, through a substitution.
        let mut name = "_Z1fSt4pairIiiE".to_owned();
        for level in 0..60 {
            let _ = std::fmt::Write::write_fmt(
                &mut name,
                format_args!("St4pairIS{0}_S{0}_E", level % 9),
            );
        }
        assert!(demangle(&name).len() <= super::MAX_LENGTH.max(name.len()));
    }
}
