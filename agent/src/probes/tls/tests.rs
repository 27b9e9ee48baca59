//! Against real libraries and programs, with the word of nm, objdump and Go's own reflection for where things are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

use super::*;

/// The output of a command that must succeed.
fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a tool or a file that a test needs is there; says so if not.
fn has(what: &str) -> bool {
    let there = if what.contains('/') {
        Path::new(what).exists()
    } else {
        Command::new(what).arg("version").output().is_ok()
    };
    if !there {
        eprintln!("skipped: it needs {what}");
    }
    there
}

fn targets(path: &Path) -> Targets {
    try_targets(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn try_targets(path: &Path) -> Result<Targets, Why> {
    inspect(&File::open(path).expect("the file opens"))
}

/// Where nm says that functions are, in file offsets by the segments that readelf shows.
fn by_nm(path: &Path, options: &[&str]) -> BTreeMap<String, u64> {
    let segments = output(Command::new("readelf").arg("-lW").arg(path));
    let number = |field: &str| u64::from_str_radix(field.trim_start_matches("0x"), 16).ok();
    let segments: Vec<_> = segments
        .lines()
        .filter_map(|line| line.trim().strip_prefix("LOAD"))
        .map(|line| {
            let fields: Vec<_> = line.split_whitespace().filter_map(number).collect();
            (fields[0], fields[1], fields[3])
        })
        .collect();
    let symbols = output(Command::new("nm").args(options).arg(path));
    let mut functions = BTreeMap::new();
    for line in symbols.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        if let [address, "T" | "t" | "W", name] = fields[..] {
            let address = number(address).expect("an address");
            let Some((offset, start, _)) = segments
                .iter()
                .find(|&&(_, start, size)| (start..start + size).contains(&address))
            else {
                continue;
            };
            let name = name.split('@').next().unwrap_or(name);
            functions.insert(name.to_owned(), address - start + offset);
        }
    }
    functions
}

/// That each of these functions, and no other, is where nm says.
fn agrees_with_nm(targets: &Targets, path: &Path, options: &[&str], wanted: &[Function]) {
    let nm = by_nm(path, options);
    let mut found: Vec<_> = targets
        .sites
        .iter()
        .map(|site| (site.function, site.entry))
        .collect();
    let mut expected: Vec<_> = wanted
        .iter()
        .map(|&function| (function, nm[function.symbol()]))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{}", path.display());
}

const OPENSSL_3: [Function; 9] = [
    Function::SslRead,
    Function::SslWrite,
    Function::SslReadEx,
    Function::SslWriteEx,
    Function::SslSendfile,
    Function::SslSetFd,
    Function::SslSetRfd,
    Function::SslSetWfd,
    Function::SslFree,
];

/// A shared library of the system.
fn system_library(name: &str) -> Option<PathBuf> {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ];
    let path = folders
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists());
    if path.is_none() {
        eprintln!("skipped: it needs {name}");
    }
    path
}

#[test]
fn openssl_as_a_shared_library() {
    let Some(path) = system_library("libssl.so.3") else {
        return;
    };
    let targets = targets(&path);
    assert_eq!(targets.library, Library::OpenSsl);
    assert!(
        targets
            .version
            .as_deref()
            .is_some_and(|version| version.starts_with('3'))
    );
    assert!(targets.sites.iter().all(|site| site.returns.is_empty()));
    agrees_with_nm(&targets, &path, &["-D"], &OPENSSL_3);
    // No wrapper among them: SSL_read and SSL_read_ex each lead into the library, not to each other.
    let openssl = system_library("libcrypto.so.3").expect("it comes with libssl");
    assert!(matches!(try_targets(&openssl), Err(Why::NotTls)));
}

#[test]
fn gnutls_as_a_shared_library() {
    let Some(path) = system_library("libgnutls.so.30") else {
        return;
    };
    let targets = targets(&path);
    assert_eq!(targets.library, Library::GnuTls);
    assert!(
        targets
            .version
            .as_deref()
            .is_some_and(|version| version.starts_with("3."))
    );
    let wanted = [
        Function::GnutlsRecv,
        Function::GnutlsRecvSeq,
        Function::GnutlsSend2,
        Function::GnutlsSendRange,
        Function::GnutlsSetInt2,
        Function::GnutlsSetPtr,
        Function::GnutlsSetPtr2,
        Function::GnutlsDeinit,
    ];
    agrees_with_nm(&targets, &path, &["-D"], &wanted);
    // Its imitation of OpenSSL has an SSL_read, which calls gnutls_record_recv: a byte would be seen twice.
    if let Some(imitation) = system_library("libgnutls-openssl.so.27") {
        assert!(by_nm(&imitation, &["-D"]).contains_key("SSL_read"));
        assert!(matches!(try_targets(&imitation), Err(Why::NotTls)));
    }
}

