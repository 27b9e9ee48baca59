use serde_json::{Value, json};

use super::{super::note::Bound, Line, Note, Outcome, Role, Side, wrong};

fn note() -> Note {
    Note {
        case: "test".to_owned(),
        netns: 7,
        role: Role::Client,
        local: "127.0.0.1:1000".parse().expect("an address"),
        remote: "127.0.0.1:80".parse().expect("an address"),
        sent: 5,
        received: 3,
        began: true,
        outcome: Outcome::Closed,
        error: None,
        closed_by: Some(Side::Local),
        pid: 42,
        alive: 1,
        existing: false,
        bounds: vec![Bound {
            field: "connect_ns".to_owned(),
            least: 10,
            most: 20,
        }],
    }
}

fn lines() -> Vec<Value> {
    let base = json!({
        "id": "a", "role": "client", "local": "127.0.0.1:1000", "remote": "127.0.0.1:80", "bytes_sent": 0, "bytes_received": 0, "outcome": null,
        "closed_by": null, "error": null, "pid": 42, "netns": 7, "connect_ns": 15, "what": "established",
    });
    let mut alive = base.clone();
    alive["what"] = json!("alive");
    alive["bytes_sent"] = json!(5);
    let mut closed = alive.clone();
    closed["what"] = json!("closed");
    closed["bytes_received"] = json!(3);
    closed["outcome"] = json!("closed");
    closed["closed_by"] = json!("local");
    vec![base, alive, closed]
}

fn judge(notes: &[Note], lines: &[Value]) -> Vec<String> {
    let lines: Vec<Line> = lines
        .iter()
        .map(|line| serde_json::from_value(line.clone()).expect("a line"))
        .collect();
    wrong(notes, &lines)
}

#[test]
fn what_agrees_is_not_wrong() {
    assert_eq!(judge(&[note()], &lines()), Vec::<String>::new());
}

#[test]
fn any_field_that_differs_is_found() {
    for (field, value) in [
        ("bytes_sent", json!(6)),
        ("bytes_received", json!(2)),
        ("outcome", json!("reset")),
        ("closed_by", json!("remote")),
        ("error", json!("ECONNRESET")),
        ("role", json!("server")),
        ("pid", json!(43)),
        ("connect_ns", json!(21)),
        ("connect_ns", Value::Null),
        ("what", json!("failed")),
    ] {
        let mut lines = lines();
        lines[2][field] = value.clone();
        assert_eq!(judge(&[note()], &lines).len(), 1, "{field} {value}");
    }
}

#[test]
fn each_end_is_told_once_from_its_beginning_to_its_end() {
    let all = lines();
    for (why, lines) in [
        ("nothing", vec![]),
        ("not established", all[1..].to_vec()),
        ("never alive", vec![all[0].clone(), all[2].clone()]),
        ("not over", all[..2].to_vec()),
        ("twice over", [all.clone(), vec![all[2].clone()]].concat()),
        (
            "alive when over",
            [all.clone(), vec![all[1].clone()]].concat(),
        ),
        ("twice begun", [vec![all[0].clone()], all.clone()].concat()),
    ] {
        assert!(!judge(&[note()], &lines).is_empty(), "{why}");
    }
    let mut again = all.clone();
    for line in &mut again {
        line["id"] = json!("b");
    }
    assert!(!judge(&[note()], &[all, again].concat()).is_empty());
}

#[test]
fn a_connection_that_never_was_is_found_and_that_of_others_is_not_judged() {
    let mut phantom = lines();
    for line in &mut phantom {
        line["id"] = json!("b");
        line["local"] = json!("127.0.0.1:1001");
    }
    let all = [lines(), phantom.clone()].concat();
    assert_eq!(judge(&[note()], &all).len(), 1);
    for line in &mut phantom {
        line["netns"] = json!(8);
    }
    assert!(judge(&[note()], &[lines(), phantom].concat()).is_empty());
}

#[test]
fn one_that_was_open_before_is_not_seen_to_begin() {
    let existing = Note {
        existing: true,
        ..note()
    };
    let mut before = lines();
    before[0]["what"] = json!("existing");
    for field in ["bytes_sent", "bytes_received", "netns"] {
        before[0][field] = Value::Null;
    }
    assert!(judge(std::slice::from_ref(&existing), &before).is_empty());
    assert_eq!(judge(&[note()], &before).len(), 1);
    assert_eq!(judge(std::slice::from_ref(&existing), &lines()).len(), 1);
    before[1]["bytes_sent"] = Value::Null;
    assert!(!judge(&[existing], &before).is_empty());
}

#[test]
fn what_only_calls_tell_is_told_from_what_else_is_wrong() {
    assert!(super::is_of_calls(
        "late-words: no first_sent_ns; first noted: Note"
    ));
    assert!(super::is_of_calls(
        "long: 0 times alive, not 2; first noted: Note"
    ));
    assert!(!super::is_of_calls(
        "long: 1 times alive, not 2; first noted: first_sent_ns"
    ));
}

#[test]
fn a_kept_accept_leaves_no_wait_for_it() {
    let mut queued = note();
    queued.case = "queue".to_owned();
    queued.bounds[0].field = "accept_wait_ns".to_owned();
    let wrong = judge(&[queued], &lines());
    assert_eq!(wrong.len(), 1);
    assert!(super::is_of_calls(&wrong[0]), "{}", wrong[0]);
}

#[test]
fn a_kept_connect_leaves_nothing_of_a_connect_that_fails_at_once() {
    for (case, expected) in [
        ("no-route", true),
        ("no-route-v6", true),
        ("unreachable-route", true),
        ("icmp", false),
        ("silent", false),
    ] {
        let failed = Note {
            case: case.to_owned(),
            began: false,
            ..note()
        };
        let wrong = judge(std::slice::from_ref(&failed), &[]);
        assert_eq!(super::is_of_calls(&wrong[0]), expected, "{}", wrong[0]);
        // Told of, and otherwise than it was.
        let wrong = judge(&[failed], &lines());
        assert!(!super::is_of_calls(&wrong[0]), "{}", wrong[0]);
    }
}

#[test]
fn of_a_lost_end_the_bytes_are_not_known() {
    let mut lines = lines();
    lines[2]["what"] = json!("lost");
    for field in ["bytes_sent", "bytes_received", "outcome"] {
        lines[2][field] = Value::Null;
    }
    let wrong = judge(&[note()], &lines);
    assert!(wrong[0].contains("its end was lost"), "{}", wrong[0]);
}
