use super::*;

const TEXT: &str = "\
ffffffff81000000 T _stext
ffffffff81000040 t do_one_initcall
ffffffff81000100 T _etext
ffffffff81200000 D data_starts
ffffffffc0001000 t nf_hook\t[nf_tables]
ffffffffc0001040 t bpf_prog_6deef7357e7b4530_sample\t[bpf]
not a line
ffffffff81000060 t
";

fn name(kernel: &Kernel, address: u64) -> Option<(String, Option<String>)> {
    let symbol = kernel.symbol(address)?;
    Some((symbol.name.into_owned(), symbol.module.map(str::to_owned)))
}

#[test]
fn names_and_modules_are_found() {
    let kernel = Kernel::parse(TEXT.as_bytes(), "kallsyms").expect("parses");
    let named =
        |name: &str, module: Option<&str>| Some((name.to_owned(), module.map(str::to_owned)));
    assert_eq!(kernel.functions(), 5);
    assert_eq!(name(&kernel, 0xffff_ffff_8100_003f), named("_stext", None));
    assert_eq!(
        name(&kernel, 0xffff_ffff_8100_0041),
        named("do_one_initcall", None)
    );
    assert_eq!(
        name(&kernel, 0xffff_ffff_c000_1001),
        named("nf_hook", Some("nf_tables"))
    );
    assert_eq!(
        name(&kernel, 0xffff_ffff_c000_1048),
        named("bpf_prog_6deef7357e7b4530_sample", Some("bpf"))
    );
}

#[test]
fn data_and_gaps_are_no_functions() {
    let kernel = Kernel::parse(TEXT.as_bytes(), "kallsyms").expect("parses");
    assert_eq!(name(&kernel, 0xffff_ffff_8120_0008), None);
    assert_eq!(
        name(&kernel, 0xffff_ffff_c100_0000),
        None,
        "far behind the last"
    );
    assert_eq!(name(&kernel, 0x1000), None);
}

/// The gaps are where what is loaded later comes to stand.
#[test]
fn what_is_loaded_reaches_over_no_large_gap() {
    const GAP: u64 = 0x1d_9c74;
    const BPF: u64 = 0xffff_ffff_a000_0000;
    const MODULE: u64 = 0xffff_ffff_c000_0000;
    let text = format!(
        "ffffffff81000000 T _stext\nffffffff81200000 T _etext\n\
         {BPF:x} t bpf_prog_6deef7357e7b4530_copy_stack\t[bpf]\n{:x} t bpf_prog_1_later\t[bpf]\n\
         {MODULE:x} t first\t[nf_tables]\n{:x} t last\t[nf_tables]\n{:x} d data\t[nf_tables]\n",
        BPF + GAP,
        MODULE + 0x40,
        MODULE + GAP,
    );
    let kernel = Kernel::parse(text.as_bytes(), "kallsyms").expect("parses");
    let is_known = |address| name(&kernel, address).is_some();
    for (start, reach) in [
        // The kernel's own function is as long as it is, and its last one not.
        (0xffff_ffff_8100_0000, 0x20_0000 + LAST_REACH),
        (BPF, LOADED_REACH),
        (BPF + GAP, LOADED_REACH),
        (MODULE, 0x40 + LOADED_REACH),
    ] {
        assert!(is_known(start) && is_known(start + reach - 1), "{start:x}");
        assert!(!is_known(start + reach), "{start:x}");
    }
}

#[test]
fn hidden_addresses_are_an_error_that_says_what_to_do() {
    let text = "0000000000000000 T _stext\n0000000000000000 t x\n";
    let error = Kernel::parse(text.as_bytes(), "kallsyms").expect_err("nothing to see");
    assert!(error.to_string().contains("kptr_restrict"), "{error}");
}

#[test]
fn any_bytes_are_taken() {
    let long = [b'f'; 20_000];
    for bytes in [
        &b""[..],
        b"\n\n",
        b"zz T a\n",
        b"1 T \xff\xfe\n",
        b"1 TT a\n",
        &long,
    ] {
        let kernel = Kernel::parse(bytes, "kallsyms").expect("parses");
        let _ = kernel.symbol(1);
    }
}

/// The running kernel agrees with `grep`: this test's own process must be able to see the addresses.
#[test]
fn the_running_kernel_is_read() {
    let path = Path::new("/proc/kallsyms");
    let text = std::fs::read_to_string(path).expect("/proc/kallsyms is there");
    let line = text.lines().find(|line| line.ends_with(" T vfs_read"));
    let address = line.and_then(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok());
    let Some(address) = address.filter(|&address| address != 0) else {
        eprintln!("SKIPPED the_running_kernel_is_read: the kernel hides its addresses");
        return;
    };
    let kernel = Kernel::read(path).expect("parses");
    assert_eq!(name(&kernel, address + 4), Some(("vfs_read".into(), None)));
}
