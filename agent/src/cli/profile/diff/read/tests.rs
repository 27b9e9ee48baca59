use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

use super::*;
use crate::export::pprof::proto;

/// Each stack as folded text, with what its frames are.
fn lines(stacks: &Stacks) -> Vec<String> {
    let name = |&frame: &u32| {
        let frame = &stacks.frames[frame as usize];
        let origin = frame.origin.map_or("thread", |origin| origin.name());
        format!("{}/{origin}", frame.name)
    };
    stacks
        .stacks
        .iter()
        .map(|(frames, count)| {
            let names: Vec<_> = frames.iter().map(name).collect();
            format!("{} {count}", names.join(";"))
        })
        .collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).expect("a Vec takes all");
    gzip.finish().expect("a Vec takes all")
}

fn profile() -> proto::Profile {
    let texts = [
        "",
        "samples",
        "count",
        "cpu",
        "nanoseconds",
        "comm",
        "worker",
        "main",
        "copy",
        "/bin/shop",
        "[kernel]",
        "vfs_read",
    ];
    let value_type = |r#type, unit| proto::ValueType { r#type, unit };
    let line = |function_id| proto::Line {
        function_id,
        ..Default::default()
    };
    let mapping = |id, filename| proto::Mapping {
        id,
        filename,
        ..Default::default()
    };
    let location = |id, mapping_id, line| proto::Location {
        id,
        mapping_id,
        line,
        ..Default::default()
    };
    let function = |id, name| proto::Function {
        id,
        name,
        ..Default::default()
    };
    proto::Profile {
        sample_type: vec![value_type(1, 2), value_type(3, 4)],
        sample: vec![
            proto::Sample {
                location_id: vec![30, 10],
                value: vec![3, 30],
                label: vec![proto::Label {
                    key: 5,
                    str: 6,
                    num: 0,
                }],
            },
            proto::Sample {
                location_id: vec![20],
                value: vec![1, 10],
                label: Vec::new(),
            },
        ],
        mapping: vec![mapping(7, 9), mapping(8, 10)],
        // Ids are any numbers that are not 0.
        location: vec![
            location(10, 7, vec![line(2), line(1)]),
            location(20, 7, Vec::new()),
            location(30, 8, vec![line(3)]),
        ],
        function: vec![function(1, 7), function(2, 8), function(3, 11)],
        string_table: texts.map(str::to_owned).into(),
        ..Default::default()
    }
}

#[test]
fn folded_stacks_are_read_with_their_marks() {
    let text =
        "# a comment\nworker;main;copy_[i];vfs_read_[k] 3\r\n\nworker;operator new 2\njit_[j] 0\n";
    for bytes in [text.as_bytes().to_vec(), packed(text.as_bytes())] {
        let stacks = parse(&bytes).expect("folded");
        assert_eq!(stacks.content, Content::Folded);
        assert_eq!(
            lines(&stacks),
            [
                "worker/native;main/native;copy/native;vfs_read/kernel 3",
                "worker/native;operator new/native 2",
                "jit/jit 0",
            ]
        );
    }
}

#[test]
fn pprof_is_read_with_inlined_functions() {
    let bytes = profile().encode_to_vec();
    for bytes in [packed(&bytes), bytes] {
        let stacks = parse(&bytes).expect("pprof");
        assert_eq!(stacks.content, Content::Pprof);
        assert_eq!(stacks.unit.as_deref(), Some("samples"));
        assert_eq!(
            lines(&stacks),
            [
                "worker/thread;main/native;copy/native;vfs_read/kernel 3",
                "[shop]/native 1",
            ]
        );
    }
}

#[test]
fn without_counts_of_samples_the_default_type_is_taken() {
    let mut profile = profile();
    profile.string_table[1] = "alloc_objects".to_owned();
    let stacks = parse(&profile.encode_to_vec()).expect("pprof");
    assert_eq!(stacks.stacks[0].1, 30, "the last one");
    assert_eq!(stacks.unit.as_deref(), Some("nanoseconds of cpu"));
    profile.default_sample_type = 1;
    let stacks = parse(&profile.encode_to_vec()).expect("pprof");
    assert_eq!(stacks.stacks[0].1, 3);
}

fn error(bytes: &[u8]) -> String {
    parse(bytes).expect_err("no profile").to_string()
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let changed = |change: fn(&mut proto::Profile)| {
        let mut profile = profile();
        change(&mut profile);
        error(&profile.encode_to_vec())
    };
    for (said, expected) in [
        (error(b""), "it is empty"),
        (
            error(b"main;parse 3\nmain 3.5\n"),
            "line 2 does not end in a whole number; each line",
        ),
        (error(b"main;parse\n"), "line 1 has no count at its end"),
        (
            error(b"\x7fELF\x02\x01\x01\0\0\0"),
            "neither pprof (not its protobuf",
        ),
        (error(&packed(b"x")[..8]), "it can't be read"),
        (
            changed(|profile| profile.sample[1].location_id[0] = 99),
            "a sample refers to location 99",
        ),
        (
            changed(|profile| profile.location[2].line[0].function_id = 9),
            "a location refers to function 9",
        ),
        (
            changed(|profile| profile.location[2].mapping_id = 9),
            "a location refers to mapping 9",
        ),
        (
            changed(|profile| profile.function[2].name = -1),
            "refers to string -1",
        ),
        (
            changed(|profile| profile.sample[0].value = vec![1]),
            "has 1 values of 2 types",
        ),
        (
            changed(|profile| profile.sample[0].value = vec![-1, 1]),
            "a difference of two profiles",
        ),
        (
            changed(|profile| profile.sample_type.clear()),
            "no sample types",
        ),
        (
            changed(|profile| {
                let line = profile.location[0].line[0];
                profile.location[0].line = vec![line; 1 << 13];
                profile.sample[0].location_id = vec![10; 1 << 14];
            }),
            "frames in all",
        ),
    ] {
        assert!(said.contains(expected), "{said}\nlacks {expected}");
    }
}
