use super::*;

#[test]
fn a_line_of_maps_is_read() {
    let line =
        b"7f0000001000-7f0000003000 r-xp 00002000 fe:01 1234    /usr/lib/lib ssl.so (deleted)\n";
    let mapped = parse(7, line).expect("it is executable");
    assert_eq!(
        (mapped.address, mapped.length, mapped.file_offset),
        (0x7f00_0000_1000, 0x2000, 0x2000)
    );
    assert_eq!((mapped.device, mapped.inode), ((0xfe, 1), 1234));
    assert_eq!(mapped.path, b"/usr/lib/lib ssl.so (deleted)");
}

#[test]
fn lines_of_other_things_are_not() {
    for line in [
        "7f0000001000-7f0000003000 r--p 00002000 fe:01 1234 /usr/lib/libssl.so.3\n",
        "7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0 [vdso]\n",
        "7f0000003000-7f0000001000 r-xp 00002000 fe:01 1234 /backwards\n",
        "7f0000001000-7f0000003000 r-xp\n",
        "7f0000001000 r-xp 00002000 fe:01 1234 /usr/lib/libssl.so.3\n",
        "\n",
    ] {
        assert_eq!(parse(7, line.as_bytes()), None, "{line}");
    }
}

#[test]
fn the_program_that_runs_this_is_found_once() {
    use std::os::unix::fs::MetadataExt as _;

    let own = std::env::current_exe().expect("a test has a file");
    let inode = fs::metadata(&own).expect("it is there").ino();
    let own_mapping = |mapped: &Mapped<'_>| {
        mapped.inode == inode && mapped.path == own.as_os_str().as_encoded_bytes()
    };
    let mut found = 0;
    let mut files = 0;
    let processes = sweep(|mapped| {
        files += 1;
        found += usize::from(own_mapping(&mapped));
        true
    });
    assert_eq!(found, 1);
    assert!(files > 1, "at least libc is another");
    assert!(processes > 0);
}

#[test]
fn a_file_is_tried_by_the_next_process_where_one_did_not_do() {
    let mut children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = std::process::Command::new("sleep");
            command.arg("60").spawn().expect("it starts")
        })
        .collect();
    let pids: Vec<_> = children.iter().map(std::process::Child::id).collect();
    // By now each is sleep(1), and no copy of this program.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut tried = Vec::new();
    sweep(|mapped| {
        let is_sleep = mapped.path.ends_with(b"/sleep") && pids.contains(&mapped.pid);
        if is_sleep {
            tried.push(mapped.pid);
        }
        is_sleep && tried.len() == 2
    });
    for child in &mut children {
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }
    assert_eq!(tried.len(), 2, "{tried:?} of {pids:?}");
}
