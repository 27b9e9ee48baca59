//! fathom's own.

use std::path::Path;

use anyhow::Result;
use fathom_symbolizer::{Gear as Depth, Module, Options, Symbolizer};

use crate::{Frame, Gear, Library, Sink};

pub struct Fathom {
    symbolizer: Symbolizer,
    module: Module,
    gear: Gear,
}

pub fn open(file: &Path, gear: Gear) -> Result<Fathom> {
    let symbolizer = Symbolizer::new(Options::default());
    let module = symbolizer.open(file)?;
    Ok(Fathom {
        symbolizer,
        module,
        gear,
    })
}

impl Library for Fathom {
    fn answer(&mut self, addresses: &[u64], sink: &mut dyn Sink) -> Result<()> {
        let depth = if self.gear == Gear::Names {
            Depth::Names
        } else {
            Depth::Lines
        };
        for frames in self
            .symbolizer
            .symbolize_all(&self.module, depth, addresses)?
        {
            for frame in &frames {
                let name = frame.name.as_ref();
                sink.frame(&Frame {
                    function: match name {
                        Some(name) if self.gear == Gear::Linkage => name.linkage(),
                        Some(name) => name.as_str(),
                        None => "??",
                    },
                    file: frame.file.as_deref().unwrap_or("??"),
                    line: frame.line,
                    column: frame.column,
                });
            }
            if frames.is_empty() {
                sink.frame(&Frame {
                    function: "??",
                    file: "??",
                    line: 0,
                    column: 0,
                });
            }
            sink.end();
        }
        Ok(())
    }
}
