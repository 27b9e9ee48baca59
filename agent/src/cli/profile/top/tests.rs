use super::*;
use crate::export::testing::{self, function};

/// A profile in which each stack is a list of names, root first, and how often it was seen.
fn profile(stacks: &[(&[&str], u64)]) -> Profile {
    let mut profile = testing::profile();
    profile.functions.clear();
    profile.locations.clear();
    let stack = profile.stacks[0].clone();
    profile.stacks.clear();
    for (names, count) in stacks {
        let mut stack = stack.clone();
        stack.count = *count;
        stack.locations.clear();
        for name in names.iter().rev() {
            let index = u32::try_from(profile.functions.len()).unwrap();
            profile.functions.push(function(name));
            profile.locations.push(testing::location(
                u64::from(index),
                crate::profile::Origin::Native,
                Some(0),
                Some(index),
            ));
            stack.locations.push(index);
        }
        profile.stacks.push(stack);
    }
    profile
}

fn counts(top: &Top) -> Vec<(&str, u64, u64)> {
    let rows = top.rows();
    rows.iter()
        .map(|row| (&*row.key.name, row.counted.own, row.counted.total))
        .collect()
}

#[test]
fn a_function_counts_once_for_a_stack_however_often_it_is_in_it() {
    let mut top = Top::default();
    top.add(&[profile(&[
        (&["main", "walk", "walk", "walk"], 3),
        (&["main", "walk", "read"], 2),
    ])]);
    assert_eq!(top.samples, 5);
    assert_eq!(
        counts(&top),
        [("walk", 3, 5), ("read", 2, 2), ("main", 0, 5)]
    );
}

#[test]
fn a_window_that_is_too_long_ago_is_forgotten() {
    let mut recent = Recent::default();
    recent.push(&[profile(&[(&["old"], 1)])]);
    for _ in 0..WINDOWS {
        recent.push(&[profile(&[(&["main", "new"], 2)])]);
    }
    let sum = recent.sum();
    assert_eq!(sum.samples, 2 * WINDOWS as u64);
    assert_eq!(counts(&sum), [("new", 10, 10), ("main", 0, 10)]);
}

#[test]
fn rows_fit_the_terminal_and_say_shares() {
    let mut recent = Recent::default();
    recent.push(&[profile(&[(&["main", "a\u{1b}[31m"], 1), (&["main"], 3)])]);
    let size = Size {
        rows: 3,
        columns: 60,
    };
    let frame = recent.frame("headline", size);
    assert_eq!(frame.len(), 3);
    assert_eq!(frame[0], "headline");
    assert!(frame[2].starts_with(" 75.00% 100.00%"), "{}", frame[2]);
    assert!(frame.iter().all(|line| line.chars().count() <= 60));
    let sum = recent.sum();
    let row = sum.rows()[1].to_string();
    assert!(row.ends_with("a?[31m"), "{row}");
}

#[test]
fn a_document_has_numbers_that_add_up() {
    let mut top = Top::default();
    top.add(&[profile(&[(&["main", "a"], 1), (&["main", "b"], 3)])]);
    let document = top.document(2);
    assert_eq!(document["samples"], 4);
    assert_eq!(document["functions"][0]["function"], "b");
    assert_eq!(document["functions"][0]["self"], 3);
    assert_eq!(document["functions"][0]["origin"], "native");
    assert_eq!(document["functions"].as_array().map(Vec::len), Some(2));
}
