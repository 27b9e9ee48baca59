use super::*;
use crate::export::testing::profile;

#[test]
fn inlined_functions_are_frames_above_the_one_they_are_in() {
    let profile = profile();
    let seen: Vec<_> = frames(&profile, &profile.stacks[0])
        .map(|frame| (frame.name().into_owned(), frame.inlined, frame.module()))
        .collect();
    let expected = [
        ("main", false, "shop"),
        ("a;b\n", false, "shop"),
        ("copy", true, "shop"),
        ("vfs_read", false, "[kernel]"),
    ];
    let expected: Vec<_> = expected
        .map(|(name, inlined, module)| (name.to_owned(), inlined, module))
        .into();
    assert_eq!(seen, expected);
}

#[test]
fn a_frame_that_nothing_is_known_of_is_called_by_its_file() {
    let profile = profile();
    let seen: Vec<_> = frames(&profile, &profile.stacks[1])
        .map(|frame| frame.name().into_owned())
        .collect();
    assert_eq!(seen, ["[unknown]", "[shop]", "[kernel]"]);
}
