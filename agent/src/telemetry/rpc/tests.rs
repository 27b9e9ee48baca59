use super::*;
use crate::telemetry::testing::call;

fn code(side: Side, change: impl FnOnce(&mut Exchange)) -> Option<String> {
    let mut exchange = call(None);
    exchange.side = side;
    change(&mut exchange);
    let code = Code::of(&exchange, exchange.rpc.as_deref().expect("a call"))?;
    Some(code.name().into_owned())
}

/// The table of `doc/statuscodes.md` and that of the conventions, side by side.
#[test]
fn codes_are_errors_as_the_conventions_say() {
    let server_errors = [
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "17",
    ];
    for number in 0..=17 {
        let code = Code(number);
        let name = code.name();
        assert_eq!(code.is_error(Side::Client), name != "OK", "{name}");
        assert_eq!(
            code.is_error(Side::Server),
            server_errors.contains(&name.as_ref()),
            "{name}"
        );
    }
    assert_eq!(Code(16).name(), "UNAUTHENTICATED");
    assert_eq!(Code(u32::MAX).name(), "4294967295");
}

#[test]
fn what_was_seen_goes_before_what_follows_from_it() {
    for side in [Side::Server, Side::Client] {
        let seen = code(side, |exchange| {
            *exchange = call(Some(5));
            exchange.status = Ok(503);
        });
        assert_eq!(seen.as_deref(), Some("NOT_FOUND"));
        assert_eq!(code(side, |_| ()), None, "200 says nothing");
    }
}

#[test]
fn a_client_takes_an_http_error_for_a_code() {
    for (status, expected) in [
        (400, "INTERNAL"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "UNIMPLEMENTED"),
        (429, "UNAVAILABLE"),
        (502, "UNAVAILABLE"),
        (500, "UNKNOWN"),
        (302, "UNKNOWN"),
    ] {
        let with = |side| code(side, |exchange| exchange.status = Ok(status));
        assert_eq!(with(Side::Client).as_deref(), Some(expected), "{status}");
        assert_eq!(with(Side::Server), None, "{status}");
    }
}

#[test]
fn a_cancelled_stream_is_a_cancelled_call_for_its_server() {
    let reset = Unanswered::Reset(CANCEL);
    for side in [Side::Server, Side::Client] {
        let expected = (side == Side::Server).then_some("CANCELLED");
        let early = code(side, |exchange| exchange.status = Err(reset));
        assert_eq!(early.as_deref(), expected);
        let late = code(side, |exchange| exchange.cut = Some(reset));
        assert_eq!(late.as_deref(), expected);
        let closed = code(side, |exchange| exchange.cut = Some(Unanswered::Closed));
        assert_eq!(closed, None);
    }
}

#[test]
fn a_method_has_its_service() {
    let mut name = String::new();
    let mut exchange = call(None);
    let call = exchange.rpc.as_deref_mut().expect("a call");
    write_method(call, &mut name);
    assert_eq!(name, "helloworld.Greeter/SayHello");
    name.clear();
    call.method.clear();
    write_method(call, &mut name);
    assert_eq!(name, "helloworld.Greeter");
}
