use std::sync::Arc;

use super::*;
use crate::{
    identity::Process,
    profile::{Function, Mapping, Quality},
};

fn function(name: &str) -> Function {
    Function {
        name: name.into(),
        system_name: name.into(),
    }
}

fn location(address: u64, kernel: bool, mapping: Option<u32>, function: Option<u32>) -> Location {
    Location {
        address,
        kernel,
        mapping,
        function,
    }
}

/// A profile with a frame of each kind.
pub(in crate::export) fn profile() -> Profile {
    let mapping = |name: &str, start, end, build_id: Option<&[u8]>| Mapping {
        start,
        end,
        offset: 0,
        name: name.into(),
        build_id: build_id.map(Arc::from),
        has_functions: build_id.is_some(),
    };
    Profile {
        process: Arc::new(Process {
            pid: 42,
            start_ticks: 1,
            service: "shop".into(),
            executable: Some("/usr/bin/shop".into()),
            comm: "shop".into(),
            container: None,
        }),
        start_ns: 1_000_000_000,
        duration_ns: 10_000_000_000,
        period_ns: 10_000_000,
        mappings: vec![
            mapping("/usr/bin/shop", 0x1000, 0x9000, Some(&[0xab, 0xcd])),
            mapping("[kernel]", 0, 0, None),
        ],
        functions: vec![function("main"), function("a;b\n"), function("vfs_read")],
        locations: vec![
            location(0x1010, false, Some(0), Some(0)),
            location(0x1020, false, Some(0), Some(1)),
            location(0xffff_ffff_8100_0000, true, Some(1), Some(2)),
            location(0x1030, false, Some(0), None),
            location(0x10, false, None, None),
            location(0xffff_ffff_8100_1000, true, Some(1), None),
        ],
        stacks: vec![
            Stack {
                locations: vec![2, 1, 0],
                count: 3,
                tid: 43,
                comm: "worker".into(),
                exchange: None,
            },
            Stack {
                locations: vec![5, 3, 4],
                count: 1,
                tid: 42,
                comm: "shop".into(),
                exchange: None,
            },
        ],
        quality: Quality {
            samples: 4,
            ..Quality::default()
        },
    }
}

#[test]
fn a_line_runs_from_the_thread_to_the_leaf() {
    let mut out = Vec::new();
    write(&[profile()], &mut out).expect("a Vec takes all");
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "shop;[unknown];[shop];[kernel]_[k] 1\nworker;main;a:b?;vfs_read_[k] 3\n"
    );
}

#[test]
fn equal_lines_of_two_processes_are_one() {
    let lines = fold(&[profile(), profile()]);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines.values().sum::<u64>(), 8);
}
