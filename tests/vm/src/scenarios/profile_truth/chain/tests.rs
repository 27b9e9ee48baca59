use super::*;

fn compare(chain: &str, stack: &str) -> Match {
    let stack: Vec<&str> = stack.split(';').collect();
    Chain::parse(chain).expect("a chain").compare(&stack)
}

#[test]
fn a_chain_is_whole_only_with_every_frame_from_the_root_on() {
    let chain = "_start;...;main;one;two";
    for (stack, expected) in [
        ("_start;__libc_start_main;main;one;two", Match::Whole),
        ("_start;main;one;two", Match::Whole),
        ("_start;main;one", Match::Part),
        ("_start;__libc_start_main;main", Match::Part),
        ("main;one;two", Match::Wrong),
        ("_start;[unknown];main;one;two", Match::Wrong),
        ("_start;main;two", Match::Wrong),
        ("_start;main;one;two;three", Match::Wrong),
        ("_start", Match::Wrong),
        ("[unknown];two", Match::Wrong),
        ("two", Match::Wrong),
    ] {
        assert_eq!(compare(chain, stack), expected, "{stack}");
    }
}

#[test]
fn repeated_frames_are_counted() {
    let chain = "_start;...;main;dive{3};bottom";
    let stack = |depth: usize, end: &str| format!("_start;main;{}{end}", "dive;".repeat(depth));
    assert_eq!(compare(chain, &stack(3, "bottom")), Match::Whole);
    assert_eq!(compare(chain, &stack(2, "bottom")), Match::Wrong);
    assert_eq!(compare(chain, &stack(4, "bottom")), Match::Wrong);
    assert_eq!(compare(chain, &stack(1, "dive")), Match::Part);
    assert_eq!(compare(chain, &stack(3, "dive")), Match::Wrong);
    assert_eq!(compare("main;tree+", "main;tree;tree;tree"), Match::Whole);
    assert_eq!(compare("main;tree+", "main;tree;bush"), Match::Wrong);
    assert_eq!(
        compare("main;f::{{closure}}", "main;f::{{closure}}"),
        Match::Whole
    );
}

#[test]
fn either_of_two_is_one_frame() {
    let chain = "clone3|[libc.so.6];...;body";
    assert_eq!(compare(chain, "clone3;start_thread;body"), Match::Whole);
    assert_eq!(compare(chain, "[libc.so.6];body"), Match::Whole);
    assert_eq!(compare(chain, "start_thread;body"), Match::Wrong);
}

#[test]
fn a_function_is_itself_with_arguments_and_suffixes_and_no_other() {
    for frame in [
        "f",
        "f(int)",
        "f<int>(int)",
        "void f<int>(int)",
        "f.part.0",
        "f() (.cold)",
    ] {
        assert!(is_of(frame, "f"), "{frame}");
    }
    for frame in ["ff", "f_2", "f::g", "g", "f@plt"] {
        assert!(!is_of(frame, "f"), "{frame}");
    }
}

#[test]
fn a_chain_that_says_nothing_is_an_error() {
    for text in ["", "main;;f", "main;{3}", "+"] {
        assert!(Chain::parse(text).is_err(), "{text}");
    }
}
