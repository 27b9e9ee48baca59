//! What a process has mapped, put into the unwinder's tables.

use fathom::probes::profile::tables::{FileTable, Tables};
use fathom_abi::unwind::{Segment, SegmentKind};
use fathom_symbolizer::{
    Mapped, MappingKind, Options, Symbolizer, read_vdso,
    unwind::{Conversion, Rules, Table, convert_bytes, convert_file},
};

const LIMIT: usize = 1 << 30;

/// The tables of one process.
pub struct Loaded {
    files: Vec<(FileTable, Segment)>,
    /// The rest of its mappings.
    others: Vec<Segment>,
}

impl Loaded {
    /// Puts the tables of all that a process has mapped into the maps, and publishes it.
    pub fn of(pid: u32, tables: &mut Tables) -> Self {
        let symbolizer = Symbolizer::new(Options::default());
        let mut rules = Rules::new();
        let mut loaded = Self {
            files: Vec::new(),
            others: Vec::new(),
        };
        let mut segments = Vec::new();
        for mapped in symbolizer.mapped(pid).expect("it lives") {
            let segment = match table(pid, &mapped, &mut rules) {
                Some((table, _)) => {
                    tables.add_rules(&rules).expect("room for rules");
                    let file = tables.add_file(&table).expect("room for a file");
                    let segment = file.segment(
                        mapped.mapping.start,
                        mapped.mapping.end,
                        bias(&mapped).expect("code that is loaded"),
                    );
                    loaded.files.push((file, segment));
                    segment
                }
                None => {
                    let segment = Segment {
                        start: mapped.mapping.start,
                        end: mapped.mapping.end,
                        kind: SegmentKind::FRAME_POINTERS,
                        ..Segment::default()
                    };
                    loaded.others.push(segment);
                    segment
                }
            };
            segments.push(segment);
        }
        tables
            .publish(pid, 0, &segments)
            .expect("room for a process");
        loaded
    }

    /// The rule's number at an address; none where no table is known.
    pub fn find(&self, tables: &Tables, address: u64) -> Option<u16> {
        let (file, segment) = self
            .files
            .iter()
            .find(|(_, segment)| (segment.start..segment.end).contains(&address))?;
        Some(tables.find(file, address.wrapping_sub(segment.bias)))
    }

    /// Takes all of it out again.
    pub fn remove(self, tables: &mut Tables) {
        for (file, _) in self.files {
            tables.remove_file(file);
        }
    }
}

fn table(pid: u32, mapped: &Mapped, rules: &mut Rules) -> Option<(Table, Conversion)> {
    let name = mapped.mapping.name();
    let mut table = Table::default();
    let push = |page: fathom_symbolizer::unwind::Page<'_>| table.push(page);
    let converted = match &mapped.mapping.kind {
        MappingKind::Vdso => {
            let image = read_vdso(pid, &mapped.mapping).expect("it lives");
            convert_bytes(&image, &name, LIMIT, rules, push)
        }
        MappingKind::File { .. } => {
            let module = mapped.module.as_ref().expect("a file that is there");
            convert_file(module.file().expect("a file"), &name, LIMIT, rules, push)
        }
        MappingKind::Anonymous { .. } => return None,
    };
    Some((table, converted.expect("a file with code")))
}

/// What run-time addresses are more than the file's own.
fn bias(mapped: &Mapped) -> Option<u64> {
    let module = mapped.module.as_ref().ok()?;
    // The last byte: the first one may lie before the code, where that does not begin with a page.
    let last = mapped.mapping.end - 1;
    for at in [mapped.mapping.start, last] {
        if let Some(address) = module.address_of(mapped.mapping.file_offset(at)) {
            return Some(at.wrapping_sub(address));
        }
    }
    None
}
