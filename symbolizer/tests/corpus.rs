//! Replays the fuzz targets' corpus: what was once found stays fixed, on every test run and without a fuzzer.

#[path = "../../fuzz/checks/unwind.rs"]
mod checks;
#[path = "../../fuzz/checks/dwarf.rs"]
mod dwarf;
#[path = "../../fuzz/replay.rs"]
mod replay;
#[path = "../../fuzz/checks/symbols.rs"]
mod symbols;

use replay::replay;

#[test]
fn unwind_tables() {
    replay("unwind", checks::unwind);
}

#[test]
fn elf_files() {
    replay("elf", symbols::elf);
}

#[test]
fn go_programs() {
    replay("pclntab", symbols::pclntab);
}

#[test]
fn compiled_functions() {
    replay("perf_map", symbols::perf_map);
}

#[test]
fn the_kernels_list() {
    replay("kallsyms", symbols::kallsyms);
}

#[test]
fn debug_information() {
    replay("dwarf", dwarf::dwarf);
}

#[test]
fn mangled_names() {
    replay("mangled", symbols::mangled);
}
