//! Programs that are built here, each address of their code compared with what `llvm-symbolizer` says.

mod built;
mod hostile;
mod truth;

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use built::{Program, Tool};

use super::{Companions, Dwarf, Named};
use crate::{
    Error,
    elf::sections::{Image, Sections},
};

/// What lies beside the program.
struct Beside(PathBuf);

impl Beside {
    fn open(&self, name: &str) -> Result<Option<Sections>, Error> {
        match File::open(self.0.join(name)) {
            Ok(file) => Sections::open(Image::File(Arc::new(file)), name, LIMIT).map(Some),
            Err(_) => Ok(None),
        }
    }
}

impl Companions for Beside {
    fn supplementary(&self, path: &str, build_id: &[u8]) -> Result<Option<Sections>, Error> {
        assert_eq!(build_id.len(), 20);
        self.open(path)
    }

    fn package(&self) -> Result<Option<Sections>, Error> {
        self.open("program.dwp")
    }

    fn split(&self, directory: &str, name: &str) -> Result<Option<Sections>, Error> {
        let directory = fs::canonicalize(directory).expect("the directory");
        assert_eq!(directory, fs::canonicalize(&self.0).expect("the folder"));
        self.open(name)
    }
}

const LIMIT: usize = 1 << 30;
const C: &str = include_str!("tests/program.c");
const CXX: &str = include_str!("tests/program.cc");

#[test]
fn versions_of_dwarf() {
    for flags in [
        "-gdwarf-2",
        "-gdwarf-3",
        "-gdwarf-4",
        "-gdwarf-5",
        "-gdwarf-5 -gdwarf64",
    ] {
        let program = Program::build(Tool::C, C, &format!("-O2 {flags}"));
        truth::compare(&program);
    }
}

#[test]
fn without_optimization() {
    truth::compare(&Program::build(Tool::C, C, "-O0 -g"));
    truth::compare(&Program::build(Tool::Cxx, CXX, "-O0 -g"));
}

#[test]
fn templates_lambdas_and_local_classes() {
    for flags in [
        "-O2 -gdwarf-4",
        "-O2 -gdwarf-5",
        "-O3 -g -fdebug-types-section",
    ] {
        truth::compare(&Program::build(Tool::Cxx, CXX, flags));
    }
}

#[test]
fn link_time_optimization_refers_across_units() {
    truth::compare(&Program::build(Tool::Cxx, CXX, "-O2 -g -flto"));
}

#[test]
fn discarded_functions_are_nowhere() {
    let flags = "-O2 -g -ffunction-sections -Wl,--gc-sections";
    truth::compare(&Program::build(Tool::C, C, flags));
}

#[test]
fn directories_that_are_relative() {
    for flags in ["-O2 -gdwarf-4", "-O2 -gdwarf-5"] {
        let flags = format!("{flags} -fdebug-prefix-map=/tmp=./somewhere");
        truth::compare(&Program::build(Tool::C, C, &flags));
    }
}

#[test]
fn units_that_no_list_of_addresses_knows() {
    for flags in ["-O2 -gdwarf-4", "-O2 -gdwarf-5 -ffunction-sections"] {
        let program = Program::build(Tool::C, C, flags);
        let before = truth::symbolize(&program);
        fs::write(program.folder().join("nonsense"), [0x41; 90]).expect("a file");
        let change = ".debug_aranges=nonsense";
        run(
            &program,
            "objcopy",
            &["--update-section", change, "program"],
        );
        truth::compare_with(&program, &before);
        run(&program, "objcopy", &["-R", ".debug_aranges", "program"]);
        truth::compare_with(&program, &before);
    }
}

#[test]
fn compressed_sections() {
    // GNU's objcopy writes the older form, LLVM's zstd.
    for (tool, kind) in [
        ("objcopy", "zlib"),
        ("objcopy", "zlib-gnu"),
        ("llvm-objcopy-22", "zstd"),
    ] {
        let program = Program::build(Tool::C, C, "-O2 -g");
        let before = truth::symbolize(&program);
        let flag = format!("--compress-debug-sections={kind}");
        run(&program, tool, &[&flag, "program"]);
        let dwarf = open(&program);
        let held = dwarf.bytes();
        dwarf.shrink(0);
        assert!(dwarf.bytes() < held, "the copies can be let go");
        truth::compare_with(&program, &before);
    }
}

