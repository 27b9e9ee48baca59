use super::*;
use crate::export::testing::profile;

fn frame(name: &str) -> Frame {
    Frame {
        name: name.into(),
        module: "".into(),
        origin: Some(Origin::Native),
        inlined: false,
    }
}

fn add(tree: &mut CallTree, stack: &str, side: Side, count: u64) {
    tree.add(stack.split(';').map(frame), side, count);
}

/// Each node as `depth name own total`, of both sides.
fn lines(tree: &CallTree) -> Vec<String> {
    let totals = tree.totals();
    tree.preorder()
        .into_iter()
        .map(|(index, depth)| {
            let node = tree.nodes()[index as usize];
            let name = &tree.frames()[node.frame as usize].name;
            format!("{depth} {name} {:?} {:?}", node.own, totals[index as usize])
        })
        .collect()
}

#[test]
fn common_beginnings_are_once() {
    let mut tree = CallTree::default();
    add(&mut tree, "main;parse;read", Side::First, 2);
    add(&mut tree, "main;draw", Side::First, 3);
    add(&mut tree, "main;parse", Side::Second, 4);
    add(&mut tree, "main;parse;read", Side::First, 1);
    assert_eq!(
        lines(&tree),
        [
            "0 all [0, 0] [6, 4]",
            "1 main [0, 0] [6, 4]",
            "2 draw [3, 0] [3, 0]",
            "2 parse [0, 4] [3, 4]",
            "3 read [3, 0] [3, 0]",
        ]
    );
}

#[test]
fn a_profile_begins_with_its_thread_and_has_its_inlined_functions() {
    let tree = CallTree::of(&[profile()]);
    let names: Vec<_> = lines(&tree);
    assert_eq!(
        names,
        [
            "0 all [0, 0] [4, 0]",
            "1 shop [0, 0] [1, 0]",
            "2 [unknown] [0, 0] [1, 0]",
            "3 [shop] [0, 0] [1, 0]",
            "4 [kernel] [1, 0] [1, 0]",
            "1 worker [0, 0] [3, 0]",
            "2 main [0, 0] [3, 0]",
            "3 a;b\n [0, 0] [3, 0]",
            "4 copy [0, 0] [3, 0]",
            "5 vfs_read [3, 0] [3, 0]",
        ]
    );
    let inlined = tree.frames().iter().find(|frame| frame.inlined);
    assert_eq!(inlined.map(|frame| &*frame.name), Some("copy"));
}

#[test]
fn an_empty_stack_counts_at_the_root() {
    let mut tree = CallTree::default();
    tree.add([], Side::First, 5);
    assert_eq!(lines(&tree), ["0 all [5, 0] [5, 0]"]);
}
