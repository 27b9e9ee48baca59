use std::{fs, io::Write as _};

use super::*;

fn jit(kind: JitFormat) -> (JitCode, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut jit = JitCode::new(1 << 20);
    jit.add(kind, file.reopen().expect("opens"), "map".to_owned());
    (jit, file)
}

fn name(jit: &JitCode, address: u64) -> Option<String> {
    let frames = jit.frames(address).expect("nothing was left out");
    Some(frames.first()?.name.as_ref()?.linkage().to_owned())
}

/// The forms that node 18 (`--perf-basic-prof`), OpenJDK's perf-map-agent and .NET write.
#[test]
fn a_perf_map_is_read_on_as_it_grows() {
    let (mut jit, mut file) = jit(JitFormat::PerfMap);
    write!(file, "7f0000001000 20 LazyCompile:*f /srv/a b.js:1:2\n0x7f0000002000 0x10 Lfoo;::bar\nnot a line\n7f00000030").expect("written");
    jit.read_on().expect("readable");
    let f = Some("LazyCompile:*f /srv/a b.js:1:2".to_owned());
    assert_eq!(name(&jit, 0x7f00_0000_1000), f);
    assert_eq!(name(&jit, 0x7f00_0000_101f), f);
    assert_eq!(name(&jit, 0x7f00_0000_1020), None);
    assert_eq!(name(&jit, 0x7f00_0000_2004).as_deref(), Some("Lfoo;::bar"));
    writeln!(file, "00 8 late").expect("written");
    assert_eq!(name(&jit, 0x7f00_0000_3000), None);
    jit.read_on().expect("readable");
    assert_eq!(name(&jit, 0x7f00_0000_3007).as_deref(), Some("late"));
    // Begun anew, as by a program that runs again under the same number.
    fs::write(file.path(), "10 10 other\n").expect("written");
    jit.read_on().expect("readable");
    assert_eq!(name(&jit, 0x7f00_0000_3007), None);
    assert_eq!(name(&jit, 0x10).as_deref(), Some("other"));
}

#[test]
fn what_comes_later_stands_where_something_stood() {
    let (mut jit, mut file) = jit(JitFormat::PerfMap);
    write!(file, "100 100 a\n120 20 b\n1f0 20 c\n300 10 d\n2f0 40 e\n").expect("written");
    jit.read_on().expect("readable");
    for (address, expected) in [
        (0xff, None),
        (0x100, Some("a")),
        (0x11f, Some("a")),
        (0x120, Some("b")),
        (0x13f, Some("b")),
        (0x140, Some("a")),
        (0x1ef, Some("a")),
        (0x1f0, Some("c")),
        (0x20f, Some("c")),
        (0x210, None),
        (0x305, Some("e")),
    ] {
        assert_eq!(name(&jit, address).as_deref(), expected, "{address:#x}");
    }
    let bytes = jit.bytes();
    jit.forget();
    assert_eq!(jit.bytes(), 0);
    jit.read_on().expect("readable");
    assert_eq!(jit.bytes(), bytes);
}

#[test]
fn a_map_without_end_is_left_out_and_said_so() {
    let (mut jit, mut file) = jit(JitFormat::PerfMap);
    for index in 0..100_000 {
        writeln!(file, "{:x} 10 function_{index}", 0x1000 + index * 16).expect("written");
    }
    file.flush().expect("written");
    jit.read_on().expect("readable");
    assert!(jit.bytes() < 64 << 20, "{}", jit.bytes());
    assert!(name(&jit, 0x1000).is_some());
    let error = jit.frames(0x1000 + 99_999 * 16).expect_err("left out");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

/// A record of a dump, in the byte order of this machine or in the other.
fn record(swapped: bool, id: u32, parts: &[&[u8]]) -> Vec<u8> {
    let size = 16 + parts.iter().map(|part| part.len()).sum::<usize>();
    let number = |number: u32| if swapped { number.swap_bytes() } else { number };
    let mut record = number(id).to_ne_bytes().to_vec();
    record.extend(number(u32::try_from(size).expect("small")).to_ne_bytes());
    record.extend([0; 8]);
    record.extend(parts.concat());
    record
}

fn dump(swapped: bool) -> Vec<u8> {
    let word = |number: u64| if swapped { number.swap_bytes() } else { number }.to_ne_bytes();
    let half = |number: u32| if swapped { number.swap_bytes() } else { number }.to_ne_bytes();
    let mut bytes = half(0x4a69_5444).to_vec();
    bytes.extend([half(1), half(40), half(62), half(0), half(7)].concat());
    bytes.extend([0; 16]);
    let line = |address: u64, line: u32, name: &[u8]| {
        [&word(address)[..], &half(line), &half(0), name, b"\0"].concat()
    };
    bytes.extend(record(
        swapped,
        2,
        &[
            &word(0x1000),
            &word(2),
            &line(0x1000, 5, b"a.js"),
            &line(0x1008, 6, b"\xff"),
        ],
    ));
    bytes.extend(record(
        swapped,
        0,
        &[
            &half(7),
            &half(7),
            &word(0x1000),
            &word(0x1000),
            &word(16),
            &word(1),
            b"f\0",
            &[0x90; 16],
        ],
    ));
    bytes.extend(record(swapped, 9, &[b"unknown"]));
    bytes.extend(record(
        swapped,
        1,
        &[
            &half(7),
            &half(7),
            &word(0x2000),
            &word(0x1000),
            &word(0x2000),
            &word(16),
            &word(1),
        ],
    ));
    bytes.extend(record(swapped, 3, &[]));
    bytes
}

#[test]
fn a_dump_has_names_and_lines_that_move_with_the_code() {
    for swapped in [false, true] {
        let (mut jit, mut file) = jit(JitFormat::Dump);
        let bytes = dump(swapped);
        // Half of it, and then the rest.
        file.write_all(&bytes[..60]).expect("written");
        jit.read_on().expect("readable");
        file.write_all(&bytes[60..]).expect("written");
        jit.read_on().expect("readable");
        assert!(
            jit.frames(0x1004).expect("all was read").is_empty(),
            "it was moved"
        );
        let lines = [0x2000, 0x2007, 0x2008].map(|address| {
            let frames = jit.frames(address).expect("all was read");
            assert_eq!(frames[0].source, Source::JitDump);
            frames[0].to_string()
        });
        assert_eq!(lines, ["f at a.js:5", "f at a.js:5", "f at a.js:6"]);
    }
}

#[test]
fn another_file_is_no_dump() {
    let (mut jit, mut file) = jit(JitFormat::Dump);
    file.write_all(&[7; 4096]).expect("written");
    jit.read_on().expect("readable");
    assert!(
        jit.frames(0x0707_0707_0707_0707)
            .expect("nothing")
            .is_empty()
    );
}
