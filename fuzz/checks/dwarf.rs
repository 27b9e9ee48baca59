//! Debug information: sections with any bytes, in a file made around them.

#[path = "unwind/image.rs"]
#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "the tests of unwind tables take more of it, and have it too"
)]
mod image;

use fathom_symbolizer::{Gear, Options, Symbolizer};
use image::Image;

/// What all that is made of a file may take.
const MEMORY: usize = 1 << 22;
/// As long as the code of the seeds.
const CODE: usize = 0x400;
const SECTIONS: [&str; 12] = [
    ".debug_info",
    ".debug_abbrev",
    ".debug_line",
    ".debug_str",
    ".debug_line_str",
    ".debug_aranges",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_addr",
    ".debug_str_offsets",
    ".gnu_debugaltlink",
    ".debug_sup",
];
/// A section in which the ELF file says that it is compressed.
const COMPRESSED: u8 = 0x80;
const SHF_COMPRESSED: u64 = 0x800;

/// Sections: each a byte that says which, two for its length, little endian, and its bytes.
pub fn dwarf(data: &[u8]) {
    let mut image = Image::new(CODE);
    let mut rest = data;
    while let Some((&[which, low, high], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (bytes, behind) = behind.split_at(length.min(behind.len()));
        let flags = if which & COMPRESSED == 0 {
            0
        } else {
            SHF_COMPRESSED
        };
        let name = SECTIONS[usize::from(which & !COMPRESSED) % SECTIONS.len()];
        image.sections.push((name, flags, bytes.to_vec()));
        rest = behind;
    }
    let mut options = Options::default();
    options.memory = MEMORY;
    options.debug_directories.clear();
    let symbolizer = Symbolizer::new(options);
    let Ok(module) = symbolizer.open_image(image.bytes(), "f") else {
        return;
    };
    let code = image.address..image.address + CODE as u64;
    for address in code.step_by(8).chain([0, 1, u64::MAX]) {
        let answer = symbolizer.symbolize(&module, Gear::Lines, address);
        let memory = symbolizer.memory();
        assert!(memory.bytes <= memory.budget, "{memory:?}");
        let Ok(frames) = answer else {
            continue;
        };
        // Each but the outermost one was inlined into the next.
        for (number, frame) in frames.iter().enumerate() {
            assert_eq!(frame.inlined, number + 1 < frames.len());
        }
        let again = symbolizer.symbolize(&module, Gear::Lines, address);
        assert_eq!(again.ok().as_ref(), Some(&frames));
    }
}
