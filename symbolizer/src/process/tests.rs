use super::*;
use crate::{Gear, Symbolizer, build_id};

#[test]
fn lines_are_taken_apart() {
    let text = b"\
55d0c0a00000-55d0c0a28000 r--p 00000000 fd:01 1234                       /usr/bin/a b (deleted)
55d0c0a28000-55d0c0b00000 r-xp 00028000 fd:01 1234                       /usr/lib/x\\012y.so
7ffc0000-7ffd0000 rw-p 00000000 00:00 0                                  [stack]
7ffe1000-7ffe2000 r-xp 00000000 00:00 0                                  [vdso]
7fff0000-7fff1000 rwxp 00000000 00:00 0 
7fffa000-7fffb000 rwxp 00000000 00:01 77                                 anon_inode:[x]
bad
2-1 r-xp 0 00:00 0
";
    let mappings = parse_mappings(text);
    assert_eq!(mappings.len(), 6);
    let id = FileId {
        device: (0xfd, 1),
        inode: 1234,
    };
    assert_eq!(
        mappings[0].kind,
        MappingKind::File {
            id,
            path: "/usr/bin/a b".into(),
            deleted: true
        }
    );
    assert!(!mappings[0].executable && mappings[1].executable);
    assert_eq!(mappings[1].name(), "/usr/lib/x\ny.so");
    assert_eq!(mappings[1].file_offset(0x55d0_c0a2_8010), 0x28010);
    assert_eq!(mappings[2].name(), "[stack]");
    assert_eq!(mappings[3].kind, MappingKind::Vdso);
    assert_eq!(mappings[4].name(), "[anon]");
    assert_eq!(mappings[5].name(), "anon_inode:[x]");
}

#[test]
fn any_bytes_are_taken() {
    for bytes in [
        &b""[..],
        b"-",
        b"-  ",
        b"f-f r-xp",
        b"\xff\xff-\xff",
        b"0-1 r 0 0:0 99999999999999999999 /",
    ] {
        assert!(parse_mappings(bytes).is_empty());
    }
}

#[inline(never)]
fn a_function_of_this_test() -> u64 {
    std::hint::black_box(7)
}

/// The whole way, on the test's own process: mapping, file, load segment, symbol.
#[test]
fn an_address_of_this_process_has_its_name() {
    let pid = std::process::id();
    let address = a_function_of_this_test as fn() -> u64 as usize as u64;
    let mappings = mappings(pid).expect("own mappings");
    let mapping = mappings
        .iter()
        .find(|mapping| mapping.contains(address))
        .expect("code is mapped");
    let file = open_mapped(pid, mapping).expect("the file opens");
    let symbolizer = Symbolizer::default();
    let module = symbolizer.open_file(file, &mapping.name()).expect("parses");
    let at = module
        .address_of(mapping.file_offset(address))
        .expect("loaded");
    let length = mapping.end - mapping.start;
    let start = module.code_address_of(mapping.offset, length);
    assert_eq!(
        start.map(|start| start.wrapping_add(address - mapping.start)),
        Some(at)
    );
    assert_eq!(module.code_address_of(1 << 40, length), None);
    let frames = symbolizer
        .symbolize(&module, Gear::Names, at + 1)
        .expect("readable");
    let name = frames[0].name.as_ref().expect("has a name");
    assert!(
        name.as_str().ends_with("::a_function_of_this_test"),
        "{name}"
    );
}

#[test]
fn the_vdso_has_names() {
    let pid = std::process::id();
    let mappings = mappings(pid).expect("own mappings");
    let Some(vdso) = mappings
        .iter()
        .find(|mapping| mapping.kind == MappingKind::Vdso)
    else {
        eprintln!("SKIPPED the_vdso_has_names: this kernel maps none");
        return;
    };
    let symbolizer = Symbolizer::default();
    let image = read_vdso(pid, vdso).expect("readable");
    let length = image.len() as u64;
    let module = symbolizer.open_image(image, "[vdso]").expect("parses");
    assert!(module.build_id().is_some());
    let named = (0..length).filter_map(|offset| {
        let at = module.address_of(offset)?;
        let frames = symbolizer
            .symbolize(&module, Gear::Names, at)
            .expect("readable");
        Some(frames.first()?.name.as_ref()?.as_str().to_owned())
    });
    let names: std::collections::BTreeSet<_> = named.collect();
    assert!(
        names.iter().any(|name| name.contains("clock_gettime")),
        "{names:?}"
    );
}

#[test]
fn a_file_that_was_unlinked_is_still_reached() {
    let pid = std::process::id();
    let mapped = mappings(pid).expect("own mappings");
    let own = mapped
        .iter()
        .find(|mapping| matches!(mapping.kind, MappingKind::File { .. }) && mapping.executable)
        .expect("a program has a file");
    let mut unlinked = own.clone();
    let MappingKind::File { path, deleted, .. } = &mut unlinked.kind else {
        unreachable!("chosen above");
    };
    *path = "/nowhere".into();
    *deleted = true;
    match open_mapped(pid, &unlinked) {
        Ok(file) => assert!(build_id(&file, "self").is_ok()),
        Err(error) => eprintln!("SKIPPED a_file_that_was_unlinked_is_still_reached: {error}"),
    }
}

#[test]
fn another_file_under_the_path_is_refused() {
    let mut mapping = mappings(std::process::id())
        .expect("own mappings")
        .remove(0);
    let MappingKind::File { path, id, .. } = &mut mapping.kind else {
        panic!("the first mapping is the program's");
    };
    *path = "/proc/self/status".into();
    id.inode += 1;
    // So that only the path is left.
    mapping.start += 1;
    let error = open_mapped(std::process::id(), &mapping).expect_err("not the mapped file");
    assert!(
        matches!(error, Error::Replaced { .. } | Error::NotRegular { .. }),
        "{error}"
    );
}
