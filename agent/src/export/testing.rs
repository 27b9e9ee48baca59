//! A profile with a frame of each kind, for the tests of those that write profiles.

use std::sync::Arc;

use crate::{
    identity::Process,
    profile::{
        Function, Known, Line, Location, Mapping, Origin, Profile, Quality, Stack, StackQuality,
    },
};

/// A function without a source file.
pub fn function(name: &str) -> Function {
    Function {
        name: name.into(),
        system_name: name.into(),
        file: None,
    }
}

/// A location with one function or none, and no line.
pub fn location(
    address: u64,
    origin: Origin,
    mapping: Option<u32>,
    function: Option<u32>,
) -> Location {
    let line = function.map(|function| line(function, 0, 0));
    Location {
        address,
        origin,
        mapping,
        lines: line.into_iter().collect(),
    }
}

fn line(function: u32, line: u32, column: u32) -> Line {
    Line {
        function,
        line,
        column,
    }
}

fn mapping(name: &str, start: u64, end: u64, build_id: Option<&[u8]>, known: Known) -> Mapping {
    Mapping {
        start,
        end,
        offset: 0,
        name: name.into(),
        build_id: build_id.map(Arc::from),
        known,
    }
}

/// Three samples of a thread of a service within the kernel, with an inlined function on the way, and one of what has no names.
pub fn profile() -> Profile {
    let all = Known {
        functions: true,
        files: true,
        lines: true,
        inlined: true,
    };
    let names = Known {
        functions: true,
        ..Known::default()
    };
    let with_file = |name: &str, file: &str| Function {
        file: Some(file.into()),
        ..function(name)
    };
    let mut inlined = location(0x1020, Origin::Native, Some(0), None);
    inlined.lines = Box::new([line(3, 7, 2), line(1, 40, 5)]);
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
            mapping("/usr/bin/shop", 0x1000, 0x9000, Some(&[0xab, 0xcd]), all),
            mapping("[kernel]", 1 << 63, u64::MAX, None, names),
        ],
        functions: vec![
            function("main"),
            with_file("a;b\n", "/src/shop.c"),
            function("vfs_read"),
            with_file("copy", "/src/copy.h"),
        ],
        locations: vec![
            location(0x1010, Origin::Native, Some(0), Some(0)),
            inlined,
            location(0xffff_ffff_8100_0000, Origin::Kernel, Some(1), Some(2)),
            location(0x1030, Origin::Native, Some(0), None),
            location(0, Origin::Native, None, None),
            location(0xffff_ffff_8100_1000, Origin::Kernel, Some(1), None),
        ],
        stacks: vec![
            Stack {
                locations: vec![2, 1, 0],
                count: 3,
                tid: 43,
                comm: "worker".into(),
                exchange: None,
                quality: StackQuality::Whole,
            },
            Stack {
                locations: vec![5, 3, 4],
                count: 1,
                tid: 42,
                comm: "shop".into(),
                exchange: None,
                quality: StackQuality::NoMapping,
            },
        ],
        quality: Quality {
            samples: 4,
            ..Quality::default()
        },
    }
}
