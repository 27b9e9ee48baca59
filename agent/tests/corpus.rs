//! Replays the fuzz targets' corpus: what was once found stays fixed, on every test run and without a fuzzer.

use std::{fs, path::Path};

#[path = "../../fuzz/checks.rs"]
mod checks;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut seeds = 0;
    for entry in
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let data = fs::read(entry.expect("an entry").path()).expect("a seed");
        // Each seed, and each cut of it: most of what a fuzzer finds first is a cut.
        for length in (0..=data.len()).rev().take(2000) {
            check(&data[..length]);
        }
        seeds += 1;
    }
    assert!(seeds >= 3, "{target} has {seeds} seeds");
}

#[test]
fn http1_heads() {
    replay("http1_head", checks::http1_head);
}

#[test]
fn message_records() {
    replay("messages", checks::messages);
}

#[test]
fn flow_records() {
    replay("flows", checks::flows);
}
