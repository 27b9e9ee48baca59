use std::{
    fs,
    io::Write as _,
    time::{Duration, SystemTime},
};

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

/// The JVM's `Compiler.perfmap` writes the whole map each time that it is asked to. The first lines stay what they were.
#[test]
fn a_map_that_was_written_anew_is_read_anew_however_long_it_is() {
    let stubs: String = (0..10)
        .map(|stub| format!("{:x} 10 stub\n", 0x10 * (stub + 1)))
        .collect();
    let before = format!("{stubs}1000 10 first\n2000 10 second\n3000 10 third\n");
    for after in [
        // Longer, as long, and longer with the same lines at the end.
        "1000 10 another\n2000 10 one\n4000 10 later\n5000 10 last\n",
        "1000 10 other\n2000 10 third_\n4000 10 later\n",
        "1000 10 other\n2000 10 a_longer_name\n3000 10 third\n4000 10 later\n",
    ] {
        let (mut jit, file) = jit(JitFormat::PerfMap);
        fs::write(file.path(), &before).expect("written");
        jit.read_on().expect("readable");
        assert_eq!(name(&jit, 0x2000).as_deref(), Some("second"));
        fs::write(file.path(), format!("{stubs}{after}")).expect("written");
        // A clock tick may not have passed since.
        let later = SystemTime::now() + Duration::from_secs(1);
        file.as_file().set_modified(later).expect("set");
        jit.read_on().expect("readable");
        let second = after
            .lines()
            .nth(1)
            .and_then(|line| line.rsplit(' ').next());
        assert_eq!(name(&jit, 0x2000).as_deref(), second);
        assert_eq!(name(&jit, 0x4000).as_deref(), Some("later"));
        assert_eq!(name(&jit, 0x10).as_deref(), Some("stub"));
    }
}

/// What was read is not read again when more is written.
#[test]
fn a_map_that_grew_is_not_read_anew() {
    let (mut jit, mut file) = jit(JitFormat::PerfMap);
    for index in 0..100 {
        writeln!(file, "{:x} 10 function_{index}", 0x1000 + index * 16).expect("written");
        jit.read_on().expect("readable");
    }
    let length = file.as_file().metadata().expect("it is there").len();
    assert_eq!(jit.said[0].read as u64, length);
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

/// The rest is a hole, which takes no room on a disk and a long time to be read.
#[test]
fn a_map_in_which_no_line_ends_is_read_no_further_and_said_so() {
    let (mut jit, mut file) = jit(JitFormat::PerfMap);
    writeln!(file, "100 10 first").expect("written");
    file.as_file().set_len(1 << 32).expect("a hole");
    jit.read_on().expect("readable");
    assert!(jit.said[0].read <= 2 * AT_ONCE, "{}", jit.said[0].read);
    assert_eq!(name(&jit, 0x100).as_deref(), Some("first"));
    let error = jit.frames(0x200).expect_err("there is more");
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let read = jit.said[0].read;
    jit.read_on().expect("readable");
    assert_eq!(jit.said[0].read, read);
}

#[test]
fn a_look_ends_and_the_next_goes_on() {
    let (mut jit, file) = jit(JitFormat::Dump);
    let dump = dump(false);
    let file = file.as_file();
    file.write_all_at(&dump[..40], 0).expect("written");
    // Records of a mebibyte that nobody knows.
    for number in 0..100 {
        let head = [9_u32.to_ne_bytes(), (1_u32 << 20).to_ne_bytes()].concat();
        file.write_all_at(&head, 40 + (number << 20))
            .expect("written");
    }
    file.write_all_at(&dump[40..], 40 + (100 << 20))
        .expect("written");
    jit.read_on().expect("readable");
    assert_eq!(jit.said[0].read, MAX_LOOK);
    let error = jit.frames(0x2000).expect_err("there is more");
    let is_said = matches!(error, Error::TooLarge { limit, .. } if limit == MAX_LOOK);
    assert!(is_said, "{error}");
    jit.read_on().expect("readable");
    let frames = jit.frames(0x2000).expect("all was read");
    assert_eq!(frames[0].to_string(), "f at a.js:5");
}

#[test]
fn of_one_file_so_much_is_read_and_no_more() {
    let (mut jit, mut file) = jit(JitFormat::PerfMap);
    writeln!(file, "100 10 first").expect("written");
    jit.read_on().expect("readable");
    jit.said[0].read = MAX_READ;
    writeln!(file, "200 10 second").expect("written");
    jit.read_on().expect("readable");
    assert_eq!(name(&jit, 0x100).as_deref(), Some("first"));
    let error = jit.frames(0x200).expect_err("there is more");
    let is_said = matches!(error, Error::TooLarge { limit, .. } if limit == MAX_READ);
    assert!(is_said, "{error}");
}

#[test]
fn all_files_together_keep_to_the_limit() {
    let (mut jit, mut file) = jit(JitFormat::PerfMap);
    for index in 0..2000 {
        writeln!(file, "{:x} 10 function_{index}", 0x1000 + index * 16).expect("written");
    }
    for name in ["second", "third"] {
        let file = file.reopen().expect("opens");
        jit.add(JitFormat::PerfMap, file, name.to_owned());
    }
    jit.read_on().expect("readable");
    let of_one = jit.said[0].bytes();
    jit.forget();
    jit.limit = 2 * of_one + of_one / 2;
    jit.read_on().expect("readable");
    let over = jit.bytes() - jit.limit;
    assert!((1..1000).contains(&over), "{over}");
    assert_eq!(jit.said[0].bytes(), of_one);
    assert!(jit.said[2].bytes() < of_one);
    let error = jit.frames(1).expect_err("some was left out");
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

/// A dump of which no function comes, but lines of functions.
#[test]
fn lines_that_wait_for_their_functions_are_counted() {
    let (mut jit, mut file) = jit(JitFormat::Dump);
    file.write_all(&dump(false)[..40]).expect("written");
    let lines: Vec<u8> = (0..1000_u64)
        .flat_map(|address| [&address.to_ne_bytes()[..], &[0; 8], b"a.js\0"].concat())
        .collect();
    let record = |code: u64| {
        let head = [code.to_ne_bytes(), 1000_u64.to_ne_bytes()].concat();
        record(false, 2, &[&head, &lines])
    };
    file.write_all(&record(1)).expect("written");
    jit.read_on().expect("readable");
    let of_one = jit.bytes();
    assert!(of_one > 1000 * size_of::<codes::Line>(), "{of_one}");
    // The last of the same address counts.
    file.write_all(&record(1)).expect("written");
    jit.read_on().expect("readable");
    assert_eq!(jit.bytes(), of_one);
    for code in 2..63 {
        file.write_all(&record(code)).expect("written");
    }
    jit.read_on().expect("readable");
    assert!(jit.bytes() <= jit.limit + of_one, "{}", jit.bytes());
    let error = jit.frames(1).expect_err("some was left out");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
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
