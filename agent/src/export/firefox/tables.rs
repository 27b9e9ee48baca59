//! The tables that all threads of a file share: each a column for each field, rows named by their index.

use std::{collections::HashMap, fmt::Write as _};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::{Value, json};

use super::{Frame, category};
use crate::profile::{Location, Mapping};

/// "Library", of the format's kinds of resources.
const LIBRARY: u32 = 1;

/// `profile.shared`.
#[derive(Default)]
pub(super) struct Tables {
    strings: Rows<String>,
    libs: Rows<Mapping>,
    /// By library.
    resources: Rows<u32>,
    /// By name in `strings`.
    sources: Rows<u32>,
    functions: Rows<Function>,
    frames: Rows<Row>,
    /// By caller's stack and frame.
    stacks: Rows<(Option<u32>, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Function {
    name: u32,
    resource: Option<u32>,
    source: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    /// In the file; none where there is no file, or it is not known where in it.
    address: Option<u64>,
    inline_depth: u32,
    category: u32,
    function: u32,
    line: u32,
    column: u32,
}

/// Rows, each once, in the order of their first use.
struct Rows<K> {
    ids: HashMap<K, u32>,
    all: Vec<K>,
}

impl<K> Default for Rows<K> {
    fn default() -> Self {
        Self {
            ids: HashMap::new(),
            all: Vec::new(),
        }
    }
}

impl<K: Clone + Eq + std::hash::Hash> Rows<K> {
    fn id(&mut self, key: K) -> u32 {
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        let id = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(key.clone());
        self.ids.insert(key, id);
        id
    }

    /// One column.
    fn column<T>(&self, of: impl Fn(&K) -> T) -> Vec<T> {
        self.all.iter().map(of).collect()
    }

    /// One value in each row.
    fn same<T: Clone>(&self, value: T) -> Vec<T> {
        vec![value; self.all.len()]
    }
}

impl Tables {
    /// The row of a stack; none for one without frames.
    pub(super) fn stack<'a>(&mut self, frames: impl Iterator<Item = Frame<'a>>) -> Option<u32> {
        let mut stack = None;
        let mut inline_depth = 0;
        for frame in frames {
            inline_depth = if frame.inlined { inline_depth + 1 } else { 0 };
            let row = self.frame(&frame, inline_depth);
            stack = Some(self.stacks.id((stack, row)));
        }
        stack
    }

    fn frame(&mut self, frame: &Frame<'_>, inline_depth: u32) -> u32 {
        let lib = frame.mapping().map(|mapping| self.lib(mapping));
        let function = Function {
            name: self.strings.id(frame.name().into_owned()),
            resource: lib.map(|lib| self.resources.id(lib)),
            source: frame
                .function()
                .and_then(|function| function.file.as_deref())
                .map(|file| {
                    let file = self.strings.id(file.to_owned());
                    self.sources.id(file)
                }),
        };
        let row = Row {
            address: frame
                .mapping()
                .and_then(|mapping| file_address(mapping, frame.location)),
            inline_depth,
            category: category(frame.origin()),
            function: self.functions.id(function),
            line: frame.line.map_or(0, |line| line.line),
            column: frame.line.map_or(0, |line| line.column),
        };
        self.frames.id(row)
    }

    /// Mappings of the same file are one library.
    fn lib(&mut self, mapping: &Mapping) -> u32 {
        let lib = self.libs.id(Mapping {
            start: 0,
            end: 0,
            offset: 0,
            known: Default::default(),
            ..mapping.clone()
        });
        self.strings.id(last_name(&mapping.name).to_owned());
        lib
    }

    /// `profile.libs`, which lies beside the tables.
    pub(super) fn take_libs(&self) -> Vec<Value> {
        self.libs.column(|lib| {
            let name = last_name(&lib.name);
            let build_id = lib.build_id.as_deref().unwrap_or_default();
            json!({
                "arch": std::env::consts::ARCH,
                "name": name,
                "path": &*lib.name,
                "debugName": name,
                "debugPath": &*lib.name,
                "breakpadId": breakpad_id(build_id),
                "codeId": (!build_id.is_empty()).then(|| hex(build_id)),
            })
        })
    }

    fn string(&self, text: &str) -> u32 {
        self.strings.ids.get(text).copied().unwrap_or(0)
    }
}

/// Where in its file an instruction is: what the format calls an address relative to the library, as far as that can be said without the file's
/// headers. Numbers of JSON are exact up to 2^53.
fn file_address(mapping: &Mapping, location: &Location) -> Option<u64> {
    let in_mapping = location.address.checked_sub(mapping.start)?;
    let address = in_mapping.checked_add(mapping.offset)?;
    (mapping.build_id.is_some() && address < 1 << 53).then_some(address)
}

fn last_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Breakpad's name for a GNU build id: its first 16 bytes as a GUID in little-endian order, and an age of 0.
fn breakpad_id(build_id: &[u8]) -> String {
    if build_id.is_empty() {
        return String::new();
    }
    let mut guid = [0; 16];
    for (to, from) in guid.iter_mut().zip(build_id) {
        *to = *from;
    }
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    format!("{}0", hex(&guid).to_uppercase())
}

/// What is not known is null.
fn known(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

impl Serialize for Tables {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shared = serializer.serialize_struct("shared", 7)?;
        let stacks = &self.stacks;
        shared.serialize_field(
            "stackTable",
            &json!({
                "length": stacks.all.len(),
                "prefix": stacks.column(|(caller, _)| *caller),
                "frame": stacks.column(|(_, frame)| *frame),
            }),
        )?;
        let frames = &self.frames;
        shared.serialize_field(
            "frameTable",
            &json!({
                "length": frames.all.len(),
                "address": frames.column(|row| row.address.map_or(json!(-1), |at| json!(at))),
                "inlineDepth": frames.column(|row| row.inline_depth),
                "category": frames.column(|row| row.category),
                "subcategory": frames.same(0),
                "func": frames.column(|row| row.function),
                "nativeSymbol": frames.same(Value::Null),
                "innerWindowID": frames.same(0),
                "line": frames.column(|row| known(row.line)),
                "column": frames.column(|row| known(row.column)),
            }),
        )?;
        let functions = &self.functions;
        shared.serialize_field(
            "funcTable",
            &json!({
                "length": functions.all.len(),
                "name": functions.column(|function| function.name),
                "isJS": functions.same(false),
                "relevantForJS": functions.same(false),
                "resource": functions.column(|function| function.resource.map_or(json!(-1), |at| json!(at))),
                "source": functions.column(|function| function.source),
                "lineNumber": functions.same(Value::Null),
                "columnNumber": functions.same(Value::Null),
            }),
        )?;
        let resources = &self.resources;
        let lib_name = |lib: &u32| self.string(last_name(&self.libs.all[*lib as usize].name));
        shared.serialize_field(
            "resourceTable",
            &json!({
                "length": resources.all.len(),
                "lib": resources.column(|lib| *lib),
                "name": resources.column(lib_name),
                "host": resources.same(Value::Null),
                "type": resources.same(LIBRARY),
            }),
        )?;
        shared.serialize_field(
            "nativeSymbols",
            &json!({"length": 0, "libIndex": [], "address": [], "name": [], "functionSize": []}),
        )?;
        let sources = &self.sources;
        shared.serialize_field(
            "sources",
            &json!({
                "length": sources.all.len(),
                "id": sources.same(Value::Null),
                "filename": sources.column(|name| *name),
                "startLine": sources.same(1),
                "startColumn": sources.same(1),
                "sourceMapURL": sources.same(Value::Null),
            }),
        )?;
        shared.serialize_field("stringArray", &self.strings.all)?;
        shared.end()
    }
}
