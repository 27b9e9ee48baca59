use std::{fs::File, os::fd::AsFd as _};

use fathom_symbolizer::unwind::{Page as TablePage, convert_file};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;

/// Maps without a kernel behind them.
fn files(pages: u32, chunks: u32) -> Files {
    fn anonymous<T: super::super::mapped::Plain>(entries: u32) -> Mapped<T> {
        let file = memfd_create("table", MemfdFlags::CLOEXEC).expect("memory");
        let bytes = u64::from(entries) * size_of::<T>() as u64;
        ftruncate(&file, bytes.next_multiple_of(4096)).expect("memory");
        Mapped::new(file.as_fd(), entries).expect("mapped")
    }
    Files::new(anonymous(pages), anonymous(chunks))
}

/// A table with `rows` rows on each page of these numbers, whose rules are numbered from `rule` on.
fn of_rows(pages: &[u64], rows: u16, rule: u16) -> Table {
    let mut table = Table::default();
    for &number in pages {
        let rows: Vec<_> = (0..rows)
            .map(|row| TableRow {
                low: row * 8,
                rule: rule + row,
            })
            .collect();
        table.push(TablePage {
            number,
            rows: &rows,
        });
    }
    table
}

#[test]
fn a_real_files_table_answers_as_the_symbolizers_own() {
    let path = std::env::current_exe().expect("this test");
    let mut rules = Rules::new();
    let mut table = Table::default();
    convert_file(
        &File::open(&path).expect("this test"),
        "this test",
        1 << 30,
        &mut rules,
        |page| table.push(page),
    )
    .expect("a table");
    let mut files = files(1 << 14, 1 << 16);
    // Not at the maps' start.
    let before = files.add(&of_rows(&[7], 100, 0)).expect("room");
    let file = files.add(&table).expect("room");
    files.remove(before);
    let mut rows = 0;
    for page in table.pages() {
        for row in page.rows {
            let address = page.number << 16 | u64::from(row.low);
            for address in [address.saturating_sub(1), address, address + 1] {
                assert_eq!(
                    files.find(&file, address),
                    table.find(address),
                    "{address:#x}"
                );
            }
            rows += 1;
        }
    }
    assert!(rows > 10_000, "only {rows} rows");
    assert_eq!(files.find(&file, u64::MAX), Rules::NONE);
    assert_eq!(files.find(&file, 0), table.find(0));
    assert!(file.bytes() >= rows * 4 && file.bytes() < rows * 6);
}

#[test]
fn a_row_is_found_however_they_lie() {
    let every: Vec<u16> = (0..=u16::MAX).collect();
    let at_the_parts_edges: Vec<u16> = (0..16_u16)
        .flat_map(|part| [part << 12, (part << 12) + 1, (part << 12) + 0xfff])
        .collect();
    for lows in [
        every,
        at_the_parts_edges,
        vec![0],
        vec![0, 0xffff],
        vec![0, 0x5001],
    ] {
        let rows: Vec<_> = lows
            .iter()
            .map(|&low| TableRow { low, rule: low })
            .collect();
        let mut table = Table::default();
        table.push(TablePage {
            number: 3,
            rows: &rows,
        });
        let mut files = files(1, 1 << 10);
        let file = files.add(&table).expect("room");
        for low in 0..=u16::MAX {
            let expected = lows[lows.partition_point(|&row| row <= low) - 1];
            let found = files.find(&file, 3 << 16 | u64::from(low));
            assert_eq!(found, expected, "{low:#x} of {} rows", lows.len());
        }
    }
}

#[test]
fn pages_between_those_with_code_have_no_rule() {
    let mut files = files(16, 16);
    let file = files.add(&of_rows(&[3, 6], 70, 5)).expect("room");
    assert_eq!(files.used(), (4, 4 * CHUNK_ROWS as u32));
    assert_eq!(files.find(&file, 3 << 16), 5);
    assert_eq!(files.find(&file, (6 << 16) + 69 * 8), 5 + 69);
    for empty in [2 << 16, 4 << 16, (5 << 16) + 100, 7 << 16] {
        assert_eq!(files.find(&file, empty), Rules::NONE);
    }
}

#[test]
fn a_removed_file_is_gone_at_once_and_its_room_only_when_programs_are_done() {
    let mut files = files(4, 8);
    let first = files.add(&of_rows(&[1, 2], 64 * 3, 5)).expect("room");
    let segment = first.segment(0x1000, 0x2000, 0);
    let second = of_rows(&[1, 2], 64 * 2, 5);
    assert!(matches!(files.add(&second), Err(Error::Full(Part::Rows))));
    let used = files.used();
    files.remove(first);
    for page in segment.first_page..segment.first_page + segment.pages {
        assert_ne!(files.pages.get(page).expect("a page").file, segment.file);
    }
    assert_eq!(files.used(), used);
    assert!(matches!(files.add(&second), Err(Error::Full(Part::Rows))));
    files.reclaim();
    let second = files.add(&second).expect("room");
    // The old mapping points at pages that are used again, and sees that they are another file's.
    assert_eq!(second.pages.first, segment.first_page);
    assert_ne!(second.file, segment.file);
}

#[test]
fn a_file_that_does_not_fit_leaves_nothing_behind() {
    let mut files = files(4, 4);
    let rows = files.add(&of_rows(&[1, 2, 3], 100, 5));
    assert!(matches!(rows, Err(Error::Full(Part::Rows))), "{rows:?}");
    assert_eq!(files.used(), (0, 0));
    let far = files.add(&of_rows(&[1, 1 << 40], 1, 5));
    assert!(matches!(far, Err(Error::TooLarge { .. })), "{far:?}");
    let whole = files.add(&of_rows(&[1, 2, 3], 64, 5)).expect("room");
    assert_eq!(files.used(), (3, 3 * CHUNK_ROWS as u32));
    let more = files.add(&of_rows(&[1, 2], 1, 5));
    assert!(matches!(more, Err(Error::Full(Part::Pages))), "{more:?}");
    files.remove(whole);
}

#[test]
fn a_table_without_code_takes_one_page_and_has_no_rule() {
    let mut files = files(1, 1);
    let file = files.add(&Table::default()).expect("room");
    assert_eq!(files.find(&file, 0), Rules::NONE);
    assert_eq!(files.used(), (1, 0));
}
