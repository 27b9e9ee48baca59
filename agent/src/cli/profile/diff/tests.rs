use super::*;

fn stacks(text: &str) -> Stacks {
    read::parse(text.as_bytes()).expect("folded")
}

#[test]
fn equal_functions_of_two_formats_are_one() {
    use crate::export::{pprof, testing::profile};
    let profiles = [profile()];
    let mut packed = Vec::new();
    pprof::write(
        &profiles,
        |ns| ns,
        |_| pprof::Served::default(),
        &mut packed,
    )
    .expect("written");
    let mut text = Vec::new();
    folded::write(&profiles, folded::Inlined::Marked, &mut text).expect("written");
    let before = read::parse(&packed).expect("pprof");
    let after = read::parse(&text).expect("folded");
    let tree = together(before, after);
    assert_eq!(tree.totals()[0], [4, 4]);
    for change in changes(&tree) {
        assert_eq!(change.own_points(), 0.0, "{change:?}");
        assert_eq!(change.total_points(), 0.0, "{change:?}");
    }
}

#[test]
fn where_code_is_from_is_compared_only_where_both_formats_say_it_alike() {
    let frame = |origin| Frame {
        name: "run (x.js)".into(),
        module: "".into(),
        origin,
        inlined: false,
    };
    let both = |origin, content| as_both(&frame(origin), content).origin;
    for origin in Origin::ALL {
        let [pprof, folded] =
            [Content::Pprof, Content::Folded].map(|content| both(Some(origin), content));
        let expected = match origin {
            Origin::Kernel => Origin::Kernel,
            _ => Origin::Native,
        };
        assert_eq!((pprof, folded), (Some(expected), Some(expected)));
    }
}

#[test]
fn both_profiles_are_in_the_tree() {
    let tree = together(stacks("a;b 3\na 1\n"), stacks("a;c 5\n"));
    assert_eq!(tree.totals()[0], [4, 5]);
    assert_eq!(tree.nodes().len(), 4);
}
