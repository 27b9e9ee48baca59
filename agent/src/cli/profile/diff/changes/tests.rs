use super::*;
use crate::export::calltree::{Frame, Side};

fn tree(stacks: &[(&str, Side, u64)]) -> CallTree {
    let mut tree = CallTree::default();
    for &(stack, side, count) in stacks {
        let frames = stack.split(';').map(|name| Frame {
            name: name.into(),
            module: "".into(),
            origin: Some(Origin::Native),
            inlined: false,
        });
        tree.add(frames, side, count);
    }
    tree
}

#[test]
fn shares_are_those_of_each_profile() {
    let tree = tree(&[
        ("main;parse", Side::First, 30),
        ("main;draw", Side::First, 10),
        ("main;draw", Side::Second, 3),
        ("main;draw;new", Side::Second, 1),
    ]);
    let changes = changes(&tree);
    let seen: Vec<_> = changes
        .iter()
        .map(|change| (change.name.as_str(), change.own, change.total))
        .collect();
    assert_eq!(
        seen,
        [
            ("draw", [25.0, 75.0], [25.0, 100.0]),
            ("new", [0.0, 25.0], [0.0, 25.0]),
            ("main", [0.0, 0.0], [100.0, 100.0]),
            ("parse", [75.0, 0.0], [75.0, 0.0]),
        ]
    );
}

#[test]
fn a_recursive_function_counts_a_stack_once() {
    let tree = tree(&[
        ("f;g;f;g;f", Side::First, 4),
        ("g", Side::First, 4),
        ("f", Side::Second, 1),
    ]);
    let changes = changes(&tree);
    let f = changes.iter().find(|change| change.name == "f");
    let f = f.expect("it is there");
    assert_eq!((f.own, f.total), ([50.0, 100.0], [50.0, 100.0]));
    let g = changes.iter().find(|change| change.name == "g");
    let g = g.expect("it is there");
    assert_eq!((g.own, g.total), ([50.0, 0.0], [100.0, 0.0]));
}
