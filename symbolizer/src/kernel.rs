//! The kernel's own functions, from `/proc/kallsyms`.
//!
//! Each line is `address type name` and, for a module, a tab and `[module]` (kernel/kallsyms.c, `s_show`).

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use crate::{
    Error,
    table::{Builder, Table},
};

/// The functions of the running kernel and its modules.
#[derive(Debug)]
pub struct Kernel {
    functions: Table,
}

/// A function of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSymbol<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// The module that it is in; none for the kernel itself.
    pub module: Option<&'a str>,
    /// Its first address.
    pub address: u64,
}

/// The longest line that is taken in; `KSYM_NAME_LEN` is 512.
const MAX_LINE: u64 = 4096;
/// The size of the last function, which nothing follows.
const LAST_SIZE: u64 = 4096;

impl Kernel {
    /// Reads `/proc/kallsyms`, or a file of its form.
    ///
    /// # Errors
    /// When it can't be read, or when the kernel shows only zeroes to this process.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(Error::read(&name, "the file"))?;
        Self::parse(BufReader::with_capacity(1 << 16, file), &name)
    }

    /// Parses text of the form of `/proc/kallsyms`; `name` is what errors call it. Lines of another form are left out.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(mut text: impl BufRead, name: &str) -> Result<Self, Error> {
        let mut all: Vec<(u64, Option<Box<[u8]>>)> = Vec::new();
        let mut hidden = false;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = std::io::Read::take(&mut text, MAX_LINE)
                .read_until(b'\n', &mut line)
                .map_err(Error::read(name, "the file"))?;
            if read == 0 {
                break;
            }
            match parse_line(&line) {
                Some((0, ..)) => hidden = true,
                Some((address, true, symbol)) => all.push((address, Some(symbol.into()))),
                Some((address, false, _)) => all.push((address, None)),
                None => {}
            }
        }
        if all.is_empty() && hidden {
            return Err(Error::Restricted {
                file: name.to_owned(),
            });
        }
        Ok(Self {
            functions: table(all),
        })
    }

    /// The function that holds an address.
    pub fn symbol(&self, address: u64) -> Option<KernelSymbol<'_>> {
        let symbol = self.functions.find(address)?;
        let address = symbol.address;
        // The table holds `name\t[module]`, as the file does.
        let Cow::Borrowed(text) = symbol.name else {
            return Some(KernelSymbol {
                name: symbol.name,
                module: None,
                address,
            });
        };
        let (name, module) = match text.split_once('\t') {
            Some((name, module)) => (name, Some(module.trim_matches(['[', ']']))),
            None => (text, None),
        };
        Some(KernelSymbol {
            name: Cow::Borrowed(name),
            module,
            address,
        })
    }

    /// How many functions there are.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Bytes of memory that this takes.
    pub fn bytes(&self) -> usize {
        self.functions.bytes()
    }
}

/// Address, whether it is code, and `name\t[module]`.
fn parse_line(line: &[u8]) -> Option<(u64, bool, &[u8])> {
    let line = line.trim_ascii_end();
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let address = std::str::from_utf8(parts.next()?).ok()?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let kind = parts.next()?;
    let name = parts.next()?;
    if kind.len() != 1 || name.is_empty() || name.contains(&0) {
        return None;
    }
    Some((address, matches!(kind, b"t" | b"T" | b"w" | b"W"), name))
}

/// A function reaches to whatever comes next: the file gives no sizes, but data ends a function as code does.
fn table(mut all: Vec<(u64, Option<Box<[u8]>>)>) -> Table {
    // Of one address, a global name (which comes later in the file) and data before code: the sort is stable.
    all.sort_by_key(|(address, _)| *address);
    let mut builder = Builder::default();
    for (index, (address, name)) in all.iter().enumerate() {
        let Some(name) = name else { continue };
        let next = all[index..].iter().find(|(next, _)| next > address);
        let size = next.map_or(LAST_SIZE, |(next, _)| next - address);
        builder.push(*address, size, name, 0);
    }
    builder.finish()
}

#[cfg(test)]
mod tests;
