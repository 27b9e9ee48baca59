use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use super::*;

#[test]
fn names_read_as_their_authors_wrote_them() {
    for (name, readable) in [
        ("main", "main"),
        ("_ZN3foo3barEi", "foo::bar(int)"),
        ("_ZN3foo3barEi.cold", "foo::bar(int) (.cold)"),
        (
            "_ZNSt6vectorIiSaIiEE9push_backERKi@@GLIBCXX_3.4",
            "std::vector<int, std::allocator<int>>::push_back(int const&)@@GLIBCXX_3.4",
        ),
        (
            "_ZSt4moveIRiEONSt16remove_referenceIT_E4typeEOS2_",
            "std::move<int&>(int&)",
        ),
        ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
        (
            "_ZN42_$LT$str$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE",
            "<str as core::fmt::Display>::fmt",
        ),
        ("_RNvC6_123foo3bar", "123foo::bar"),
    ] {
        assert_eq!(demangle(name), readable);
    }
    let full = demangle_full("_ZSt4moveIRiEONSt16remove_referenceIT_E4typeEOS2_");
    assert_eq!(
        full,
        "std::remove_reference<int&>::type&& std::move<int&>(int&)"
    );
    let full = demangle_full("_ZN4core3fmt5write17h0123456789abcdefE");
    assert_eq!(full, "core::fmt::write::h0123456789abcdef");
}

/// Clang says of some arguments what they are for; what is printed is llvm-cxxfilt's.
#[test]
fn declarations_of_parameters_are_read_and_not_printed() {
    for (name, readable) in [
        (
            "_ZN5clang8ASTNodesITnNSt9enable_ifIXsr3fooE5valueEiE4typeELi0EEEvT_",
            "void clang::ASTNodes<0>(0)",
        ),
        ("_Z1fITnDa3fooEvv", "void f<foo>()"),
        ("_Z1fITnPFvvEXadL_Z1gvEEEvv", "void f<&g()>()"),
        ("_Z1fITpTnDaJLi1ELi2EEEvv", "void f<1, 2>()"),
        ("_Z1fITtTyE3fooEvv", "void f<foo>()"),
    ] {
        assert_eq!(demangle_full(name), readable);
    }
    let deep = format!("_Z1fI{}", "Tp".repeat(100_000));
    assert_eq!(demangle_full(&deep), deep);
}

#[test]
fn what_is_not_mangled_well_stays_as_it_is() {
    for name in [
        "",
        "_Z",
        "_ZN",
        "_R",
        "_ZN3fo",
        "_ZZZZ",
        "a;b\nc",
        "_ZN3fooE!",
        "_Z3fooIT_EvS_",
    ] {
        assert_eq!(demangle(name), name);
        assert_eq!(demangle_full(name), name);
    }
}

#[test]
fn a_name_that_would_explode_stays_mangled() {
    // Each argument names the one before it twice, through a substitution.
    let mut name = "_Z1f1aS_".to_owned();
    for level in 0..200 {
        let last = if level == 0 {
            "S_".to_owned()
        } else {
            format!("S{}_", base36(level - 1))
        };
        name.push_str(&format!("M{last}{last}"));
    }
    assert_eq!(demangle_full(&name), name);
    assert_eq!(demangle(&name), name);
    // As deep as the name is long.
    let deep = format!("_Z1f{}i", "P".repeat(100_000));
    assert_eq!(demangle_full(&deep), deep);
}

fn base36(number: u32) -> String {
    let digit = char::from_digit(number % 36, 36)
        .expect("below 36")
        .to_ascii_uppercase();
    let rest = if number >= 36 {
        base36(number / 36)
    } else {
        String::new()
    };
    format!("{rest}{digit}")
}

/// LLVM's own demangler, over all names of C++'s standard library, of LLVM and of this program.
#[test]
fn llvm_prints_the_same() {
    let libraries = ["libstdc++.so.6", "libLLVM-14.so.1", "libLLVM.so.22.1"];
    let mut names = BTreeSet::new();
    for library in libraries {
        let output = Command::new("nm")
            .args(["-D", "-f", "posix", "--without-symbol-versions"])
            .arg(format!("/usr/lib/x86_64-linux-gnu/{library}"))
            .output();
        let Ok(output) = output else {
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = text.lines().filter_map(|line| line.split(' ').next());
        names.extend(
            first
                .filter(|name| name.starts_with("_Z"))
                .map(str::to_owned),
        );
    }
    let own = std::env::current_exe().expect("a test has a file");
    let output = Command::new("nm").args(["-f", "posix"]).arg(own).output();
    if let Ok(output) = output {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = text.lines().filter_map(|line| line.split(' ').next());
        names.extend(
            first
                .filter(|name| name.starts_with("_Z"))
                .map(str::to_owned),
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("names");
    let all: Vec<_> = names.into_iter().collect();
    fs::write(&path, all.join("\n") + "\n").expect("written");
    let output = Command::new("llvm-cxxfilt-22")
        .stdin(fs::File::open(&path).expect("opens"))
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED llvm_prints_the_same: no llvm-cxxfilt-22 here (package llvm-22)");
        return;
    };
    let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
    let theirs: Vec<_> = theirs.lines().collect();
    assert_eq!(theirs.len(), all.len());
    let mut different = Vec::new();
    for (name, theirs) in all.iter().zip(theirs) {
        let ours = demangle_full(name);
        // Of what LLVM does not read we may.
        if ours != theirs && theirs != name {
            different.push((ours, theirs.to_owned()));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {}: {different:#?}",
        different.len(),
        all.len()
    );
}
