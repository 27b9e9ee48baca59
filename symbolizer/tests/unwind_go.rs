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
    let (mut compared, mut trampolines, mut ends) = (0, 0, 0);
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
    // goexit, mstart and rt0_go.
    assert!((2..60).contains(&ends), "{ends}");
    let goexit = file
        .symbols()
        .find(|symbol| {
            symbol
                .name()
                .is_ok_and(|name| name.trim_end_matches(".abi0") == "runtime.goexit")
        })
        .expect("every Go program has it");
    // A goroutine's first function returns to goexit's second instruction.
    let rule = rules.get(table.find(goexit.address()));
    assert_eq!(rule, Some(Rule::End));
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
