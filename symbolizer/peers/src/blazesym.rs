//! blazesym, asked for many addresses in one call, and not to look whether the file changed meanwhile.

use std::{borrow::Cow, path::Path};

use anyhow::Result;
use blazesym::symbolize::{
    CodeInfo, Input, Symbolized, Symbolizer,
    source::{Elf, Source},
};

use crate::{Frame, Gear, Library, Sink};

const AT_ONCE: usize = 256;

pub struct Blazesym {
    symbolizer: Symbolizer,
    source: Source<'static>,
}

pub fn open(file: &Path, gear: Gear) -> Blazesym {
    let wants_lines = gear != Gear::Names;
    let symbolizer = Symbolizer::builder()
        .enable_auto_reload(false)
        .enable_code_info(wants_lines)
        .enable_inlined_fns(wants_lines)
        .enable_demangling(gear != Gear::Linkage)
        .build();
    let mut elf = Elf::new(file);
    elf.debug_syms = wants_lines;
    Blazesym {
        symbolizer,
        source: Source::Elf(elf),
    }
}

impl Library for Blazesym {
    fn answer(&mut self, addresses: &[u64], sink: &mut dyn Sink) -> Result<()> {
        // It keeps no answers: what it gives at once is all in memory.
        for part in addresses.chunks(AT_ONCE) {
            for symbolized in self
                .symbolizer
                .symbolize(&self.source, Input::VirtOffset(part))?
            {
                if let Symbolized::Sym(symbol) = &symbolized {
                    for inlined in symbol.inlined.iter().rev() {
                        frame(&inlined.name, inlined.code_info.as_ref(), sink);
                    }
                    frame(&symbol.name, symbol.code_info.as_deref(), sink);
                } else {
                    frame("??", None, sink);
                }
                sink.end();
            }
        }
        Ok(())
    }
}

fn frame(function: &str, code: Option<&CodeInfo<'_>>, sink: &mut dyn Sink) {
    let path = code.map(CodeInfo::to_path);
    sink.frame(&Frame {
        function,
        file: &path
            .as_deref()
            .map_or(Cow::Borrowed("??"), Path::to_string_lossy),
        line: code.and_then(|code| code.line).unwrap_or(0),
        column: code.and_then(|code| code.column).unwrap_or(0).into(),
    });
}
