//! Go's programs, for both machines: with debug information their code has entries in a compressed `.debug_frame`, which are compared
//! with what gimli's evaluator gives; without it there are frame pointers alone.

#[path = "../../fuzz/checks/unwind/truth.rs"]
mod truth;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use fathom_symbolizer::unwind::{Conversion, Machine, Rule, Rules, Table, convert_bytes};
use gimli::{BaseAddresses, CieOrFde, DebugFrame, LittleEndian, UnwindContext, UnwindSection as _};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use truth::State;

const LIMIT: usize = 1 << 30;

#[test]
fn go_programs() {
    let Some(folder) = build() else {
        eprintln!("SKIPPED go_programs: no go here (package golang-go)");
        return;
    };
    for (name, machine) in [("amd64", Machine::X86_64), ("arm64", Machine::Aarch64)] {
        with_debug_information(&folder.join(name), machine);
        without(&folder.join(format!("{name}.stripped")), machine);
    }
    fs::remove_dir_all(folder).expect("it is ours");
}

fn convert(bytes: &[u8]) -> (Conversion, Table, Rules) {
    let mut rules = Rules::new();
    let mut table = Table::default();
    let conversion = convert_bytes(bytes, "f", LIMIT, &mut rules, |page| table.push(page));
    (conversion.expect("converts"), table, rules)
}

fn with_debug_information(path: &Path, machine: Machine) {
    let bytes = fs::read(path).expect("it was built");
    let (conversion, table, rules) = convert(&bytes);
    assert_eq!((conversion.machine, conversion.eh_frame), (machine, 0));

    let file = object::File::parse(&*bytes).expect("an ELF file");
    let section = file.section_by_name(".debug_frame").expect("Go writes one");
    let packed = section.compressed_data().expect("in the file");
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::ZlibDecoder::new(packed.data),
        &mut unpacked,
    )
    .expect("zlib");
    assert_eq!(conversion.debug_frame, unpacked.len() as u64);

    let mut frames = DebugFrame::new(&unpacked, LittleEndian);
    frames.set_address_size(8);
    let bases = BaseAddresses::default();
    let mut context = UnwindContext::new();
    let mut entries = frames.entries(&bases);
    let (mut compared, mut trampolines, mut ends, mut moved) = (0, 0, 0, 0);
    while let Some(entry) = entries.next().expect("whole") {
        let CieOrFde::Fde(entry) = entry else {
            continue;
        };
        let entry = entry.parse(DebugFrame::cie_from_offset).expect("whole");
        let mut rows = entry.rows(&frames, &bases, &mut context).expect("whole");
        while let Some(row) = rows.next_row().expect("whole") {
            // Go goes on by nothing before each entry's end.
            if row.start_address() == row.end_address() {
                continue;
            }
            for address in [row.start_address(), row.end_address() - 1] {
                let rule = rules.get(table.find(address)).expect("a known number");
                if rule == Rule::SignalFrame {
                    trampolines += 1;
                    continue;
                }
                // On a stack of which the entry knows nothing.
                if rule == Rule::FramePointer {
                    moved += 1;
                    continue;
                }
                if rule == Rule::End {
                    ends += 1;
                    continue;
                }
                let state = State { machine, address };
                let expected = state.by_row(&frames, entry.cie(), row);
                assert!(expected.is_some());
                assert_eq!(state.by_rule(rule), expected, "{address:#x}");
                compared += 1;
            }
        }
    }
    assert!(compared > 5_000, "{compared}");
    // Go has one at most, of a single row.
    assert!(trampolines <= 2, "{trampolines}");
    // goexit, mstart, rt0_go and mcall.
    assert!((2..60).contains(&ends), "{ends}");
    let function = |wanted: &str| {
        let is_it = |name: &str| name.trim_end_matches(".abi0") == wanted;
        let found = file.symbols().find(|symbol| symbol.name().is_ok_and(is_it));
        let found = found.expect("every Go program has it");
        (found.address(), found.size())
    };
    // A goroutine's first function returns to goexit's second instruction.
    let rule = |address| rules.get(table.find(address)).expect("a known number");
    assert_eq!(rule(function("runtime.goexit").0), Rule::End);
    if machine != Machine::X86_64 {
        return;
    }
    // What mcall calls ends in it; where it is called it has a caller.
    let (mcall, size) = function("runtime.mcall");
    assert_ne!(rule(mcall), Rule::End);
    assert_eq!(rule(mcall + size - 1), Rule::End);
    // The vDSO returns to where the stack pointer says nothing; the function itself begins and returns as its entry says.
    let (nanotime, size) = function("runtime.nanotime1");
    let text = file.section_by_name(".text").expect("code");
    let code = text
        .data_range(nanotime, size)
        .expect("readable")
        .expect("there");
    let call = code
        .windows(2)
        .position(|at| at == [0xff, 0xd0])
        .expect("call *%rax");
    assert_eq!(rule(nanotime + call as u64 + 1), Rule::FramePointer);
    let ret = code.iter().rposition(|&byte| byte == 0xc3).expect("ret");
    for address in [nanotime, nanotime + ret as u64] {
        assert!(matches!(rule(address), Rule::Frame(_)), "{address:#x}");
    }
    assert!((2..60).contains(&moved), "{moved}");
}

fn without(path: &Path, machine: Machine) {
    let bytes = fs::read(path).expect("it was built");
    let (conversion, table, rules) = convert(&bytes);
    assert_eq!((conversion.machine, conversion.entries), (machine, 0));
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let text = file.section_by_name(".text").expect("code");
    let (start, end) = (text.address(), text.address() + text.size());
    let mut trampoline = 0;
    for address in start..end {
        match rules.get(table.find(address)) {
            Some(Rule::FramePointer) => {}
            Some(Rule::SignalFrame) => trampoline += 1,
            other => panic!("{address:#x}: {other:?}"),
        }
    }
    assert!(trampoline <= 11, "{trampoline}");
}

/// A folder with a small program for both machines, with and without debug information.
fn build() -> Option<PathBuf> {
    Command::new("go").arg("version").output().ok()?;
    let folder = env::temp_dir().join(format!("fathom-unwind-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let source = folder.join("main.go");
    fs::write(&source, "package main\nfunc main() { println(1) }\n").expect("a file");
    for machine in ["amd64", "arm64"] {
        for (suffix, flags) in [("", ""), (".stripped", "-s -w")] {
            let status = Command::new("go")
                .current_dir(&folder)
                .env("GOARCH", machine)
                .env("CGO_ENABLED", "0")
                .args(["build", "-ldflags", flags, "-o"])
                .arg(format!("{machine}{suffix}"))
                .arg("main.go")
                .status()
                .expect("go starts");
            assert!(status.success());
        }
    }
    Some(folder)
}
