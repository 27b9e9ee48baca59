//! How answers are written.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use fathom_symbolizer::{Frame, Located, demangle_full};
use serde_json::{Value, json};

/// How answers are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) json: bool,
    pub(super) demangle: bool,
    pub(super) inlines: bool,
}

impl Form {
    /// Writes what is known of an address.
    pub(super) fn write(
        self,
        out: &mut impl Write,
        address: u64,
        located: &Located,
    ) -> io::Result<()> {
        let frames = self.wanted(&located.frames);
        if self.json {
            return writeln!(out, "{}", self.object(address, frames, located));
        }
        for frame in frames {
            let name = self.name(frame).unwrap_or("??".into());
            let file = frame.file.as_deref().unwrap_or("??");
            writeln!(out, "{name}\n{file}:{}:{}", frame.line, frame.column)?;
        }
        if frames.is_empty() {
            writeln!(out, "??\n??:0:0")?;
        }
        writeln!(out)
    }

    fn wanted(self, frames: &[Frame]) -> &[Frame] {
        let outermost = frames.len().saturating_sub(1);
        if self.inlines {
            frames
        } else {
            &frames[outermost..]
        }
    }

    fn name(self, frame: &Frame) -> Option<Cow<'_, str>> {
        let name = frame.name.as_ref()?;
        Some(if self.demangle {
            demangle_full(name.linkage()).into()
        } else {
            name.linkage().into()
        })
    }

    fn object(self, address: u64, frames: &[Frame], located: &Located) -> Value {
        let frames: Vec<_> = frames
            .iter()
            .map(|frame| {
                json!({
                    "function": self.name(frame),
                    "linkage_name": frame.name.as_ref().map(|name| name.linkage()),
                    "file": frame.file.as_deref(),
                    "line": known(frame.line),
                    "column": known(frame.column),
                    "inlined": frame.inlined,
                    "source": frame.source.as_str(),
                })
            })
            .collect();
        let module = located.module.as_ref();
        json!({
            "address": format!("{address:#x}"),
            "frames": frames,
            "module": module.map(|module| module.name()),
            "module_address": module.map(|_| format!("{:#x}", located.address)),
            "build_id": module.and_then(|module| module.build_id()).map(hex),
            "error": located.error.as_ref().map(ToString::to_string),
        })
    }
}

fn known(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
