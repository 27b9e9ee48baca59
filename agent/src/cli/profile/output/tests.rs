use super::*;

#[test]
fn the_ending_is_the_format() {
    let format = |path: &str| Format::choose(None, Path::new(path)).ok();
    assert_eq!(format("a/b.svg"), Some(Format::Svg));
    assert_eq!(format("b.x.folded"), Some(Format::Folded));
    assert_eq!(format("b.folded.gz"), Some(Format::Folded));
    assert_eq!(format("b.pb.gz"), Some(Format::Pprof));
    for unknown in ["b", "b.gz", "b.txt", "svg", "", ".."] {
        assert_eq!(format(unknown), None, "{unknown}");
    }
}

#[test]
fn what_ends_in_gz_is_gzipped_once() {
    let packs = |asked, path: &str| {
        Form::choose(asked, Inlined::Plain, Path::new(path))
            .unwrap()
            .packs
    };
    assert!(packs(None, "b.folded.gz") && packs(None, "b.json.gz"));
    assert!(packs(Some(Format::Html), "b.gz"));
    assert!(!packs(None, "b.pb.gz"), "it is so by itself");
    assert!(!packs(None, "b.folded"));
}

#[test]
fn what_is_no_ordinary_file_is_written_as_it_is() {
    let device = Target::open(Path::new("/dev/null")).expect("it is there");
    assert_eq!(device.new_path(), None);
    device.write(|out| out.write_all(b"x")).expect("written");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("b.folded");
    fs::write(&file, "what was there before").expect("written");
    let target = Target::open(&file).expect("it is there");
    target.write(|out| out.write_all(b"new")).expect("written");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "new");
}

#[test]
fn what_is_asked_for_counts_before_the_ending() {
    let asked = Format::choose(Some(Format::Pprof), Path::new("a.svg"));
    assert_eq!(asked.ok(), Some(Format::Pprof));
}

#[test]
fn what_is_unknown_is_told_all_that_there_is() {
    let error = |path| {
        let error = Format::choose(None, Path::new(path)).expect_err("it says no format");
        error.to_string()
    };
    let of_file = error("x.txt");
    for (ending, _) in ENDINGS {
        assert!(of_file.contains(ending), "{of_file}");
    }
    assert!(of_file.contains("--format"), "{of_file}");
    let of_stdout = error(STDOUT);
    for format in ["html", "svg", "folded", "pprof", "firefox"] {
        assert!(of_stdout.contains(format), "{of_stdout}");
    }
}
