use super::*;
use crate::elf::tests::endless_names;

/// Were each name kept to its end, they would take the product of the two: 1 GB here, and 1 TB of a file of 20 MB.
#[test]
fn names_without_an_end_take_no_more_than_any_others() {
    let bytes = endless_names(1000, 1 << 20);
    let sections = Sections::open(Image::Memory(bytes.into()), "f", 1 << 24).expect("opens");
    let names = sections.0.all.iter().map(|header| header.name.len());
    assert_eq!(names.sum::<usize>(), 1000 * 64);
    assert!(sections.find(".debug_info").is_none());
}
