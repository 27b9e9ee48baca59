use std::{fs, process::Command};

use super::*;
use crate::Options;

fn kernel(kallsyms: &str) -> (Symbolizer, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kallsyms");
    fs::write(&path, kallsyms).expect("written");
    let symbolizer = Symbolizer::new(Options {
        kallsyms: path,
        ..Options::default()
    });
    (symbolizer, folder)
}

fn name(located: &Located) -> Option<(&str, Option<&str>)> {
    let name = located.frames.first()?.name.as_ref()?;
    Some((name.as_str(), located.kernel_module.as_deref()))
}

#[test]
fn functions_of_the_kernel_its_modules_and_of_bpf_have_names() {
    let (symbolizer, _folder) = kernel(
        "ffffffff81000000 T _stext\nffffffff81000100 t do_one_initcall\nffffffff81000200 T _etext\n\
         ffffffffc0001000 t nf_hook\t[nf_tables]\nffffffffc0001040 t bpf_prog_6deef7357e7b4530_sample\t[bpf]\n",
    );
    let addresses = [
        0xffff_ffff_8100_0180,
        0xffff_ffff_c000_1001,
        0xffff_ffff_c000_1041,
        0x1000,
    ];
    let located = symbolizer
        .symbolize_kernel(Gear::Names, &addresses)
        .expect("readable");
    let names: Vec<_> = located.iter().map(name).collect();
    assert_eq!(
        names,
        [
            Some(("do_one_initcall", None)),
            Some(("nf_hook", Some("nf_tables"))),
            Some(("bpf_prog_6deef7357e7b4530_sample", Some("bpf"))),
            None,
        ]
    );
    assert!(symbolizer.memory().bytes > 0);
}

/// A program may be loaded where another one stood, or right behind it. The list is read again in time, and not for the kernel's own functions.
#[test]
fn what_was_loaded_since_has_its_own_name_in_time() {
    const OWN: &str = "ffffffff81000000 T _stext\nffffffff81000100 T _etext\n";
    const BPF: u64 = 0xffff_ffff_a000_0000;
    let bpf = |name: &str, at: u64| format!("{at:x} t bpf_prog_1_{name}\t[bpf]\n");
    let (symbolizer, folder) = kernel(&format!("{OWN}{}", bpf("first", BPF)));
    let ask = |address| {
        let located = symbolizer.symbolize_kernel(Gear::Names, &[address]);
        let located = located.expect("readable").remove(0);
        name(&located).map(|(name, _)| name.to_owned())
    };
    let first = Some("bpf_prog_1_first".to_owned());
    assert_eq!(ask(BPF + 0x100), first);
    let later = format!("{OWN}{}{}", bpf("other", BPF), bpf("behind", BPF + 0x80));
    fs::write(folder.path().join("kallsyms"), later).expect("written");
    assert_eq!(ask(BPF + 0x100), first, "it was read just now");
    let read_at = || {
        let read = symbolizer.kernel.0.lock().expect("no thread failed");
        read.as_ref().expect("it was read").at
    };
    let mut read = symbolizer.kernel.0.lock().expect("no thread failed");
    let old = Instant::now().checked_sub(TRUST).expect("up long enough");
    read.as_mut().expect("it was read").at = old;
    drop(read);
    assert_eq!(ask(0xffff_ffff_8100_0001).as_deref(), Some("_stext"));
    assert_eq!(read_at(), old);
    assert_eq!(ask(BPF).as_deref(), Some("bpf_prog_1_other"));
    assert_eq!(ask(BPF + 0x100).as_deref(), Some("bpf_prog_1_behind"));
}

#[test]
fn hidden_addresses_are_an_error_each_time() {
    let (symbolizer, _folder) = kernel("0000000000000000 T _stext\n");
    for _ in 0..2 {
        let error = symbolizer
            .symbolize_kernel(Gear::Names, &[1])
            .expect_err("hidden");
        assert!(matches!(error, Error::Restricted { .. }), "{error}");
    }
}

/// A file stands for vmlinux; the kernel runs 16 MiB above where it was linked.
#[test]
fn vmlinux_has_lines_wherever_the_kernel_lies() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("k.c"),
        "void _stext(void) {}\nvoid later(void) {}\nvoid _start(void) { later(); }\n",
    )
    .expect("written");
    let built = Command::new("gcc")
        .args(["-g", "-O1", "-nostdlib", "-static", "k.c", "-o", "vmlinux"])
        .current_dir(folder.path())
        .status();
    let nm = Command::new("nm")
        .arg(folder.path().join("vmlinux"))
        .output();
    let (Ok(status), Ok(nm)) = (built, nm) else {
        eprintln!("SKIPPED vmlinux_has_lines_wherever_the_kernel_lies: no gcc or binutils here");
        return;
    };
    assert!(status.success());
    const MOVED: u64 = 16 << 20;
    let mut kallsyms = String::new();
    let mut later = 0;
    for line in String::from_utf8_lossy(&nm.stdout).lines() {
        if let [address, "T", name] = line.split(' ').collect::<Vec<_>>()[..] {
            let address = u64::from_str_radix(address, 16).expect("hexadecimal") + MOVED;
            kallsyms.push_str(&format!("{address:016x} T {name}\n"));
            later = if name == "later" { address } else { later };
        }
    }
    let path = folder.path().join("kallsyms");
    fs::write(&path, kallsyms).expect("written");
    let symbolizer = Symbolizer::new(Options {
        kallsyms: path,
        vmlinux: Some(folder.path().join("vmlinux")),
        ..Options::default()
    });
    let ask = |gear| {
        symbolizer
            .symbolize_kernel(gear, &[later])
            .expect("readable")
            .remove(0)
    };
    let frame = ask(Gear::Lines).frames[0].clone();
    assert_eq!((frame.line, frame.source), (2, Source::Dwarf));
    assert!(frame.to_string().starts_with("later at /"), "{frame}");
    assert_eq!(ask(Gear::Names).frames[0].source, Source::Kallsyms);
}
