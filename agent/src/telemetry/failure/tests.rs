use super::*;
use crate::telemetry::testing::{call, exchange};

fn name(exchange: &Exchange) -> Option<String> {
    Failure::of(exchange).map(|failure| failure.name().into_owned())
}

#[test]
fn an_http_status_is_an_error_by_side() {
    for (side, status, expected) in [
        (Side::Server, 200, None),
        (Side::Server, 404, None),
        (Side::Server, 503, Some("503")),
        (Side::Client, 302, None),
        (Side::Client, 404, Some("404")),
        (Side::Client, 503, Some("503")),
    ] {
        let mut exchange = exchange();
        (exchange.side, exchange.status) = (side, Ok(status));
        assert_eq!(name(&exchange).as_deref(), expected, "{side:?} {status}");
    }
}

#[test]
fn an_answer_without_an_end_says_why() {
    for (why, expected) in [
        (Unanswered::Closed, "closed"),
        (Unanswered::GoneAway, "go_away"),
        (Unanswered::Reset(0), "reset_no_error"),
        (Unanswered::Reset(7), "reset_refused_stream"),
        (Unanswered::Reset(8), "reset_cancel"),
        (Unanswered::Reset(13), "reset_http_1_1_required"),
        (Unanswered::Reset(14), "reset"),
        (Unanswered::Reset(u32::MAX), "reset"),
    ] {
        let mut exchange = exchange();
        exchange.status = Err(why);
        assert_eq!(name(&exchange).as_deref(), Some(expected));
        (exchange.status, exchange.cut) = (Ok(200), Some(why));
        assert_eq!(name(&exchange).as_deref(), Some(expected));
        exchange.status = Ok(500);
        assert_eq!(name(&exchange).as_deref(), Some("500"), "it goes first");
    }
}

#[test]
fn a_call_fails_by_its_own_status() {
    for (side, status, expected) in [
        (Side::Server, 0, None),
        (Side::Server, 5, None),
        (Side::Server, 13, Some("INTERNAL")),
        (Side::Client, 5, Some("NOT_FOUND")),
        (Side::Client, 99, Some("99")),
    ] {
        let mut exchange = call(Some(status));
        exchange.side = side;
        assert_eq!(name(&exchange).as_deref(), expected, "{side:?} {status}");
    }
}

#[test]
fn a_call_that_was_cut_says_so() {
    let mut exchange = call(None);
    assert_eq!(
        name(&exchange),
        None,
        "its status was not seen: no failure is known"
    );
    exchange.cut = Some(Unanswered::Reset(2));
    assert_eq!(name(&exchange).as_deref(), Some("reset_internal_error"));
    // The caller's own doing, by the conventions no error of the server's.
    exchange.cut = Some(Unanswered::Reset(8));
    assert_eq!(name(&exchange), None);
    exchange.side = Side::Client;
    assert_eq!(name(&exchange).as_deref(), Some("reset_cancel"));
    exchange.status = Err(Unanswered::Closed);
    exchange.cut = Some(Unanswered::Closed);
    assert_eq!(name(&exchange).as_deref(), Some("closed"));
}

#[test]
fn what_answers_in_a_servers_place_is_a_failure_of_the_call() {
    let mut exchange = call(None);
    exchange.status = Ok(503);
    assert_eq!(name(&exchange).as_deref(), Some("503"));
    exchange.side = Side::Client;
    assert_eq!(name(&exchange).as_deref(), Some("UNAVAILABLE"));
}
