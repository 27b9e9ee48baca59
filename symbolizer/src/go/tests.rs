use std::{collections::BTreeMap, fs, path::Path, process::Command};

use super::*;
use crate::{Frames, Gear, Source, Symbolizer, elf::Image};

const PROGRAM: &str = "
package main

import \"os\"

type pair struct{ a, b int }

//go:noinline
func (p *pair) sum(n int) int { return twice(p.a) + twice(n) + len(os.Args) }

func twice(x int) int { return thrice(x) * 2 }

func thrice(x int) int {
	for i := range os.Args {
		x += i
	}
	return x * 3
}

func main() {
	p := &pair{len(os.Args), 2}
	func() { println(p.sum(3)) }()
	os.Exit(0)
}
";

/// A program for a machine, whole and stripped; what it is called for.
fn build(machine: &str, flags: &[&str], test: &str) -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("main.go"), PROGRAM).expect("written");
    for (name, linker) in [("whole", ""), ("stripped", "-s -w")] {
        let status = Command::new("go")
            .current_dir(&folder)
            .envs([
                ("GOARCH", machine),
                ("CGO_ENABLED", "0"),
                ("GOFLAGS", "-trimpath"),
            ])
            .args(["build", "-ldflags", linker, "-o", name])
            .args(flags)
            .arg("main.go")
            .status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED {test}: no go here (package golang-go)");
            return None;
        }
    }
    Some(folder)
}

/// Addresses all over a program's functions, by `go tool nm`.
fn addresses(program: &Path) -> Vec<u64> {
    let output = Command::new("go")
        .args(["tool", "nm", "-size"])
        .arg(program)
        .output();
    let text = String::from_utf8(output.expect("go is there").stdout).expect("text");
    let mut addresses = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        if let [address, size, "t" | "T", name, ..] = words[..]
            && name.contains('.')
            && let (Ok(address), Ok(size)) = (u64::from_str_radix(address, 16), size.parse::<u64>())
            && size > 0
        {
            addresses.extend([
                address,
                address + size / 3,
                address + size.saturating_sub(1),
            ]);
        }
    }
    assert!(addresses.len() > 3000);
    addresses
}

/// What `go tool addr2line` says: the function that the code lies in, and the file and line of the address.
fn addr2line(program: &Path, addresses: &[u64]) -> Vec<(String, String)> {
    let input: String = addresses
        .iter()
        .map(|address| format!("{address:#x}\n"))
        .collect();
    let path = program.with_extension("addresses");
    fs::write(&path, input).expect("written");
    let output = Command::new("go")
        .args(["tool", "addr2line"])
        .arg(program)
        .stdin(fs::File::open(path).expect("opens"))
        .output()
        .expect("go is there");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = text.lines().collect();
    lines
        .chunks_exact(2)
        .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
        .collect()
}

fn ask(program: &Path, gear: Gear, addresses: &[u64]) -> Vec<Frames> {
    Symbolizer::default()
        .symbolize_file(program, gear, addresses)
        .expect("readable")
}

#[test]
fn functions_files_and_lines_are_those_of_gos_own_tool() {
    for machine in ["amd64", "arm64", "386", "mips"] {
        let test = "functions_files_and_lines_are_those_of_gos_own_tool";
        let Some(folder) = build(machine, &[], test) else {
            return;
        };
        let (whole, stripped) = (folder.path().join("whole"), folder.path().join("stripped"));
        let addresses = addresses(&whole);
        // Go's tool takes its addresses from the symbol table, which the stripped one does not have.
        let truth = addr2line(&whole, &addresses);
        assert_eq!(truth.len(), addresses.len());
        let answers = ask(&stripped, Gear::Lines, &addresses);
        let names = ask(&stripped, Gear::Names, &addresses);
        for (((address, (function, line)), answer), name) in
            addresses.iter().zip(truth).zip(answers).zip(names)
        {
            let (innermost, outermost) = (&answer[0], answer.outermost().expect("some"));
            assert_eq!(innermost.source, Source::Go);
            let outermost = outermost.name.as_ref().expect("named");
            // Assembly has two names by its ABI in the symbol table.
            let function = function.trim_end_matches(".abi0");
            assert_eq!(outermost.as_str(), function, "{machine} {address:#x}");
            assert_eq!(name[0].name.as_ref(), Some(outermost));
            let file = innermost.file.as_deref().unwrap_or("?");
            assert_eq!(
                format!("{file}:{}", innermost.line),
                line,
                "{machine} {address:#x}"
            );
        }
    }
}

/// Frames as text, with the function that each line is of.
fn chain(frames: &Frames) -> Vec<String> {
    let frame = |frame: &crate::Frame| {
        let name = frame.name.as_ref().map_or("??", |name| name.as_str());
        let name = name.trim_end_matches(".abi0");
        format!(
            "{name} {}:{}",
            frame.file.as_deref().unwrap_or("??"),
            frame.line
        )
    };
    frames.iter().map(frame).collect()
}

/// What the table says of a stripped program is what llvm-symbolizer reads from the debug information of the whole one.
#[test]
fn inlined_functions_are_those_of_the_debug_information() {
    compare_with_debug_information(&[]);
}

/// A program that the loader moves: Go's own tool of 1.19 knows none of its addresses.
#[test]
fn so_they_are_in_a_program_that_may_lie_anywhere() {
    compare_with_debug_information(&["-buildmode=pie"]);
}

