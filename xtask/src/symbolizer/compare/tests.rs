use super::{Class, Comparison, Symbols};
use crate::symbolizer::{
    addresses::{Random, executable, pick},
    answer::{Answer, Frame},
    tool::{Names, Tool},
};

fn frame(function: &str, file: &str, line: u32) -> Frame {
    let known = |text: &str| (text != "??").then(|| text.to_owned());
    Frame {
        function: known(function),
        file: known(file),
        line,
        column: 1,
    }
}

fn class_of(ours: &Answer, theirs: &Answer) -> Vec<Class> {
    Class::of(ours, theirs, &Symbols::default())
}

/// A change of an answer that makes it wrong.
type Mutation = fn(&mut Answer);

/// llvm-symbolizer's own answers about this very program pass; with a share of them changed, each way of changing fails.
#[test]
fn equal_answers_pass_and_wrong_ones_fail() {
    let this = std::env::current_exe().expect("this program");
    let ranges = executable(&this).expect("its code");
    let addresses = pick(&ranges, &mut Random::of("mutations", 1), 2_000);
    let theirs = Tool::llvm()
        .and_then(|llvm| llvm.answers(&this, None, Names::Linkage, &addresses))
        .expect("llvm-symbolizer's answers");
    let judge = |every: usize, mutate: Mutation| {
        let mut comparison = Comparison::default();
        for (index, (&address, theirs)) in addresses.iter().zip(&theirs).enumerate() {
            let mut ours = theirs.clone();
            if index % every == 0 {
                mutate(&mut ours);
            }
            comparison.add(address, &ours, theirs, &Symbols::default());
        }
        comparison
    };
    let same = judge(1, |_| {});
    same.judge().expect("equal answers");
    assert!(
        same.classes.is_empty() && same.names.equal > 1_000 && same.lines.equal > 1_000,
        "{same:?}"
    );
    let wrong: [(Mutation, usize); 5] = [
        (|answer| answer[0].function = Some("wrong".to_owned()), 500),
        (|answer| answer[0].function = None, 500),
        (|answer| answer[0].line += 1, 100),
        (|answer| answer[0].file = Some("/wrong.rs".to_owned()), 100),
        (|answer| answer[0].file = None, 100),
    ];
    for (mutation, every) in wrong {
        let outcome = judge(every, mutation);
        assert!(
            outcome.judge().is_err() && !outcome.classes.is_empty(),
            "{outcome:?}"
        );
    }
    // The frames around are a figure of their own.
    let shallow = judge(2, |answer| answer.truncate(1));
    assert!(
        shallow.chains.of_both() < 0.95 && shallow.classes.contains_key(&Class::ChainDepth),
        "{shallow:?}"
    );
}

#[test]
fn differences_are_told_apart() {
    let base = vec![frame("f", "/a/x.c", 7), frame("g", "/a/y.c", 9)];
    let first = |function, file, line| vec![frame(function, file, line), base[1].clone()];
    for (ours, expected) in [
        (base.clone(), vec![]),
        (first("??", "/a/x.c", 7), vec![Class::NameMissing]),
        (first("f.cold", "/a/x.c", 7), vec![Class::NameSuffix]),
        (
            first("h", "/a/x.c", 8),
            vec![Class::NameOther, Class::LineOther],
        ),
        (
            vec![frame("g", "/a/y.c", 9)],
            vec![Class::NameDepth, Class::LineFile],
        ),
        (first("f", "??", 0), vec![Class::LineMissing]),
        (first("f", "/b/x.c", 7), vec![Class::LineFolder]),
        (first("f", "/a/x.c", 0), vec![Class::LineZero]),
        (vec![base[0].clone()], vec![Class::ChainDepth]),
        (
            vec![base[0].clone(), frame("h", "/a/y.c", 9)],
            vec![Class::ChainName],
        ),
        (
            vec![base[0].clone(), frame("g", "/a/y.c", 8)],
            vec![Class::ChainLine],
        ),
    ] {
        assert_eq!(class_of(&ours, &base), expected, "{ours:?}");
    }
    let one = |name| vec![frame(name, "/a/x.c", 7)];
    let of = |ours, theirs| class_of(&one(ours), &one(theirs));
    assert_eq!(
        of("m.(*P[...]).F", "m.(*P[go.shape.struct { a []int }_0]).F"),
        [Class::NameGeneric]
    );
    assert_eq!(of("m.(*P[...]).F", "m.(*P[int]).G"), [Class::NameOther]);
    assert_eq!(of("_ZN4gold4Task3runEv", "run"), [Class::NamePlain]);
    assert_eq!(of("_ZN4gold4Task4run2Ev", "run"), [Class::NameOther]);
    let unknown = vec![frame("??", "??", 0)];
    assert_eq!(
        class_of(&base, &unknown),
        [Class::NameMore, Class::LineMore]
    );
    assert_eq!(
        Class::of_spelling("_ZN4core3ptr4drop17h0123456789abcdefE"),
        Class::SpellingRustLegacy
    );
    assert_eq!(Class::of_spelling("_ZN4core17honE"), Class::SpellingCxx);
    assert_eq!(Class::of_spelling("_RNvC1a1b"), Class::SpellingRust);
}

#[test]
fn names_of_one_address_are_aliases() {
    // environ and __environ are one variable of every libc.
    let libc = [
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib64/libc.so.6",
        "/lib/libc.so.6",
    ]
    .map(std::path::Path::new)
    .into_iter()
    .find(|path| path.is_file())
    .expect("a libc");
    let symbols = Symbols::read(&[libc]).expect("its symbols");
    let (ours, theirs) = (
        vec![frame("environ", "??", 0)],
        vec![frame("__environ", "??", 0)],
    );
    assert_eq!(Class::of(&ours, &theirs, &symbols), [Class::NameAlias]);
    let other = vec![frame("malloc", "??", 0)];
    assert_eq!(Class::of(&other, &theirs, &symbols), [Class::NameOther]);
}
