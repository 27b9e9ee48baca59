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
    table::{Entry, Table},
};

/// The functions of the running kernel and its modules.
#[derive(Debug)]
pub struct Kernel {
    functions: Table,
    /// `name\t[module]` of each function, as the file has it, and a zero byte.
    names: Box<[u8]>,
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
/// How far the kernel's own last function reaches, behind which modules may come, or nothing.
const LAST_REACH: u64 = 4096;
/// How far a function of a module or of BPF reaches where nothing follows it: what is loaded later may stand there. As many instructions as a BPF
/// program of any user may have (`BPF_MAXINSNS`, 4096) are 64 KiB of 16 bytes each, more than any just-in-time compiler needs on average, and each
/// of its functions has a symbol of its own; no function of a module comes near it.
const LOADED_REACH: u64 = 64 << 10;

/// A line of the file.
struct Line {
    address: u64,
    /// `name\t[module]` of code; none of data.
    name: Option<Box<[u8]>>,
    /// The kernel's own, and no module's.
    is_own: bool,
}

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
        let mut all = Vec::new();
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
                Some((address, is_code, symbol)) => all.push(Line {
                    address,
                    name: is_code.then(|| symbol.into()),
                    is_own: !symbol.contains(&b'\t'),
                }),
                None => {}
            }
        }
        if all.is_empty() && hidden {
            return Err(Error::Restricted {
                file: name.to_owned(),
            });
        }
        Ok(Self::of_lines(all))
    }

    /// A function reaches to whatever comes next, within bounds: the file gives no sizes, but data ends a function as code does.
    fn of_lines(mut all: Vec<Line>) -> Self {
        // Of one address the last line counts, and data after code: the sort is stable.
        all.sort_by_key(|line| line.address);
        let mut entries = Vec::new();
        let mut names = Vec::new();
        let mut next: Option<&Line> = None;
        let mut after: Option<&Line> = None;
        for line in all.iter().rev() {
            if after.is_none_or(|after| after.address != line.address) {
                next = after.replace(line);
            }
            // Names beyond the first 4 GiB are left out: no kernel has a thousandth of that.
            let (Some(name), Ok(at)) = (&line.name, u32::try_from(names.len())) else {
                continue;
            };
            names.extend_from_slice(name);
            names.push(0);
            entries.push(Entry {
                address: line.address,
                size: u32::try_from(line.reach(next)).unwrap_or(u32::MAX),
                name: at,
                file: 0,
            });
        }
        // Backwards as they were read, the last name of an address comes first.
        entries.reverse();
        Self {
            functions: Table::new(entries, &[]),
            names: names.into(),
        }
    }

    /// The function that holds an address.
    pub fn symbol(&self, address: u64) -> Option<KernelSymbol<'_>> {
        let function = self.functions.find(address)?;
        let text = self.names.get(function.name as usize..)?;
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let (name, module) = match memchr::memchr(b'\t', &text[..end]) {
            Some(tab) => (&text[..tab], Some(&text[tab + 1..end])),
            None => (&text[..end], None),
        };
        let module = module.and_then(|module| std::str::from_utf8(module).ok());
        Some(KernelSymbol {
            name: String::from_utf8_lossy(name),
            module: module.map(|module| module.trim_matches(['[', ']'])),
            address: function.addresses.start,
        })
    }

    /// The address of the function of a name; of several the first.
    pub(crate) fn address_of(&self, name: &str) -> Option<u64> {
        let wanted = [b"\0", name.as_bytes(), b"\0"].concat();
        let at = if self.names.starts_with(&wanted[1..]) {
            0
        } else {
            memchr::memmem::find(&self.names, &wanted)? + 1
        };
        self.functions.address_of(u32::try_from(at).ok()?)
    }

    /// How many functions there are.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Bytes of memory that this takes.
    pub fn bytes(&self) -> usize {
        self.functions.bytes() + self.names.len()
    }
}

impl Line {
    /// How far a function reaches before what comes next.
    fn reach(&self, next: Option<&Self>) -> u64 {
        let up_to_next = next.map_or(u64::MAX, |next| next.address - self.address);
        let bound = match next {
            // Nothing is loaded in between.
            Some(next) if self.is_own && next.is_own => u64::MAX,
            _ if self.is_own => LAST_REACH,
            _ => LOADED_REACH,
        };
        up_to_next.min(bound)
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
    if kind.len() != 1 || matches!(name, [] | [b'\t', ..]) || name.contains(&0) {
        return None;
    }
    Some((address, matches!(kind, b"t" | b"T" | b"w" | b"W"), name))
}

#[cfg(test)]
mod tests;
