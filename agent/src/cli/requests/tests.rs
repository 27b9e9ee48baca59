use super::*;
use crate::{
    l7::exchange::Unanswered,
    telemetry::testing::{call, exchange, process},
};

#[test]
fn a_request_is_one_line() {
    let shown = line(&exchange(), &process("shop"), 0);
    let cells: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(cells[1..3], ["server", "200"]);
    assert!(
        shown.ends_with("shop[10]             GET     /users/7"),
        "{shown}"
    );
    let document = document(&exchange(), &process("shop"), 0);
    assert_eq!(document["route"], "/users/{id}");
    assert_eq!(document["duration_ns"], 2_000_000);
    for key in ["rpc", "cut", "error"] {
        assert!(document[key].is_null(), "{key}");
    }
    assert_eq!(document["tls"], false);
}

#[test]
fn a_call_says_how_it_ended() {
    let mut call = call(Some(13));
    call.tls = true;
    let shown = line(&call, &process("greeter"), 0);
    assert!(
        shown.ends_with("POST    /helloworld.Greeter/SayHello  INTERNAL"),
        "{shown}"
    );
    let document = document(&call, &process("greeter"), 0);
    assert_eq!(document["status"], 200);
    assert_eq!(document["error"], "INTERNAL");
    assert_eq!(document["tls"], true);
    let rpc = &document["rpc"];
    assert_eq!(rpc["service"], "helloworld.Greeter");
    assert_eq!(rpc["method"], "SayHello");
    assert_eq!(rpc["status"], "INTERNAL");
    assert_eq!(
        (&rpc["request"]["messages"], &rpc["request"]["bytes"]),
        (&json!(1), &json!(12))
    );
    assert!(
        rpc["response"]["messages"].is_null(),
        "it could not be counted"
    );
}

#[test]
fn an_answer_without_an_end_says_why() {
    let mut exchange = exchange();
    exchange.cut = Some(Unanswered::Reset(8));
    assert!(line(&exchange, &process("shop"), 0).ends_with("/users/7  reset_cancel"));
    exchange.status = Err(Unanswered::Closed);
    exchange.cut = None;
    let shown = line(&exchange, &process("shop"), 0);
    assert!(shown.ends_with("/users/7  closed"), "{shown}");
    let document = document(&exchange, &process("shop"), 0);
    assert_eq!(
        (&document["cut"], &document["error"]),
        (&json!("closed"), &json!("closed"))
    );
    assert!(document["status"].is_null());
}