#[test]
fn node_exports_its_own_openssl() {
    let path = Path::new("/usr/bin/node");
    if !has("/usr/bin/node") {
        return;
    }
    let Ok(targets) = try_targets(path) else {
        eprintln!("skipped: it needs a node with an OpenSSL of its own");
        return;
    };
    let openssl = output(Command::new(path).args(["-p", "process.versions.openssl"]));
    let openssl = openssl.trim().split('+').next().expect("a version");
    assert_eq!(targets.library, Library::OpenSsl);
    assert!(
        targets
            .version
            .as_deref()
            .is_some_and(|version| version.starts_with(openssl))
    );
    agrees_with_nm(&targets, path, &["-D"], &OPENSSL_3);
}

fn compile(source: &str, name: &str, options: &[&str]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("source.c");
    fs::write(&file, source).expect("it can be written");
    let path = folder.path().join(name);
    output(
        Command::new("cc")
            .args(["-O1", "-o"])
            .arg(&path)
            .arg(&file)
            .args(options),
    );
    (folder, path)
}

#[test]
fn openssl_linked_into_a_program_is_seen_until_it_is_stripped() {
    if system_library("libssl.a").is_none() {
        return;
    }
    let source = "#include <openssl/ssl.h>
        #include <stdio.h>
        int main(void) {
            SSL *ssl = SSL_new(SSL_CTX_new(TLS_method()));
            char byte;
            SSL_set_fd(ssl, 0);
            puts(OpenSSL_version(OPENSSL_VERSION));
            return SSL_connect(ssl) + SSL_read(ssl, &byte, 1) + SSL_write(ssl, &byte, 1);
        }";
    let link = ["-l:libssl.a", "-l:libcrypto.a", "-ldl", "-lpthread"];
    let (_folder, path) = compile(source, "program", &link);
    let targets = targets(&path);
    assert_eq!(targets.library, Library::OpenSsl);
    let version = targets.version.clone().expect("a version");
    let header = output(Command::new("openssl").arg("version"));
    assert!(header.contains(&format!("OpenSSL {version} ")));
    agrees_with_nm(&targets, &path, &[], &OPENSSL_3);
    output(Command::new("strip").arg(&path));
    assert!(matches!(try_targets(&path), Err(Why::NotTls)));
    let file = File::open(&path).expect("it opens");
    assert_eq!(
        unseen(&file).expect("it is sound"),
        Some(Unseen::OpenSslStripped)
    );
}

/// Functions that do something, so that no two are the same code.
const RELATIVES: &str = "
    __attribute__((noinline)) int SSL_read(void *s, void *b, int n) { return ((int (*)(void *, int))s)(b, n) + 1; }
    __attribute__((noinline)) int SSL_write(void *s, const void *b, int n) { return ((int (*)(const void *, int))s)(b, n) + 2; }
    int SSL_peek(void *s, void *b, int n) { return ((int (*)(void *, int))s)(b, n) + 3; }
    void SSL_free(void *s) { ((void (*)(void))s)(); }
    int SSL_set_fd(void *s, int fd) { return ((int (*)(int))s)(fd); }
    ";
const WRAPPERS: &str = "
    int SSL_read_ex(void *s, void *b, unsigned long n, unsigned long *r) { int got = SSL_read(s, b, n); *r = got; return got > 0; }
    int SSL_write_ex(void *s, const void *b, unsigned long n, unsigned long *r) { int got = SSL_write(s, b, n); *r = got; return got > 0; }
    ";
const PLAIN: [Function; 4] = [
    Function::SslRead,
    Function::SslWrite,
    Function::SslSetFd,
    Function::SslFree,
];

