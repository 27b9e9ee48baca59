use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

use fathom_symbolizer::FileId;

use super::*;

fn files() -> Files {
    Files::new(Arc::new(Symbolizer::default()), 8, Arc::default())
}

fn asker(pid: u32, now_ns: u64) -> Asker<'static> {
    Asker {
        pid,
        relatives: &[],
        now_ns,
    }
}

/// No process has this number.
const GONE: u32 = 4_194_305;

/// A region of a file as the kernel would tell of it.
fn region(path: &std::path::Path, generation: Option<u64>) -> Region {
    let metadata = fs::metadata(path).expect("it is there");
    let device = metadata.dev();
    Region {
        start: 0x1000,
        end: 0x2000,
        offset: 0,
        backing: Backing::File(Arc::new(MappedFile {
            id: FileId {
                device: (rustix::fs::major(device), rustix::fs::minor(device)),
                inode: metadata.ino(),
            },
            generation,
            path: path.to_string_lossy().into(),
            is_deleted: false,
        })),
    }
}

#[test]
fn a_file_is_found_by_its_path_when_its_process_is_gone() {
    let own = std::env::current_exe().expect("a test has a file");
    let mut files = files();
    let region = region(&own, None);
    let module = files.module(&region, asker(GONE, 0)).expect("by its path");
    assert_eq!(module.name(), own.to_string_lossy());
    assert_eq!(files.counts.of(Lookup::FileByPath), 1);
    files.module(&region, asker(GONE, 1)).expect("known");
    assert_eq!(files.counts.of(Lookup::FileByPath), 1, "opened once");
}

#[test]
fn another_file_under_the_path_will_not_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("program");
    fs::copy("/proc/self/exe", &path).expect("copied");
    let region = region(&path, None);
    // As an installer replaces it.
    let new = folder.path().join("new");
    fs::copy("/proc/self/exe", &new).expect("copied");
    fs::rename(&new, &path).expect("moved");
    let mut files = files();
    files
        .module(&region, asker(GONE, 0))
        .expect_err("it is another one");
    assert_eq!(files.counts.of(Lookup::FileUnreachable), 1);
    files.module(&region, asker(GONE, 1)).expect_err("still");
    assert_eq!(
        files.counts.of(Lookup::FileUnreachable),
        1,
        "not tried again at once"
    );
    files
        .module(&region, asker(GONE, RETRY_NS))
        .expect_err("still");
    assert_eq!(files.counts.of(Lookup::FileUnreachable), 2);
}

#[test]
fn the_generation_tells_inodes_apart() {
    let own = std::env::current_exe().expect("a test has a file");
    let listed = Command::new("lsattr").arg("-v").arg(&own).output();
    let listed = listed.ok().filter(|output| output.status.success());
    let Some(listed) = listed else {
        eprintln!(
            "SKIPPED the_generation_tells_inodes_apart: this file system has none, or lsattr (e2fsprogs) is wanting"
        );
        return;
    };
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let generation: u64 = text
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number");
    files()
        .module(&region(&own, Some(generation)), asker(GONE, 0))
        .expect("the same");
    files()
        .module(&region(&own, Some(generation ^ 1)), asker(GONE, 0))
        .expect_err("another one");
}

#[test]
fn there_are_no_more_files_than_may_be_and_unused_ones_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = files();
    let mut regions = Vec::new();
    for number in 0..20 {
        let path = folder.path().join(number.to_string());
        fs::copy("/proc/self/exe", &path).expect("copied");
        let region = region(&path, None);
        files.module(&region, asker(GONE, number)).expect("opens");
        regions.push(region);
    }
    assert_eq!(files.files.len(), 8);
    assert!(files.known(&regions[19]).is_some() && files.known(&regions[0]).is_none());
    files.close_unused(UNUSED_NS + 15);
    assert_eq!(files.files.len(), 4);
}

#[test]
fn all_processes_share_one_vdso() {
    let mut files = files();
    let region = Region {
        start: 0x1000,
        end: 0x3000,
        offset: 0,
        backing: Backing::Vdso,
    };
    let own = fathom_symbolizer::mappings(std::process::id()).expect("own mappings");
    if !own.iter().any(|mapping| mapping.kind == MappingKind::Vdso) {
        eprintln!("SKIPPED all_processes_share_one_vdso: this kernel maps none");
        return;
    }
    let module = files.module(&region, asker(GONE, 0)).expect("the kernel's");
    assert!(module.build_id().is_some());
}