#[test]
fn split_off_into_a_file_for_each_unit() {
    for flags in ["-gdwarf-4", "-gdwarf-5"] {
        let flags = format!("-O2 {flags} -gsplit-dwarf");
        truth::compare(&Program::build(Tool::C, C, &flags));
        truth::compare(&Program::build(Tool::C, C, &format!("{flags} -gz=zlib")));
        truth::compare(&Program::build(Tool::Cxx, CXX, &flags));
    }
}

#[test]
fn split_off_into_a_package() {
    for flags in ["-gdwarf-4", "-gdwarf-5"] {
        let program = Program::build(Tool::Cxx, CXX, &format!("-O2 {flags} -gsplit-dwarf"));
        run(
            &program,
            "llvm-dwp-22",
            &["-e", "program", "-o", "program.dwp"],
        );
        for file in fs::read_dir(program.folder()).expect("the folder") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "dwo") {
                fs::remove_file(path).expect("the .dwo file");
            }
        }
        truth::compare(&program);
    }
}

#[test]
fn what_was_split_off_and_lost_leaves_lines() {
    let program = Program::build(Tool::C, C, "-O2 -g -gsplit-dwarf");
    let dwo = fs::read_dir(program.folder())
        .expect("the folder")
        .find_map(|file| {
            let path = file.expect("a file").path();
            path.extension()?.eq("dwo").then_some(path)
        });
    fs::remove_file(dwo.expect("a .dwo file")).expect("it");
    let dwarf = open(&program);
    let with_lines = program
        .code()
        .filter(|&address| frames(&dwarf, address).starts_with("??\n/"));
    assert!(with_lines.count() > 100);
}

#[test]
fn what_several_files_have_in_common() {
    // Two programs of the same source, and what dwz takes out of both. llvm-symbolizer can't follow it there, and is asked before.
    for flags in ["-O2 -gdwarf-4", "-O2 -gdwarf-5"] {
        let program = Program::build(Tool::Cxx, CXX, flags);
        let before = truth::symbolize(&program);
        fs::copy(program.path(), program.folder().join("other")).expect("a copy");
        run(
            &program,
            "dwz",
            &["-m", "common", "-M", "common", "program", "other"],
        );
        assert!(program.folder().join("common").exists());
        truth::compare_with(&program, &before);
    }
}

#[test]
fn what_several_units_have_in_common() {
    for flags in ["-O2 -gdwarf-4", "-O2 -gdwarf-5"] {
        let program = Program::build(Tool::Cxx, CXX, flags);
        let before = truth::symbolize(&program);
        run(&program, "dwz", &["program"]);
        truth::compare_with(&program, &before);
    }
}

#[test]
fn memory_is_counted_and_given_back() {
    let program = Program::build(Tool::Cxx, CXX, "-O2 -g");
    let dwarf = open(&program);
    let all = program.code();
    let answers = |dwarf: &Dwarf| -> Vec<String> {
        all.clone().map(|address| frames(dwarf, address)).collect()
    };
    let before = answers(&dwarf);
    let held = dwarf.bytes();
    assert!(held > 10_000, "{held}");
    dwarf.shrink(held);
    assert_eq!(dwarf.bytes(), held);
    dwarf.shrink(0);
    assert_eq!(dwarf.bytes(), 0);
    assert_eq!(answers(&dwarf), before);
    assert_eq!(dwarf.bytes(), held);
}

#[test]
fn threads_get_the_same_answers() {
    let program = Program::build(Tool::Cxx, CXX, "-O2 -g");
    let dwarf = open(&program);
    let alone: Vec<_> = program
        .code()
        .map(|address| frames(&dwarf, address))
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (address, expected) in program.code().zip(&alone) {
                    assert_eq!(&frames(&dwarf, address), expected);
                    if address % 256 == 0 {
                        dwarf.shrink(0);
                    }
                }
            });
        }
    });
}

/// Runs a tool in the program's folder.
fn run(program: &Program, tool: &str, arguments: &[&str]) {
    let output = Command::new(tool)
        .current_dir(program.folder())
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(output.status.success(), "{tool}: {output:?}");
}

pub(super) fn open(program: &Program) -> Dwarf {
    let beside = Beside(program.folder().to_owned());
    let sections = beside.open("program").expect("its sections").expect("it");
    Dwarf::open(sections, Arc::new(beside))
        .expect("its DWARF")
        .expect("some")
}

fn frames(dwarf: &Dwarf, address: u64) -> String {
    let mut text = String::new();
    dwarf
        .visit()
        .frames(address, Named::All, &mut |frame| {
            truth::print(&mut text, frame)
        })
        .expect("its frames");
    text
}
