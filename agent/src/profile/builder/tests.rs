use std::fs;

use fathom_symbolizer::{MappingKind, Options, Symbolizer};

use super::*;
use crate::{identity::Process, profile::Quality};

/// A file that is whole later on tells whether it was read again.
#[test]
fn a_file_that_cannot_be_read_is_tried_once() {
    let own = std::env::current_exe().expect("a test has a file");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::copy(&own, file.path()).expect("copied");
    let symbolizer = Arc::new(Symbolizer::new(Options::default()));
    let mut mapped = symbolizer.mapped(std::process::id()).expect("own mappings");
    mapped.retain(|mapped| matches!(mapped.mapping.kind, MappingKind::File { .. }));
    mapped.truncate(1);
    mapped[0].module = symbolizer.open(file.path());
    let code = mapped[0].mapping.start;
    let mut symbols = Symbols::new(symbolizer, Gear::Names, Arc::default());
    let mut builder = Builder::new(&mut symbols, &mapped, HashMap::new(), empty());

    file.as_file().set_len(4096).expect("cut");
    assert!(builder.user(code, 0).1.is_empty());
    fs::copy(own, file.path()).expect("copied");
    assert_eq!(builder.unreadable.len(), 1);
    assert!(builder.user(code, 0).1.is_empty(), "it was read again");
    builder.unreadable.clear();
    assert!(builder.symbols.user(code, &mapped[0]).is_ok());
}

#[inline(always)]
fn inner(value: u64) -> u64 {
    std::hint::black_box(value) + 1
}

#[inline(never)]
fn outer(value: u64) -> u64 {
    inner(std::hint::black_box(value)) * 3
}

fn empty() -> Profile {
    let process = Process {
        pid: 1,
        start_ticks: 0,
        service: "test".into(),
        executable: None,
        comm: String::new(),
        container: None,
    };
    Profile {
        process: Arc::new(process),
        start_ns: 0,
        duration_ns: 0,
        period_ns: 0,
        mappings: Vec::new(),
        functions: Vec::new(),
        locations: Vec::new(),
        stacks: Vec::new(),
        quality: Quality::default(),
    }
}

/// The locations of each byte of `outer`, with this much of each.
fn of_outer(gear: Gear) -> Profile {
    let symbolizer = Arc::new(Symbolizer::new(Options::default()));
    let mapped = symbolizer.mapped(std::process::id()).expect("own mappings");
    let start = outer as fn(u64) -> u64 as usize as u64;
    let mapping = mapped
        .iter()
        .position(|mapped| mapped.mapping.contains(start))
        .expect("the code is mapped");
    let mut symbols = Symbols::new(symbolizer, gear, Arc::default());
    let mut builder = Builder::new(&mut symbols, &mapped, HashMap::new(), empty());
    for address in start..start + 48 {
        builder.location(address, false, Some(index(mapping)));
    }
    builder.finish()
}

#[test]
fn inlined_functions_come_before_the_one_they_are_in() {
    assert_eq!(outer(1), 6);
    let profile = of_outer(Gear::Lines);
    let name = |line: &Line| &*profile.functions[line.function as usize].name;
    let file = |line: &Line| profile.functions[line.function as usize].file.as_deref();
    let lines = profile
        .locations
        .iter()
        .map(|location| &location.lines)
        .find(|lines| lines.iter().any(|line| name(line).ends_with("inner")))
        .expect("some of its code is that of the inlined function");
    let last = lines.last().expect("there is one");
    assert!(name(last).ends_with("::outer"), "{lines:?}");
    assert!(lines.len() >= 2);
    for line in lines {
        assert!(line.line > 0);
        assert!(file(line).is_some_and(|file| file.ends_with(".rs")));
    }
    let known = profile.mappings[0].known;
    assert!(known.functions && known.files && known.lines && known.inlined);
}

#[test]
fn names_alone_have_no_lines() {
    let profile = of_outer(Gear::Names);
    for location in &profile.locations {
        assert_eq!(location.lines.len(), 1);
        assert_eq!((location.lines[0].line, location.lines[0].column), (0, 0));
    }
    assert!(
        profile
            .functions
            .iter()
            .all(|function| function.file.is_none())
    );
    let expected = Known {
        functions: true,
        ..Known::default()
    };
    assert_eq!(profile.mappings[0].known, expected);
}
