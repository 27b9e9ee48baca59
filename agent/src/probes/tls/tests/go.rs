//! Go programs, built here, with the word of nm, objdump and Go's own reflection for where things are.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use tempfile::TempDir;

use super::*;

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
    // cc for the builds that link by it.
    if has(&["go", "cc", "nm", "readelf", "objdump"]) {
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
    if !has(&["go"]) {
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
