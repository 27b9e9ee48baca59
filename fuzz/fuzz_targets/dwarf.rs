#![no_main]

#[path = "../checks/dwarf.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::dwarf(data));
