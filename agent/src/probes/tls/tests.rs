//! Against real libraries and programs, with the word of nm for where things are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::*;

mod go;

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

/// Whether the tools or files that a test needs are there; says which is not.
fn has(wanted: &[&str]) -> bool {
    let missing = wanted.iter().find(|what| {
        if what.contains('/') {
            !Path::new(what).exists()
        } else {
            // Whatever it says to that, it has run.
            Command::new(what).arg("--version").output().is_err()
        }
    });
    if let Some(missing) = missing {
        eprintln!("skipped: it needs {missing}");
    }
    missing.is_none()
}

/// What it takes to compare with nm.
const NM: [&str; 2] = ["nm", "readelf"];
/// And to build something first.
const CC: [&str; 3] = ["cc", "nm", "readelf"];

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

const OPENSSL_3: [Function; 10] = [
    Function::SslRead,
    Function::SslWrite,
    Function::SslReadEx,
    Function::SslWriteEx,
    Function::SslSendfile,
    Function::SslSetFd,
    Function::SslSetRfd,
    Function::SslSetWfd,
    Function::SslDoHandshake,
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
    if !has(&NM) {
        return;
    }
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
    if !has(&NM) {
        return;
    }
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
        Function::GnutlsHandshake,
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
    if !has(&["/usr/bin/node", "nm", "readelf"]) {
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
    let tools = ["cc", "nm", "readelf", "strip", "openssl"];
    if !has(&tools) || system_library("libssl.a").is_none() {
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
    if !has(&CC) {
        return;
    }
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
    if !has(&CC) {
        return;
    }
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

#[test]
fn a_table_that_leads_beside_the_code_is_refused() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tls/go");
    let mut bytes = fs::read(seed).expect("a seed");
    assert!(inspect_bytes(&bytes).is_ok());
    // The start of the code, in the table's header, by one byte too high.
    bytes[0x280 + 24] += 1;
    let why = inspect_bytes(&bytes).expect_err("no function begins there");
    assert_eq!(why.to_string(), "the code: no Go function begins at 0x201");
}
