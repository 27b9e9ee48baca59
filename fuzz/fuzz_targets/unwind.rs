#![no_main]

#[path = "../checks/unwind.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::unwind(data));
