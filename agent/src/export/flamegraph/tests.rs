use super::*;
use crate::export::testing::profile;

#[test]
fn the_picture_names_each_frame_and_can_be_searched() {
    let mut svg = Vec::new();
    write(&[profile()], "a title", &mut svg).expect("draws");
    let svg = String::from_utf8(svg).expect("text");
    for part in [
        "a title",
        "main",
        "vfs_read",
        "(3 samples, 75.00%)",
        "<script",
        "search(",
        "zoom(",
    ] {
        assert!(svg.contains(part), "{part} is missing");
    }
}

#[test]
fn a_name_is_text_and_not_markup() {
    let mut hostile = profile();
    hostile.functions[0].name = "<script>alert(1)</script>".into();
    let mut svg = Vec::new();
    write(&[hostile], "t", &mut svg).expect("draws");
    let svg = String::from_utf8(svg).expect("text");
    assert!(!svg.contains("<script>alert"));
}

#[test]
fn nothing_is_not_drawn() {
    assert!(write(&[], "t", Vec::new()).is_err());
}
