use std::{fs, path::Path, process::Command};

use super::*;

fn kernel() -> Option<Btf> {
    if !Path::new(KERNEL).exists() {
        eprintln!("skipped: this kernel shows no BTF");
        return None;
    }
    Some(Btf::kernel().expect("the kernel's own BTF is well formed"))
}

/// bpftool's C header of the same kernel, compiled by the C compiler: `offsetof` is the truth.
#[test]
fn offsets_are_those_that_a_c_compiler_computes() {
    let Some(btf) = kernel() else { return };
    let Ok(dump) = Command::new("bpftool")
        .args(["btf", "dump", "file", KERNEL, "format", "c"])
        .output()
    else {
        eprintln!("skipped: no bpftool");
        return;
    };
    assert!(dump.status.success());
    let folder = tempfile::tempdir().unwrap();
    let mut program = String::from(
        "#include \"vmlinux.h\"\nextern int printf(const char *, ...);\nint main(void) {\n",
    );
    let mut expected = Vec::new();
    for (_, path) in fathom_abi::offsets::Offsets::PATHS {
        let (of, member) = path.split_once('.').unwrap();
        if let Some(offset) = btf.offset(path) {
            program += &format!(
                "printf(\"%lu\\n\", (unsigned long)__builtin_offsetof(struct {of}, {member}));\n"
            );
            expected.push(offset.to_string());
        }
    }
    program += "return 0; }\n";
    fs::write(folder.path().join("vmlinux.h"), dump.stdout).unwrap();
    fs::write(folder.path().join("main.c"), program).unwrap();
    let built = Command::new("cc")
        .current_dir(folder.path())
        .args(["-w", "-fms-extensions", "-o", "main", "main.c"])
        .output()
        .unwrap();
    if !built.status.success() {
        // bpftool's header uses C23's `bool`/`false` names as enumerators on some kernels.
        eprintln!(
            "skipped: this compiler does not take bpftool's header: {}",
            String::from_utf8_lossy(&built.stderr)
                .lines()
                .next()
                .unwrap_or("")
        );
        return;
    }
    let output = Command::new(folder.path().join("main")).output().unwrap();
    let printed: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(printed, expected);
    assert!(expected.len() > 30, "{}", expected.len());
}

#[test]
fn enums_and_functions_are_found() {
    let Some(btf) = kernel() else { return };
    assert_eq!(btf.arguments("tcp_sendmsg"), Some(3));
    assert!(matches!(btf.arguments("tcp_recvmsg"), Some(4..=6)));
    assert_eq!(btf.arguments("no_such_function"), None);
    assert_eq!(btf.value("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"), Some(27));
    assert_eq!(btf.size("iovec"), Some(16));
    assert_eq!(btf.offset("sock.no_such_member"), None);
}

#[test]
fn hostile_input_is_an_error_and_no_panic() {
    assert!(Btf::parse(Vec::new()).is_err());
    assert!(Btf::parse(vec![0x9f, 0xeb]).is_err());
    let Some(_) = kernel() else { return };
    let whole = fs::read(KERNEL).unwrap();
    for cut in [3, 10, 24, 25, 1000, whole.len() / 2] {
        let _ = Btf::parse(whole[..cut].to_vec());
    }
    let mut broken = whole[..200_000.min(whole.len())].to_vec();
    // Lengths that fit the cut, then every 97th byte turned over.
    broken[12..16].copy_from_slice(&100_000_u32.to_ne_bytes());
    broken[16..20].copy_from_slice(&100_000_u32.to_ne_bytes());
    for at in (24..broken.len()).step_by(97) {
        broken[at] ^= 0x55;
    }
    if let Ok(btf) = Btf::parse(broken) {
        for (_, path) in fathom_abi::offsets::Offsets::PATHS {
            let _ = btf.offset(path);
        }
    }
}
