//! The files that `fathom profile` writes of the same samples, as others read them: `go tool pprof`, and each format beside the others.

mod running;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use running::Running;
use serde_json::Value;

/// The program, built with debug information.
fn build(folder: &Path) -> PathBuf {
    let program = folder.join("inlined");
    let built = Command::new("cc")
        .args(["-O2", "-g", "-fno-omit-frame-pointer", "-Wall", "-Werror"])
        .arg("-o")
        .arg(&program)
        .arg(source())
        .status()
        .expect("cc is installed by `cargo xtask setup`");
    assert!(built.success());
    program
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/programs/inlined.c")
}

/// The line of the source that runs.
fn line() -> usize {
    let text = fs::read_to_string(source()).expect("the source is there");
    let at = text.lines().position(|line| line.contains("/* here */"));
    at.expect("the line has its mark") + 1
}

fn start(program: &Path) -> Running {
    Running::start(&mut Command::new(program)).0
}

fn fathom(arguments: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fathom"))
        .arg("profile")
        .args(arguments)
        .output()
        .expect("fathom starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), said)
}

/// The stacks of folded lines and their counts.
fn folded(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().map(|line| {
        let (stack, count) = line.rsplit_once(' ').expect("a stack and its count");
        (stack.to_owned(), count.parse().expect("a count"))
    });
    lines.collect()
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("an index")).expect("small")
}

/// The stacks of a file for profiler.firefox.com, as folded lines.
fn of_firefox(path: &Path) -> BTreeMap<String, u64> {
    let file: Value = serde_json::from_slice(&fs::read(path).expect("the file")).expect("JSON");
    let shared = &file["shared"];
    let mut stacks = BTreeMap::new();
    for thread in file["threads"].as_array().expect("threads") {
        let samples = &thread["samples"];
        for at in 0..index(&samples["length"]) {
            let mut names = Vec::new();
            let mut stack = &samples["stack"][at];
            while !stack.is_null() {
                let frame = index(&shared["stackTable"]["frame"][index(stack)]);
                let function = index(&shared["frameTable"]["func"][frame]);
                let name = index(&shared["funcTable"]["name"][function]);
                let kernel = file["meta"]["categories"]
                    [index(&shared["frameTable"]["category"][frame])]["name"]
                    == "Kernel";
                let name = shared["stringArray"][name].as_str().expect("text");
                names.push(format!("{name}{}", if kernel { "_[k]" } else { "" }));
                stack = &shared["stackTable"]["prefix"][index(stack)];
            }
            names.push(thread["name"].as_str().expect("a name").to_owned());
            names.reverse();
            let count = samples["weight"][at].as_u64().expect("a count");
            *stacks.entry(names.join(";")).or_default() += count;
        }
    }
    stacks
}

/// What the page's data counts.
fn of_page(path: &Path) -> u64 {
    let page = fs::read_to_string(path).expect("the file");
    let (_, rest) = page.split_once("id=\"data\">").expect("there is data");
    let (json, _) = rest.split_once("</script>").expect("it ends");
    let data: Value = serde_json::from_str(json).expect("JSON");
    let nodes = data["nodes"].as_array().expect("nodes");
    nodes
        .chunks(3)
        .map(|node| node[2].as_u64().expect("a count"))
        .sum()
}

#[test]
fn all_formats_say_the_same_and_go_reads_it() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("SKIPPED all_formats_say_the_same_and_go_reads_it: it takes root");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = start(&build(folder.path()));
    let pid = program.0.id().to_string();
    let path = |name: &str| folder.path().join(name);
    let names = ["a.folded", "a.html", "a.svg", "a.pb.gz", "a.json"];
    let paths = names.map(|name| path(name).to_str().expect("text").to_owned());
    let mut arguments = vec!["-p", &pid, "-d", "2"];
    for path in &paths {
        arguments.extend(["-o", path]);
    }
    fathom(&arguments);

    let lines = folded(&fs::read_to_string(path("a.folded")).expect("the file"));
    let all: u64 = lines.values().sum();
    let way = ";work;outer_inlined;inner_inlined";
    let on_way: u64 = lines
        .iter()
        .filter(|(stack, _)| stack.contains(way))
        .map(|(_, count)| count)
        .sum();
    assert!(on_way * 10 >= all * 9, "{lines:#?}");
    assert_eq!(of_firefox(&path("a.json")), lines);
    assert_eq!(of_page(&path("a.html")), all);

    let (differences, _) = fathom(&["diff", &paths[0], &paths[3]]);
    assert!(differences.contains("No function grew."), "{differences}");
    assert!(differences.contains("No function shrank."), "{differences}");
    go_reads(&path("a.pb.gz"), all);
}

fn go_reads(profile: &Path, all: u64) {
    let pprof = |view: &[&str]| {
        let mut command = Command::new("go");
        let output = command
            .args(["tool", "pprof", "-symbolize=none"])
            .args(view)
            .arg(profile)
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(text)
    };
    let Some(top) = pprof(&["-top", "-lines", "-sample_index=samples"]) else {
        return eprintln!("SKIPPED the comparison with `go tool pprof`: it is not there");
    };
    let leaf = format!("inlined.c:{} (inline)", line());
    assert!(
        top.lines()
            .any(|line| line.contains("inner_inlined ") && line.ends_with(&leaf)),
        "{top}"
    );
    assert!(top.contains("File: inlined\n"), "{top}");
    assert!(top.contains(&format!("Total samples = {all} ")), "{top}");
    let traces = pprof(&["-traces"]).expect("it was there a moment ago");
    for line in [
        "inner_inlined (inline)",
        "outer_inlined (inline)",
        "comm:  inlined",
        "quality:  whole",
    ] {
        assert!(traces.contains(line), "{line}: {traces}");
    }
    let tags = pprof(&["-tags"]).expect("it was there a moment ago");
    for tag in ["pid:", "tid:", "comm:", "service:", "quality:"] {
        assert!(tags.contains(tag), "{tag}: {tags}");
    }
}
