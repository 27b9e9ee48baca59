use super::*;

/// A record as the kernel writes it, padded to 8 bytes.
fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_ne_bytes().to_vec();
    bytes.extend(misc.to_ne_bytes());
    bytes.extend([0, 0]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let length = bytes.len() as u16;
    bytes[6..8].copy_from_slice(&length.to_ne_bytes());
    bytes
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn mmap2(misc: u16, inode: u64, protection: u32, path: &[u8]) -> Vec<u8> {
    let mut body = words(&[7, 8]);
    for word in [0x1000_u64, 0x2000, 0x3000] {
        body.extend(word.to_ne_bytes());
    }
    body.extend(words(&[8, 1]));
    body.extend(inode.to_ne_bytes());
    body.extend(99_u64.to_ne_bytes());
    body.extend(words(&[protection, 2]));
    body.extend(path);
    body.push(0);
    record(MMAP2, misc, &body)
}

#[test]
fn an_executable_mapping_of_a_file_is_told() {
    let mapped = Mapped {
        pid: 7,
        tid: 8,
        address: 0x1000,
        length: 0x2000,
        file_offset: 0x3000,
        device: (8, 1),
        inode: 1234,
        generation: Some(99),
        path: b"/lib/libssl.so.3",
    };
    assert_eq!(
        parse(&mmap2(2, 1234, 5, b"/lib/libssl.so.3")),
        Ok(Some(Event::Mapped(mapped)))
    );
}

#[test]
fn executable_memory_without_a_file_is_told() {
    for (name, is_vdso) in [(&b"//anon"[..], false), (b"[vdso]", true)] {
        let code = Code {
            pid: 7,
            address: 0x1000,
            length: 0x2000,
            is_vdso,
        };
        assert_eq!(parse(&mmap2(2, 0, 5, name)), Ok(Some(Event::Code(code))));
    }
}

#[test]
fn the_last_eight_bytes_are_the_time() {
    let mut record = mmap2(2, 1234, 5, b"/a");
    record.extend(77_u64.to_ne_bytes());
    assert_eq!(time(&record), Ok(77));
    assert_eq!(time(&record[..12]), Err(Malformed));
    assert_eq!(time(&[]), Err(Malformed));
}

#[test]
fn what_is_not_executed_or_is_unknown_is_nothing() {
    assert_eq!(parse(&mmap2(2, 0, 3, b"//anon")), Ok(None));
    assert_eq!(parse(&mmap2(2, 1234, 1, b"/lib/libssl.so.3")), Ok(None));
    assert_eq!(
        parse(&mmap2(2 | MMAP_BUILD_ID, 1234, 5, b"/lib/libssl.so.3")),
        Ok(None)
    );
    assert_eq!(parse(&record(77, 0, &[0; 8])), Ok(None));
    assert_eq!(
        parse(&record(COMM, 0, b"\x07\0\0\0\x08\0\0\0thread\0")),
        Ok(None)
    );
}

#[test]
fn processes_are_told_from_threads() {
    let exec = record(COMM, COMM_EXEC, b"\x07\0\0\0\x07\0\0\0curl\0\0\0\0");
    assert_eq!(
        parse(&exec),
        Ok(Some(Event::Exec {
            pid: 7,
            comm: b"curl"
        }))
    );
    let task = |kind, pid, parent, tid| {
        let body = [words(&[pid, parent, tid, parent]), vec![0; 8]].concat();
        parse(&record(kind, 0, &body)).map(|event| format!("{event:?}"))
    };
    let said = |event: Option<Event<'_>>| Ok(format!("{event:?}"));
    assert_eq!(
        task(FORK, 7, 6, 7),
        said(Some(Event::Forked { pid: 7, parent: 6 }))
    );
    assert_eq!(task(FORK, 7, 7, 8), said(None));
    assert_eq!(task(EXIT, 7, 6, 7), said(Some(Event::Exited { pid: 7 })));
    assert_eq!(task(EXIT, 7, 7, 8), said(None));
}

#[test]
fn losses_are_told() {
    let body = [5_u64.to_ne_bytes(), 321_u64.to_ne_bytes()].concat();
    assert_eq!(parse(&record(LOST, 0, &body)), Ok(Some(Event::Lost(321))));
}

#[test]
fn a_record_that_is_cut_short_is_malformed() {
    let whole = mmap2(2, 1234, 5, b"/lib/libssl.so.3");
    for length in 0..72 {
        assert_eq!(parse(&whole[..length]), Err(Malformed), "{length}");
    }
    for kind in [FORK, EXIT, LOST] {
        assert_eq!(parse(&record(kind, 0, b"")), Err(Malformed));
    }
    assert_eq!(parse(&record(COMM, COMM_EXEC, b"")), Err(Malformed));
}
