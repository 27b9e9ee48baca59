//! Programs and libraries as Debian ships them.

use anyhow::{Result, ensure};

use super::{Set, Subject};
use crate::symbolizer::packages::{Packages, debug_files};

/// A file of a package.
struct Packaged {
    name: &'static str,
    kind: &'static str,
    set: Set,
    /// The package, and the one with its debug files where there is one.
    packages: &'static [&'static str],
    file: &'static str,
}

const fn packaged(
    name: &'static str,
    kind: &'static str,
    set: Set,
    packages: &'static [&'static str],
    file: &'static str,
) -> Packaged {
    Packaged {
        name,
        kind,
        set,
        packages,
        file,
    }
}

const BUILD_ID: &str = "separate debug file by build id";
const ALTLINK: &str = "separate debug file with .gnu_debugaltlink";
const SYMBOLS: &str = ".dynsym only";
const LIBC: &[&str] = &["libc6", "libc6-dbg"];
const BINUTILS: &[&str] = &["binutils-x86-64-linux-gnu", "binutils-x86-64-linux-gnu-dbg"];

/// Each with the packages that it needs; the paths are those in the packages.
const PACKAGED: [Packaged; 28] = [
    packaged(
        "libc",
        BUILD_ID,
        Set::Small,
        LIBC,
        "lib/x86_64-linux-gnu/libc.so.6",
    ),
    packaged(
        "libm",
        BUILD_ID,
        Set::Small,
        LIBC,
        "lib/x86_64-linux-gnu/libm.so.6",
    ),
    packaged(
        "ld.so",
        BUILD_ID,
        Set::Small,
        LIBC,
        "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    ),
    packaged(
        "libkrb5",
        BUILD_ID,
        Set::Small,
        &["libkrb5-3", "libkrb5-dbg"],
        "usr/lib/x86_64-linux-gnu/libkrb5.so.3.3",
    ),
    packaged(
        "libpcre",
        BUILD_ID,
        Set::Small,
        &["libpcre3", "libpcre3-dbg"],
        "lib/x86_64-linux-gnu/libpcre.so.3.13.3",
    ),
    packaged(
        "liblua-c++",
        ALTLINK,
        Set::Small,
        &["liblua5.4-0", "liblua5.4-0-dbg"],
        "usr/lib/x86_64-linux-gnu/liblua5.4-c++.so.0.0.0",
    ),
    packaged(
        "libbfd",
        ALTLINK,
        Set::Small,
        &["libbinutils", "libbinutils-dbg"],
        "usr/lib/x86_64-linux-gnu/libbfd-2.40-system.so",
    ),
    packaged(
        "libssl",
        SYMBOLS,
        Set::Small,
        &["libssl3"],
        "usr/lib/x86_64-linux-gnu/libssl.so.3",
    ),
    packaged(
        "libcrypto",
        SYMBOLS,
        Set::Small,
        &["libssl3"],
        "usr/lib/x86_64-linux-gnu/libcrypto.so.3",
    ),
    packaged(
        "ld.gold",
        ALTLINK,
        Set::All,
        BINUTILS,
        "usr/bin/x86_64-linux-gnu-ld.gold",
    ),
    packaged(
        "as",
        ALTLINK,
        Set::All,
        BINUTILS,
        "usr/bin/x86_64-linux-gnu-as",
    ),
    packaged(
        "libstdc++",
        "C++, debug information within",
        Set::All,
        &["libstdc++6-12-dbg"],
        "usr/lib/x86_64-linux-gnu/debug/libstdc++.so.6.0.30",
    ),
    packaged(
        "libnl-route",
        BUILD_ID,
        Set::All,
        &["libnl-route-3-200", "libnl-3-200-dbg"],
        "usr/lib/x86_64-linux-gnu/libnl-route-3.so.200.26.0",
    ),
    packaged(
        "libgsl",
        BUILD_ID,
        Set::All,
        &["libgsl27", "libgsl-dbg"],
        "usr/lib/x86_64-linux-gnu/libgsl.so.27.0.0",
    ),
    packaged(
        "libdb",
        BUILD_ID,
        Set::All,
        &["libdb5.3", "libdb5.3-dbg"],
        "usr/lib/x86_64-linux-gnu/libdb-5.3.so",
    ),
    packaged(
        "GraphicsMagick",
        BUILD_ID,
        Set::All,
        &["libgraphicsmagick-q16-3", "graphicsmagick-dbg"],
        "usr/lib/libGraphicsMagick-Q16.so.3.24.2",
    ),
    packaged(
        "syslog-ng",
        BUILD_ID,
        Set::All,
        &["syslog-ng-core", "syslog-ng-dbg"],
        "usr/lib/syslog-ng/libsyslog-ng-3.38.so.0.0.0",
    ),
    packaged(
        "uwsgi",
        BUILD_ID,
        Set::All,
        &["uwsgi-core", "uwsgi-dbg"],
        "usr/bin/uwsgi-core",
    ),
    packaged(
        "python3.11",
        BUILD_ID,
        Set::All,
        &["python3.11-minimal", "python3.11-dbg"],
        "usr/bin/python3.11",
    ),
    packaged(
        "structure-synth",
        "C++, separate debug file",
        Set::All,
        &["structure-synth", "structure-synth-dbg"],
        "usr/bin/structure-synth",
    ),
    packaged(
        "libcupt",
        "C++, separate debug file",
        Set::All,
        &["libcupt4-2", "cupt-dbg"],
        "usr/lib/libcupt4.so.2",
    ),
    packaged(
        "libjvm",
        "C++, separate debug file of 156 MB",
        Set::All,
        &["openjdk-17-jre-headless", "openjdk-17-dbg"],
        "usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so",
    ),
    packaged(
        "memcheck",
        "static, separate debug file",
        Set::All,
        &["valgrind", "valgrind-dbg"],
        "usr/libexec/valgrind/memcheck-amd64-linux",
    ),
    packaged(
        "memcheck-x86",
        "32 bits, static, separate debug file",
        Set::All,
        &["valgrind", "valgrind-dbg"],
        "usr/libexec/valgrind/memcheck-x86-linux",
    ),
    packaged(
        "postgres",
        SYMBOLS,
        Set::All,
        &["postgresql-15"],
        "usr/lib/postgresql/15/bin/postgres",
    ),
    packaged(
        "libnode",
        SYMBOLS,
        Set::All,
        &["libnode108"],
        "usr/lib/x86_64-linux-gnu/libnode.so.108",
    ),
    packaged(
        "libLLVM",
        SYMBOLS,
        Set::All,
        &["libllvm22"],
        "usr/lib/x86_64-linux-gnu/libLLVM.so.22.1",
    ),
    packaged(
        "libclang-cpp",
        SYMBOLS,
        Set::All,
        &["libclang-cpp22"],
        "usr/lib/x86_64-linux-gnu/libclang-cpp.so.22.1",
    ),
];

/// The package of the kernel's debug information, of which one file is unpacked.
const KERNEL: (&str, &str) = (
    r"^linux-image-6\.1\.0-[0-9]+-amd64-dbg$",
    "./usr/lib/debug/boot/vmlinux-*",
);

/// The files of `set` that are wanted, unpacked.
pub fn find(packages: &Packages, set: Set, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for packaged in PACKAGED
        .iter()
        .filter(|packaged| set == Set::All || packaged.set == set)
    {
        if !wanted(packaged.name) {
            continue;
        }
        for package in packaged.packages {
            packages.need(package)?;
        }
        let file = packages.root().join(packaged.file);
        ensure!(
            file.is_file(),
            "{:?} have no {}",
            packaged.packages,
            packaged.file
        );
        subjects.push(Subject {
            debug_files: Some(debug_files(&packages.root())),
            ..Subject::of(packaged.name, packaged.kind, file)
        });
    }
    if set == Set::All && wanted("vmlinux") {
        subjects.push(kernel(packages)?);
    }
    Ok(subjects)
}

/// The uncompressed kernel with its debug information.
pub fn kernel(packages: &Packages) -> Result<Subject> {
    packages.need_newest(KERNEL.0, KERNEL.1)?;
    let folder = debug_files(&packages.root()).join("boot");
    let newest = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max()
        .filter(|path| path.is_file());
    ensure!(newest.is_some(), "{}: no vmlinux", folder.display());
    Ok(Subject::of(
        "vmlinux",
        "the kernel, 600 MB of DWARF 5",
        newest.unwrap_or_default(),
    ))
}
