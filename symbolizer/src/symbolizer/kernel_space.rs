//! The running kernel: `/proc/kallsyms`, and debug information where the caller has it.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Gear, Located, Symbolizer};
use crate::{Error, Frame, Frames, Kernel, KernelSymbol, Name, Source};

/// The kernel's symbols as they were read last, or why they can't be.
#[derive(Debug, Default)]
pub(super) struct KernelSpace(Mutex<Option<Read>>);

#[derive(Debug)]
struct Read {
    at: Instant,
    outcome: Result<Arc<Kernel>, Error>,
}

/// How long the symbols are taken as they are when an address is in none of the kernel's own: modules and BPF programs come and go, and another may
/// stand where one stood.
const TRUST: Duration = Duration::from_secs(60);
/// By which the addresses of `vmlinux` and of the running kernel are compared: both have it, and it moves with the kernel.
const ANCHOR: &str = "_stext";

impl Symbolizer {
    /// What is at addresses of the running kernel, of its modules and of BPF programs. Files and lines are known where
    /// [`Options::vmlinux`](super::Options::vmlinux) is given, for the kernel itself.
    ///
    /// # Errors
    /// [`Error::Restricted`] when the kernel shows no addresses to this process; or when they can't be read.
    pub fn symbolize_kernel(&self, gear: Gear, addresses: &[u64]) -> Result<Vec<Located>, Error> {
        let mut kernel = self.kernel(Duration::MAX)?;
        let mut answer = |&address: &u64| {
            let is_own = |symbol: KernelSymbol<'_>| symbol.module.is_none();
            if !kernel.symbol(address).is_some_and(is_own) {
                kernel = self.kernel(TRUST)?;
            }
            let symbol = kernel.symbol(address);
            let mut located = Located {
                address,
                ..Located::default()
            };
            if let Some(symbol) = symbol {
                let frame = Frame::named(Name::readable(&*symbol.name), Source::Kallsyms);
                located.frames = Frames::one(frame);
                located.kernel_module = symbol.module.map(Into::into);
            }
            if let (Gear::Lines, Some(path), None) =
                (gear, &self.options.vmlinux, &located.kernel_module)
            {
                self.with_lines(&kernel, path, &mut located);
            }
            Ok(located)
        };
        addresses.iter().map(&mut answer).collect()
    }

    /// The symbols, read anew if they are older than `trusted`.
    fn kernel(&self, trusted: Duration) -> Result<Arc<Kernel>, Error> {
        let mut read = self.kernel.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = &*read {
            // What failed before is tried again in time, too.
            let trusted = if read.outcome.is_err() {
                TRUST
            } else {
                trusted
            };
            if read.at.elapsed() < trusted {
                return read.outcome.clone();
            }
        }
        let outcome = Kernel::read(&self.options.kallsyms).map(Arc::new);
        let outcome = &read
            .insert(Read {
                at: Instant::now(),
                outcome,
            })
            .outcome;
        let bytes = outcome.as_ref().map_or(0, |kernel| kernel.bytes());
        self.held.set_kernel(bytes);
        outcome.clone()
    }

    /// What `vmlinux` says of an address, in place of what is known.
    fn with_lines(&self, kernel: &Kernel, path: &Path, located: &mut Located) {
        let found = self.open(path).and_then(|module| {
            let here = kernel.address_of(ANCHOR);
            let there = module.symbol_address(ANCHOR)?;
            let (Some(here), Some(there)) = (here, there) else {
                return Ok(None);
            };
            let address = located.address.wrapping_sub(here).wrapping_add(there);
            let frames = self.symbolize(&module, Gear::Lines, address)?;
            Ok((!frames.is_empty()).then_some((module, address, frames)))
        });
        match found {
            Ok(Some((module, address, frames))) => {
                located.module = Some(module);
                located.address = address;
                located.frames = frames;
            }
            Ok(None) => {}
            Err(error) => located.error = Some(error),
        }
    }
}

#[cfg(test)]
mod tests;
