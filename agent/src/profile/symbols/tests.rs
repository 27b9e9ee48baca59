use std::fs;

use super::*;

fn object(serial: u64, file: &tempfile::NamedTempFile) -> Object {
    Object {
        serial,
        name: "file".into(),
        build_id: None,
        code: Code::File(file.reopen().expect("opens")),
        unreadable: false.into(),
    }
}

/// A file that is whole later on tells whether it was read again.
#[test]
fn a_file_that_cannot_be_read_is_tried_once() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "not an ELF file").expect("written");
    let mut symbols = Symbols::new(1 << 30);
    let tried = object(1, &file);
    assert!(symbols.file(&tried).is_none());
    let own = std::env::current_exe().expect("a test has a file");
    fs::copy(own, file.path()).expect("copied");
    assert!(symbols.file(&tried).is_none(), "it was read again");
    assert!(symbols.file(&object(2, &file)).is_some());
}