#[test]
fn relatives_of_openssl_are_told_apart_and_their_wrappers_left_out() {
    let boring = "int SSL_CTX_set_grease_enabled(void *s) { return s != 0; }";
    for (more, library) in [
        ([boring, ""], Library::BoringSsl),
        ([boring, WRAPPERS], Library::BoringSsl),
        ([WRAPPERS, ""], Library::LibreSsl),
    ] {
        let source = [RELATIVES, &more.concat()].concat();
        let (_folder, path) = compile(
            &source,
            "libssl.so.59",
            &["-shared", "-fPIC", "-Wl,-soname,libssl.so.59"],
        );
        let targets = targets(&path);
        assert_eq!(targets.library, library);
        agrees_with_nm(&targets, &path, &["-D"], &PLAIN);
        let soname = Some("59".to_owned());
        assert_eq!(
            targets.version,
            soname.filter(|_| library == Library::LibreSsl)
        );
    }
    // Linked into a program, where nothing but the code says that one calls the other.
    let source = [RELATIVES, WRAPPERS, "int main(void) { return 0; }"].concat();
    let (_folder, path) = compile(&source, "program", &[]);
    agrees_with_nm(&targets(&path), &path, &[], &PLAIN);
}

#[test]
fn gnutls_before_send2_is_seen_by_its_send() {
    let source = "
        long gnutls_record_recv(void *s, void *b, long n) { return ((long (*)(void *, long))s)(b, n) + 1; }
        long gnutls_record_send(void *s, void *b, long n) { return ((long (*)(void *, long))s)(b, n) + 2; }
        const char *gnutls_check_version(void) { return \"3.5.18\"; }";
    let (_folder, path) = compile(source, "libgnutls.so.30", &["-shared", "-fPIC"]);
    let targets = targets(&path);
    assert_eq!(targets.library, Library::GnuTls);
    let wanted = [Function::GnutlsRecv, Function::GnutlsSend];
    agrees_with_nm(&targets, &path, &["-D"], &wanted);
}

#[test]
fn what_is_no_tls_is_told_from_what_is_no_elf() {
    for path in [Path::new("/bin/sh"), Path::new("/usr/bin/openssl")] {
        if path.exists() {
            // openssl uses libssl, and has none.
            assert!(matches!(try_targets(path), Err(Why::NotTls)));
        }
    }
    assert!(!matches!(
        try_targets(Path::new("/proc/self/exe")),
        Err(Why::NotElf)
    ));
    assert!(matches!(
        try_targets(Path::new("/etc/passwd")),
        Err(Why::NotElf)
    ));
    assert!(matches!(inspect_bytes(b""), Err(Why::NotElf)));
    let mut narrow = fs::read("/bin/sh").expect("it can be read");
    narrow[4] = 1;
    assert!(matches!(inspect_bytes(&narrow), Err(Why::Unsupported(_))));
    // Cut short, as by an upgrade that is under way.
    let whole = fs::read("/bin/sh").expect("it can be read");
    let why = inspect_bytes(&whole[..whole.len() / 2]).expect_err("the headers are at the end");
    assert!(
        why.to_string().starts_with("the section headers: "),
        "{why}"
    );
}

#[test]
fn this_machine_s_java_and_rust_programs_are_named() {
    let java = [
        "/usr/lib/jvm/default-java/lib/server/libjvm.so",
        "/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so",
    ];
    match java.iter().find(|path| Path::new(path).exists()) {
        Some(path) => {
            let file = File::open(path).expect("it opens");
            assert_eq!(unseen(&file).expect("it is sound"), Some(Unseen::Java));
            assert!(matches!(inspect(&file), Err(Why::NotTls)));
        }
        None => eprintln!("skipped: it needs a libjvm.so"),
    }
    // fathom's own exporter speaks TLS by rustls.
    let file = File::open("/proc/self/exe").expect("it opens");
    let found = unseen(&file).expect("it is sound");
    assert!(matches!(found, Some(Unseen::Rustls(_))), "{found:?}");
    let file = File::open("/bin/sh").expect("it opens");
    assert_eq!(unseen(&file).expect("it is sound"), None);
}

/// A program that speaks TLS both ways, and that says where Go keeps things when asked without arguments.
const GO_PROGRAM: &str = r#"package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"reflect"
	"unsafe"
)

func field(t reflect.Type, name string) reflect.StructField {
	f, ok := t.FieldByName(name)
	if !ok {
		panic(name)
	}
	return f
}

func main() {
	if len(os.Args) > 1 {
		c, err := tls.Dial("tcp", os.Args[1], nil)
		if err != nil {
			panic(err)
		}
		c.Write([]byte("x"))
		c.Read(make([]byte, 1))
		c.Close()
	}
	var i net.Conn = (*net.TCPConn)(nil)
	itab := *(*unsafe.Pointer)(unsafe.Pointer(&i))
	hash := *(*uint32)(unsafe.Pointer(uintptr(itab) + 16))
	conn := field(reflect.TypeOf(tls.Conn{}), "conn")
	fd := field(reflect.TypeOf(net.TCPConn{}), "fd")
	pfd := field(fd.Type.Elem(), "pfd")
	sysfd := field(pfd.Type, "Sysfd")
	fmt.Println(conn.Offset, fd.Offset, pfd.Offset+sysfd.Offset, hash, sysfd.Type.Size())
}
"#;

