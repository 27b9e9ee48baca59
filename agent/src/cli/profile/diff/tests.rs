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
fn both_profiles_are_in_the_tree() {
    let tree = together(stacks("a;b 3\na 1\n"), stacks("a;c 5\n"));
    assert_eq!(tree.totals()[0], [4, 5]);
    assert_eq!(tree.nodes().len(), 4);
}
