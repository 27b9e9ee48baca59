use std::process::{Command, Stdio};

use super::{
    input::{Line, parse},
    *,
};

fn session(symbolizer: &Symbolizer, gear: Gear, json: bool) -> Session<'_> {
    let own = std::env::current_exe().expect("a test has a file");
    Session {
        place: Place::File(symbolizer.open(own).expect("opens")),
        symbolizer,
        gear,
        form: Form {
            json,
            demangle: false,
            inlines: true,
        },
    }
}

fn answers(session: &Session<'_>, input: &str) -> String {
    let mut out = Vec::new();
    let errors = match session.run(BufReader::new(input.as_bytes()), &mut out) {
        Ok(errors) => errors,
        Err(_) => panic!("memory takes all"),
    };
    assert_eq!(errors, BTreeSet::new());
    String::from_utf8(out).expect("text")
}

/// The same input to both: the same text comes out, for addresses and for what is none.
#[test]
fn llvm_symbolizer_prints_the_same() {
    let own = std::env::current_exe().expect("a test has a file");
    let child = Command::new("llvm-symbolizer-14")
        .args(["--no-demangle", "--obj"])
        .arg(&own)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!(
            "SKIPPED llvm_symbolizer_prints_the_same: no llvm-symbolizer here (package llvm)"
        );
        return;
    };
    let function = llvm_symbolizer_prints_the_same as fn() as usize as u64;
    let symbolizer = Symbolizer::default();
    let here = symbolizer
        .symbolize_process(std::process::id(), Gear::Names, &[function])
        .expect("it lives")
        .remove(0);
    let at = here.address;
    let input = format!(
        "{at:#x}\n{at}\n0{at:o}\nCODE {at:#x} more\n\n \n0xffff00000000\n{:#x}\nno address\n0x\n{:#x}0\n+1\n-1\n",
        u64::MAX,
        u64::MAX,
    );
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let theirs = String::from_utf8(output.stdout).expect("text");
    assert!(theirs.contains("llvm_symbolizer_prints_the_same"));
    assert_eq!(
        answers(&session(&symbolizer, Gear::Lines, false), &input),
        theirs
    );
}

#[test]
fn json_has_an_object_a_line() {
    let symbolizer = Symbolizer::default();
    let function = json_has_an_object_a_line as fn() as usize as u64;
    let pid = std::process::id();
    let mut session = session(&symbolizer, Gear::Names, true);
    session.place = Place::Process(pid);
    let text = answers(&session, &format!("{function:#x}\n0x1\n"));
    let objects: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["address"], format!("{function:#x}"));
    let frame = &objects[0]["frames"][0];
    assert!(
        frame["function"]
            .as_str()
            .expect("a name")
            .contains("json_has_an_object_a_line")
    );
    assert_eq!(frame["source"], "symtab");
    assert!(
        objects[0]["module"]
            .as_str()
            .expect("a path")
            .starts_with('/')
    );
    assert_eq!(objects[1]["frames"], serde_json::json!([]));
}

#[test]
fn numbers_are_read_in_four_bases() {
    for (line, address) in [
        ("0x1f40\n", 0x1f40),
        ("8000\n", 8000),
        ("017500\r\n", 8000),
        ("0b11 and more", 3),
        ("0", 0),
        ("CODE 0X10", 16),
    ] {
        assert_eq!(parse(line.as_bytes()), Line::Address(address), "{line}");
    }
    for line in [
        "",
        "\n",
        "0x",
        "1f40",
        "08",
        "+1",
        "0x+1",
        "-1",
        "18446744073709551616",
        "é",
    ] {
        assert_eq!(parse(line.as_bytes()), Line::Other, "{line}");
    }
    assert_eq!(parse(b"\xff1"), Line::Other);
}