fn compare_with_debug_information(flags: &[&str]) {
    let test = "the comparison with debug information";
    let Some(folder) = build("amd64", flags, test) else {
        return;
    };
    let (whole, stripped) = (folder.path().join("whole"), folder.path().join("stripped"));
    let addresses = addresses(&whole);
    let input: String = addresses
        .iter()
        .map(|address| format!("{address:#x}\n"))
        .collect();
    fs::write(folder.path().join("addresses"), input).expect("written");
    let output = Command::new("llvm-symbolizer")
        .arg("--obj")
        .arg(&whole)
        .stdin(fs::File::open(folder.path().join("addresses")).expect("opens"))
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED {test}: no llvm-symbolizer here (package llvm)");
        return;
    };
    let text = String::from_utf8(output.stdout).expect("text");
    let truth = text.split("\n\n").map(|answer| {
        let lines: Vec<_> = answer.trim().lines().collect();
        let pairs = lines.chunks_exact(2);
        let pairs = pairs.map(|pair| {
            let line = pair[1].rsplit_once(':').map_or("", |(line, _)| line);
            // Debian's own packages are built with `-trimpath`: their folder is `.`.
            let line = line.trim_start_matches("./");
            format!("{} {line}", pair[0].trim_end_matches(".abi0"))
        });
        pairs.collect::<Vec<_>>()
    });
    let (mut equal, mut inlined, mut different) = (0, 0, BTreeMap::new());
    for ((address, answer), truth) in addresses
        .iter()
        .zip(ask(&stripped, Gear::Lines, &addresses))
        .zip(truth)
    {
        let chain = chain(&answer);
        if chain == truth {
            equal += 1;
            inlined += usize::from(chain.len() > 1);
        } else {
            different.insert(address, (chain, truth));
        }
    }
    assert!(
        inlined > 100,
        "{inlined} {equal} {:#?}",
        different.iter().take(5).collect::<Vec<_>>()
    );
    let share = different.len() as f64 / addresses.len() as f64;
    assert!(
        share < 0.005,
        "{share}: {:#?}",
        different.iter().take(5).collect::<Vec<_>>()
    );
}

fn table(bytes: &[u8]) -> Result<Option<Pclntab>, Error> {
    let input = Input::new(Image::Memory(bytes.into()), "f".into(), 1 << 24);
    let elf = Elf::read(&input.source()?)?;
    Pclntab::read(&input, &elf)
}

/// Bytes are changed all over the table: an error or an answer, in time.
#[test]
fn a_damaged_table_is_an_error_that_names_it() {
    let Some(folder) = build("amd64", &[], "a_damaged_table_is_an_error_that_names_it") else {
        return;
    };
    let whole = fs::read(folder.path().join("stripped")).expect("readable");
    let input = Input::new(Image::Memory(whole.clone().into()), "f".into(), 1 << 24);
    let elf = Elf::read(&input.source().expect("bytes")).expect("whole");
    let section = header::section(&elf).expect("Go's");
    let text = elf.section(b".text").expect("code");
    let (start, end) = (
        section.offset as usize,
        (section.offset + section.size) as usize,
    );
    let mut damaged = whole.clone();
    let mut errors = 0;
    for at in (start..start + 80).chain((start..end).step_by(6007)) {
        let kept = std::mem::replace(&mut damaged[at], 0xff);
        match table(&damaged) {
            Ok(Some(table)) => {
                for address in text.addresses().step_by(9973) {
                    if let Err(error) = table.frames(address, |_| ()) {
                        assert!(error.to_string().contains(".gopclntab"), "{error}");
                        errors += 1;
                    }
                }
            }
            Ok(None) => {}
            Err(error) => {
                assert!(error.to_string().contains(".gopclntab"), "{error}");
                errors += 1;
            }
        }
        damaged[at] = kept;
    }
    assert!(errors > 10, "{errors}");
}

/// Files that were made by hand (tests/data/pclntab.s), for versions of Go that are not here.
#[test]
fn each_version_of_the_table_is_read() {
    for version in [12, 116, 118, 120] {
        let path = format!(
            "{}/../fuzz/corpus/pclntab/go{version}",
            env!("CARGO_MANIFEST_DIR")
        );
        let bytes = fs::read(&path).expect("it is there");
        let input = Input::new(Image::Memory(bytes.into()), "f".into(), 1 << 24);
        let elf = Elf::read(&input.source().expect("bytes")).expect("whole");
        let code = elf.section(b".text").expect("code").addresses();
        let addresses: Vec<_> = [0, 4, 7, 8, 9, 15, 16, 31, 32]
            .map(|at| code.start + at)
            .into();
        let answers = ask(Path::new(&path), Gear::Lines, &addresses);
        let answers: Vec<_> = answers
            .iter()
            .map(|answer| chain(answer).join(", "))
            .collect();
        // Before 1.18 the tables of inlined functions are laid out in another way, which is not read.
        let inlined = match version {
            12 | 116 => "main.f /src/main.go:30",
            _ => "main.g /src/main.go:30, main.f /src/main.go:11",
        };
        let expected = [
            "main.f /src/main.go:10",
            inlined,
            inlined,
            "main.f /src/main.go:11",
            "main.f /src/main.go:12",
            "main.f /src/main.go:12",
            "main.h /src/main.go:10",
            "main.h /src/main.go:12",
            "",
        ];
        assert_eq!(answers, expected, "{version}");
    }
}
