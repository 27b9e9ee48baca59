//! The addr2line crate, through its own loader, which finds separate and split debug files.

use std::{borrow::Cow, path::Path};

use addr2line::{Loader, demangle_auto};
use anyhow::{Result, anyhow};

use crate::{Frame, Gear, Library, Sink};

pub struct Addr2line {
    loader: Loader,
    gear: Gear,
}

pub fn open(file: &Path, gear: Gear) -> Result<Addr2line> {
    let loader = Loader::new(file).map_err(|error| anyhow!("{error}"))?;
    Ok(Addr2line { loader, gear })
}

impl Library for Addr2line {
    fn answer(&mut self, addresses: &[u64], sink: &mut dyn Sink) -> Result<()> {
        for &address in addresses {
            let found = self.gear != Gear::Names && self.by_debug_information(address, sink)?;
            if !found {
                self.by_symbols(address, sink);
            }
            sink.end();
        }
        Ok(())
    }
}

impl Addr2line {
    fn by_debug_information(&self, address: u64, sink: &mut dyn Sink) -> Result<bool> {
        let mut frames = self
            .loader
            .find_frames(address)
            .map_err(|error| anyhow!("{error}"))?;
        let mut found = false;
        while let Some(frame) = frames.next().map_err(|error| anyhow!("{error}"))? {
            let function = match &frame.function {
                Some(function) if self.gear == Gear::Linkage => {
                    function.raw_name().map_err(|error| anyhow!("{error}"))?
                }
                Some(function) => function.demangle().map_err(|error| anyhow!("{error}"))?,
                None => self.symbol(address),
            };
            let location = frame.location.as_ref();
            sink.frame(&Frame {
                function: &function,
                file: location.and_then(|at| at.file).unwrap_or("??"),
                line: location.and_then(|at| at.line).unwrap_or(0),
                column: location.and_then(|at| at.column).unwrap_or(0),
            });
            found = true;
        }
        Ok(found)
    }

    fn by_symbols(&self, address: u64, sink: &mut dyn Sink) {
        let function = self.symbol(address);
        sink.frame(&Frame {
            function: &function,
            file: "??",
            line: 0,
            column: 0,
        });
    }

    fn symbol(&self, address: u64) -> Cow<'_, str> {
        match self.loader.find_symbol(address) {
            Some(name) if self.gear == Gear::Linkage => Cow::Borrowed(name),
            Some(name) => demangle_auto(Cow::Borrowed(name), None),
            None => Cow::Borrowed("??"),
        }
    }
}