/// The compilers to try: the one in the path, and those that `FATHOM_GO` names (a list of paths with colons between them); where it is set, all kinds of builds are tried.
fn compilers() -> Vec<String> {
    let mut compilers: Vec<_> = std::env::var("FATHOM_GO")
        .map(|list| list.split(':').map(str::to_owned).collect())
        .unwrap_or_default();
    if has("go") {
        compilers.push("go".to_owned());
    }
    compilers
}

struct GoProgram {
    path: PathBuf,
    compiler: String,
    arguments: Vec<&'static str>,
    architecture: &'static str,
}

/// Each compiler's program in all builds that differ for us, made once for all tests.
fn go_programs() -> &'static [GoProgram] {
    static PROGRAMS: OnceLock<(TempDir, Vec<GoProgram>)> = OnceLock::new();
    let (_, programs) = PROGRAMS.get_or_init(|| {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("go.mod"), "module tls\ngo 1.18\n")
            .expect("it can be written");
        fs::write(folder.path().join("main.go"), GO_PROGRAM).expect("it can be written");
        let mut programs = Vec::new();
        let native = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        let mut builds = vec![(native, "0", vec![]), (native, "0", vec!["-ldflags=-s -w"])];
        // Each of these builds all of the standard library once more.
        if std::env::var_os("FATHOM_GO").is_some() {
            let external = "-ldflags=-s -w -linkmode=external";
            builds.extend([
                (native, "0", vec!["-ldflags=-s -w", "-buildmode=pie"]),
                (native, "1", vec![external, "-buildmode=pie"]),
                ("arm64", "0", vec![]),
            ]);
        }
        for compiler in compilers() {
            for (architecture, cgo, arguments) in &builds {
                let path = folder.path().join(format!("program{}", programs.len()));
                output(
                    Command::new(&compiler)
                        .current_dir(folder.path())
                        .env("GOARCH", architecture)
                        .env("CGO_ENABLED", cgo)
                        .env("GOTOOLCHAIN", "local")
                        .env("GOFLAGS", "-mod=mod")
                        .env("GOCACHE", folder.path().join("cache"))
                        .env("GOPATH", folder.path().join("path"))
                        .args(["build", "-trimpath", "-o"])
                        .arg(&path)
                        .args(arguments)
                        .arg("."),
                );
                programs.push(GoProgram {
                    path,
                    compiler: compiler.clone(),
                    arguments: arguments.clone(),
                    architecture,
                });
            }
            fs::remove_dir_all(folder.path().join("cache")).expect("it can be removed");
        }
        (folder, programs)
    });
    programs
}

const GO: [Function; 3] = [Function::GoRead, Function::GoWrite, Function::GoClose];

#[test]
fn go_functions_are_where_nm_says_and_their_returns_where_objdump_does() {
    for program in go_programs()
        .iter()
        .filter(|program| program.arguments.is_empty())
    {
        let targets = targets(&program.path);
        agrees_with_nm(&targets, &program.path, &[], &GO);
        let version = output(
            Command::new(&program.compiler)
                .env("GOTOOLCHAIN", "local")
                .arg("version"),
        );
        let expected = version.split_whitespace().nth(2).map(str::to_owned);
        assert_eq!(targets.version, expected);
        if program.architecture == "arm64" && cfg!(target_arch = "x86_64") {
            continue;
        }
        for site in &targets.sites {
            let listing = output(
                Command::new("objdump")
                    .args(["-d", "-F", "--no-show-raw-insn"])
                    .arg(format!("--disassemble={}", site.function.symbol()))
                    .arg(&program.path),
            );
            let returns: Vec<_> = listing
                .lines()
                .filter(|line| line.split_whitespace().nth(1) == Some("ret"))
                .filter_map(|line| u64::from_str_radix(line.trim().split(':').next()?, 16).ok())
                .collect();
            assert!(
                !returns.is_empty(),
                "objdump shows {} without a return",
                site.function.symbol()
            );
            // The text of a program that is not position independent is loaded from its file at this distance.
            let image = fs::read(&program.path).expect("it can be read");
            let image = Image::bytes(&image).expect("it is sound");
            let returns: Vec<_> = returns
                .iter()
                .filter_map(|&address| image.offset_of(address, true))
                .collect();
            assert_eq!(site.returns, returns, "{}", site.function.symbol());
        }
    }
}

