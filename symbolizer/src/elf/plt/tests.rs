use std::{fs, process::Command};

use super::*;

/// The forms of the psABIs, put together by an assembler.
const AARCH64: &str = "
    stp x16, x30, [sp, #-16]!
    adrp x16, 0x30000
    ldr x17, [x16, #0x1010]
    add x16, x16, #0x10
    br x17
    nop
    nop
    nop
    adrp x16, 0x30000
    ldr x17, [x16, #0x1018]
    add x16, x16, #0x18
    br x17
    bti c
    adrp x16, 0x30000
    ldr x17, [x16, #0x1020]
    add x16, x16, #0x20
    br x17
    nop
";

#[test]
fn stubs_of_aarch64_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("plt.s"), AARCH64).expect("written");
    let line = "llvm-mc-14 -triple=aarch64 -mattr=+bti -filetype=obj plt.s -o plt.o &&
                llvm-objcopy-14 -O binary -j .text plt.o plt.bin";
    let made = Command::new("sh")
        .args(["-c", line])
        .current_dir(&folder)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED stubs_of_aarch64_are_read: no llvm-mc here (package llvm)");
        return;
    }
    let code = fs::read(folder.path().join("plt.bin")).expect("made");
    // An `adrp` counts from the page that it is in.
    let found = aarch64(&code, 0x1000);
    assert_eq!(
        found,
        [
            (0x1004..0x1014, 0x32010),
            (0x1020..0x1030, 0x32018),
            (0x1030..0x1048, 0x32020),
        ]
    );
}

#[test]
fn stubs_of_x86_64_are_of_sixteen_bytes_or_of_eight() {
    let jump = |slot: u32| [&[0xff, 0x25][..], &slot.to_le_bytes()].concat();
    let lazy = [jump(0x10), vec![0x68, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0]].concat();
    let marked = [vec![0xf3, 0x0f, 0x1e, 0xfa], jump(0x20), vec![0x66; 6]].concat();
    let short = [jump(0x30), vec![0x66, 0x90]].concat();
    let slots = |code: &[u8]| x86_64(code, 0x1000);
    assert_eq!(slots(&lazy), [(0x1000..0x1010, 0x1016)]);
    assert_eq!(
        slots(&[marked.clone(), marked].concat()),
        [(0x1000..0x1010, 0x102a), (0x1010..0x1020, 0x103a)]
    );
    assert_eq!(
        slots(&[short.clone(), short].concat()),
        [(0x1000..0x1008, 0x1036), (0x1008..0x1010, 0x103e)]
    );
    assert_eq!(slots(&[0xff, 0x25, 0]), []);
}
