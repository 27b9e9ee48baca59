//! Puts the kernel objects where `include_bytes!` finds them.

use std::{env, fs, path::PathBuf};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let built = env::var_os("FATHOM_EBPF_DIR")
        .map_or_else(|| manifest.join("../target/bpf"), PathBuf::from);
    println!("cargo::rerun-if-env-changed=FATHOM_EBPF_DIR");
    for object in ["net", "profile"] {
        let from = built.join(object);
        println!("cargo::rerun-if-changed={}", from.display());
        if let Err(error) = fs::copy(&from, out.join(object)) {
            println!(
                "cargo::error=no kernel object at {} ({error}): build it with `cargo xtask build-ebpf`",
                from.display()
            );
        }
    }
}