#[test]
fn stripped_and_relocatable_go_programs_have_the_same_functions() {
    for program in go_programs()
        .iter()
        .filter(|program| !program.arguments.is_empty())
    {
        let found = targets(&program.path);
        let functions: Vec<_> = found.sites.iter().map(|site| site.function).collect();
        assert_eq!(
            functions, GO,
            "{} {:?}",
            program.compiler, program.arguments
        );
        // Nothing names the functions any more, but the same source by the same compiler is the same code.
        let plain = go_programs().iter().find(|other| {
            other.compiler == program.compiler
                && other.architecture == program.architecture
                && other.arguments.is_empty()
        });
        let plain_targets = targets(&plain.expect("there is one").path);
        let same_code = program.arguments == ["-ldflags=-s -w"];
        for (site, plain) in found.sites.iter().zip(&plain_targets.sites) {
            let distances =
                |site: &Site| -> Vec<_> { site.returns.iter().map(|at| at - site.entry).collect() };
            if same_code {
                assert_eq!(distances(site), distances(plain));
            }
            assert!(!site.returns.is_empty());
        }
    }
}

#[test]
fn a_go_program_without_section_headers_is_found_by_its_table() {
    for program in go_programs().iter().filter(|program| {
        // An external linker leaves the table's place to a relocation that only a section names.
        program.arguments.len() < 2
    }) {
        let whole = targets(&program.path);
        let mut bytes = fs::read(&program.path).expect("it can be read");
        // e_shoff, and e_shnum with e_shstrndx.
        bytes[40..48].fill(0);
        bytes[60..64].fill(0);
        let found = inspect_bytes(&bytes).expect("it is found");
        assert_eq!(found.sites, whole.sites, "{}", program.compiler);
        assert_eq!(found.version, None);
    }
}

#[test]
fn go_keeps_the_socket_where_the_layout_says() {
    let native = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    for program in go_programs()
        .iter()
        .filter(|program| program.architecture == native)
    {
        let layout = targets(&program.path).go.expect("a layout");
        let said = output(&mut Command::new(&program.path));
        let said: Vec<u64> = said
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let &[conn, net_fd, sysfd, hash, size] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert_eq!(
            (layout.conn, layout.net_fd, layout.sysfd, size),
            (conn, net_fd, sysfd, 8)
        );
        let known = layout
            .tcp_conn
            .iter()
            .any(|&known| u64::from(known) == hash);
        assert!(known, "{}: {hash:#x}", program.compiler);
    }
}

#[test]
fn a_go_program_without_tls_has_no_targets() {
    if !has("go") {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let source = folder.path().join("main.go");
    fs::write(&source, "package main\nfunc main() { println(1) }\n").expect("it can be written");
    let path = folder.path().join("program");
    output(
        Command::new("go")
            .env("GOCACHE", folder.path().join("cache"))
            .env("GOPATH", folder.path().join("path"))
            .args(["build", "-o"])
            .args([&path, &source]),
    );
    assert!(matches!(try_targets(&path), Err(Why::NotTls)));
}

#[test]
fn the_seeds_of_the_fuzz_target_are_what_they_are_called() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tls");
    let found = |seed: &str| {
        let bytes = fs::read(folder.join(seed)).expect("a seed");
        let unseen = unseen_bytes(&bytes).expect("it is sound");
        (inspect_bytes(&bytes), unseen)
    };
    for (seed, library, functions) in [
        ("openssl", Library::OpenSsl, 3),
        ("boringssl", Library::BoringSsl, 1),
        ("static", Library::BoringSsl, 1),
        ("gnutls", Library::GnuTls, 2),
        ("go", Library::GoTls, 2),
        ("go118", Library::GoTls, 2),
        ("go_module", Library::GoTls, 2),
    ] {
        let (targets, _) = found(seed);
        let targets = targets.unwrap_or_else(|why| panic!("{seed}: {why}"));
        assert_eq!(
            (targets.library, targets.sites.len()),
            (library, functions),
            "{seed}"
        );
    }
    for (seed, name) in [("java", "Java"), ("rustls", "rustls")] {
        let (targets, unseen) = found(seed);
        assert!(matches!(targets, Err(Why::NotTls)), "{seed}");
        assert_eq!(unseen.expect("it is named").name(), name);
    }
}
