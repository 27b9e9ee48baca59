//! What `llvm-symbolizer` says.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::{
    super::{DwarfFrame, DwarfText, Named},
    built::Program,
};
use crate::elf::windows::Windows;

/// Compares each address of a program's code.
pub(super) fn compare(program: &Program) {
    compare_with(program, &symbolize(program));
}

/// Compares with what was said of the program before.
pub(super) fn compare_with(program: &Program, expected: &[String]) {
    let dwarf = super::open(program);
    let mut known = 0;
    for (address, expected) in program.code().zip(expected) {
        let mut ours = String::new();
        dwarf
            .visit()
            .frames(address, Named::All, &mut |frame| print(&mut ours, frame))
            .unwrap_or_else(|error| panic!("{address:#x}: {error}"));
        // Where there is no debug information it knows a name of the symbol table.
        if ours.is_empty() {
            assert!(expected.contains("\n??:0:0"), "{address:#x}: {expected}");
            continue;
        }
        known += 1;
        assert_eq!(&ours, expected, "{address:#x}");
    }
    assert!(known * 2 > expected.len(), "{known} of {}", expected.len());
}

pub(super) fn print(text: &mut String, frame: DwarfFrame<'_>) {
    let read = |text: Option<DwarfText<'_>>| {
        text.map_or("??".to_owned(), |text| {
            text.read(&mut Windows::default()).expect("a text")
        })
    };
    let (name, file) = (read(frame.name), read(frame.file));
    *text += &format!("{name}\n{file}:{}:{}\n", frame.line, frame.column);
}

/// What is at each address of a program's code.
pub(super) fn symbolize(program: &Program) -> Vec<String> {
    let mut tool = Command::new("llvm-symbolizer-22")
        .arg(format!("--obj={}", program.path().display()))
        .args(["--no-demangle", "--functions=linkage", "--inlines"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("llvm-symbolizer-22");
    let mut input = tool.stdin.take().expect("its input");
    let addresses: String = program
        .code()
        .map(|address| format!("{address:#x}\n"))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(addresses.as_bytes()));
    let output = tool.wait_with_output().expect("its output");
    writer.join().expect("no panic").expect("its input");
    let text = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<_> = text
        .split("\n\n")
        .filter(|answer| !answer.trim().is_empty())
        .map(|answer| format!("{}\n", answer.trim()))
        .collect();
    assert_eq!(answers.len(), program.code().count());
    answers
}
