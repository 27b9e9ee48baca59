use super::*;
use crate::export::{calltree::Side, testing::profile};

fn page(tree: &CallTree, kind: Kind, title: &str) -> String {
    let about = About {
        title: title.to_owned(),
        period_ns: 10_000_000,
        unit: "samples".to_owned(),
        ..About::default()
    };
    let mut out = Vec::new();
    write(tree, kind, &about, &mut out).expect("a Vec takes all");
    String::from_utf8(out).expect("text")
}

fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("id=\"data\">").expect("there is data");
    let (json, _) = rest.split_once("</script>").expect("it ends");
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn the_data_is_the_tree() {
    let data = data(&page(&CallTree::of(&[profile()]), Kind::Profile, "t"));
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let list = |key: &str| data[key].as_array().expect("a list").clone();
    let (strings, frames, nodes) = (list("strings"), list("frames"), list("nodes"));
    let seen: Vec<_> = nodes
        .chunks(3)
        .map(|node| {
            let frame = usize::try_from(number(&node[0])).expect("small") * 4;
            let string = |at| strings[usize::try_from(number(&frames[at])).expect("small")].clone();
            let origin = usize::try_from(number(&frames[frame + 2])).expect("small");
            let (name, module) = (string(frame), string(frame + 1));
            let origin = &data["origins"][origin];
            format!("{} {name} {module} {origin} {}", node[1], node[2]).replace('"', "")
        })
        .collect();
    assert_eq!(seen.len(), 10);
    assert_eq!(seen[0], "0 all  thread 0");
    assert!(
        seen.contains(&"5 vfs_read [kernel] kernel 3".to_owned()),
        "{seen:?}"
    );
    assert!(
        seen.contains(&"2 main shop native 0".to_owned()),
        "{seen:?}"
    );
}

#[test]
fn a_difference_has_both_counts() {
    let mut tree = CallTree::default();
    tree.add([], Side::First, 3);
    tree.add([], Side::Second, 4);
    let data = data(&page(&tree, Kind::Difference, "t"));
    assert_eq!(data["sides"], 2);
    assert_eq!(data["nodes"], serde_json::json!([0, 0, 3, 4]));
}

#[test]
fn a_name_is_text_and_not_markup() {
    let mut hostile = profile();
    hostile.functions[0].name = "</script><script>alert(1)</script><!--{{script}}".into();
    let page = page(&CallTree::of(&[hostile]), Kind::Profile, "<b>&{{data}}");
    assert!(!page.contains("</script><script>alert"));
    assert!(
        !page.contains("<!--"),
        "a comment would hide the end of the script"
    );
    assert!(!page.contains("<b>"));
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(
        data(&page)["strings"]
            .to_string()
            .contains("alert(1)</script>")
    );
}

#[test]
fn nothing_is_asked_of_a_network() {
    let page = page(&CallTree::of(&[profile()]), Kind::Profile, "t");
    assert!(page.contains("default-src 'none'"));
    for way in [
        "http:", "https:", "src=\"", "url(", "@import", "fetch(", "import(",
    ] {
        assert!(!page.contains(way), "{way}");
    }
}
