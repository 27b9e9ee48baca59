use super::*;
use crate::profile::Origin;

fn compared() -> Compared {
    Compared {
        before: "a.folded".to_owned(),
        after: "b.pb.gz".to_owned(),
        units: ["samples".to_owned(), "samples".to_owned()],
    }
}

fn change(name: &str, own: [f64; 2], total: [f64; 2]) -> Change {
    Change {
        name: name.to_owned(),
        origin: Origin::Native,
        own,
        total,
    }
}

fn changes() -> Vec<Change> {
    vec![
        change("grew\x1b[2J", [1.0, 3.5], [1.0, 4.0]),
        change("grew_less", [1.0, 2.0], [1.0, 2.0]),
        change("same", [1.0, 1.0], [50.0, 60.0]),
        Change {
            origin: Origin::Kernel,
            ..change("shrank", [10.0, 5.25], [12.0, 5.25])
        },
    ]
}

#[test]
fn the_table_has_what_grew_and_what_shrank() {
    let mut out = Vec::new();
    table(&compared(), &changes(), 1, &mut out).expect("a Vec takes all");
    let expected = "\
before  a.folded
after   b.pb.gz

self, points           % of all  total, points           % of all  grew
       +2.50        1.00 → 3.50          +3.00        1.00 → 4.00  grew?[2J
              and 1 more; see --limit and --json

self, points           % of all  total, points           % of all  shrank
       -4.75       10.00 → 5.25          -6.75       12.00 → 5.25  shrank [kernel]
";
    assert_eq!(String::from_utf8(out).expect("text"), expected);
}

#[test]
fn nothing_that_changed_is_said() {
    let mut out = Vec::new();
    table(&compared(), &changes()[2..3], 1, &mut out).expect("a Vec takes all");
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("No function grew.") && text.contains("No function shrank."));
}

#[test]
fn json_has_all_functions() {
    let mut out = Vec::new();
    json(&compared(), &changes(), &mut out).expect("a Vec takes all");
    let read: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(read["functions"].as_array().map(Vec::len), Some(4));
    assert_eq!(read["functions"][3]["self"]["change_points"], -4.75);
    assert_eq!(read["functions"][3]["origin"], "kernel");
    assert_eq!(read["before"]["file"], "a.folded");
}
