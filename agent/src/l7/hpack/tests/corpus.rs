//! Header blocks that other encoders made, with the headers that they stand for: the http2jp `hpack-test-case` collection.
//! It is no part of this repository: `FATHOM_HPACK_CORPUS` says where it is, if not beside it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{super::*, Read, block, bytes};

pub(super) struct Case {
    pub(super) wire: Vec<u8>,
    pub(super) expected: Read,
}

/// The stories of the corpus: each is one connection's header blocks.
pub(super) fn stories() -> Vec<(PathBuf, Vec<Case>)> {
    let root = env::var_os("FATHOM_HPACK_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hpack"),
        PathBuf::from,
    );
    let mut stories = Vec::new();
    let Ok(folders) = fs::read_dir(&root) else {
        return stories;
    };
    for folder in folders.flatten().filter(|entry| entry.path().is_dir()) {
        for file in fs::read_dir(folder.path()).expect("a folder").flatten() {
            let text = fs::read_to_string(file.path()).expect("a story");
            let story: Value = serde_json::from_str(&text).expect("JSON");
            let cases = story["cases"].as_array().expect("cases");
            stories.push((file.path(), cases.iter().map(case).collect()));
        }
    }
    stories
}

fn case(case: &Value) -> Case {
    let headers = case["headers"].as_array().expect("headers");
    let fields = headers
        .iter()
        .flat_map(|header| header.as_object().expect("a header"));
    Case {
        wire: bytes(case["wire"].as_str().expect("a block")),
        expected: fields
            .map(|(name, value)| {
                let name = Name::of(name.as_bytes());
                let value = value.as_str().expect("a value");
                let kept = name.is_read().then(|| name.kept(value.as_bytes()));
                let kept = kept.map(|kept| String::from_utf8(kept.to_vec()).expect("UTF-8"));
                (name, kept)
            })
            .collect(),
    }
}

#[test]
fn blocks_of_other_encoders() {
    let stories = stories();
    if stories.is_empty() {
        println!("skipped: blocks_of_other_encoders (no corpus; FATHOM_HPACK_CORPUS names it)");
        return;
    }
    let mut blocks = 0;
    for (path, cases) in &stories {
        let mut decoder = Decoder::new();
        for (number, case) in cases.iter().enumerate() {
            let read = block(&mut decoder, &case.wire);
            assert_eq!(
                read.as_ref(),
                Ok(&case.expected),
                "{} case {number}",
                path.display()
            );
            blocks += 1;
        }
    }
    println!("{blocks} blocks of {} connections", stories.len());
    assert!(blocks >= stories.len());
}
