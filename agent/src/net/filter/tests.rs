use super::{parse, *};
use crate::net::flows::testing::flow;

fn closed() -> Flow {
    Flow {
        accepted_ns: None,
        ..flow(1, Change::Closed)
    }
}

fn ended(change: Change, outcome: Outcome) -> Flow {
    Flow {
        outcome: Some(outcome),
        ..flow(1, change)
    }
}

#[test]
fn an_empty_one_fits_all() {
    for change in [
        Change::Established,
        Change::Existing,
        Change::Alive,
        Change::Closed,
        Change::ConnectFailed,
        Change::Lost,
    ] {
        assert!(
            Filter::default().fits(&flow(1, change), None, &[]),
            "{change:?}"
        );
    }
}

#[test]
fn a_process_is_named_by_number_service_or_comm_and_exactly() {
    let by_pid = Filter {
        pids: vec![9, 10],
        ..Filter::default()
    };
    assert!(by_pid.fits(&closed(), None, &[]));
    assert!(!by_pid.fits(
        &Flow {
            tgid: 1,
            ..closed()
        },
        None,
        &[]
    ));
    let by_name = Filter {
        processes: vec!["shop".into(), "python3".into()],
        ..Filter::default()
    };
    assert!(by_name.fits(&closed(), None, &["shop", "java"]));
    assert!(by_name.fits(&closed(), None, &["cart", "python3"]));
    assert!(!by_name.fits(&closed(), None, &["shop2", "python"]));
    assert!(!by_name.fits(&closed(), None, &[]));
}

#[test]
fn ports_and_addresses_are_those_of_either_end() {
    let port = |port| Filter {
        ports: vec![1, port],
        ..Filter::default()
    };
    assert!(port(40_000).fits(&closed(), None, &[]) && port(80).fits(&closed(), None, &[]));
    assert!(!port(81).fits(&closed(), None, &[]));
    let address = |text| Filter {
        addresses: vec![parse::address(text).expect(text)],
        ..Filter::default()
    };
    for text in [
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.0/8",
        "0.0.0.0/0",
        "::ffff:127.0.0.2",
    ] {
        assert!(address(text).fits(&closed(), None, &[]), "{text}");
    }
    for text in ["127.0.0.3", "10.0.0.0/8", "::/0", "127.0.0.4/30"] {
        assert!(!address(text).fits(&closed(), None, &[]), "{text}");
    }
    let v6 = Flow {
        remote: "[fd00::1]:80".parse().expect("an address"),
        ..closed()
    };
    assert!(address("fd00::/8").fits(&v6, None, &[]) && !address("fe80::/10").fits(&v6, None, &[]));
    let mapped = Flow {
        remote: "[::ffff:10.1.2.3]:80".parse().expect("an address"),
        ..closed()
    };
    assert!(address("10.0.0.0/8").fits(&mapped, None, &[]));
}

#[test]
fn where_a_connection_really_goes_is_an_end_of_it() {
    let pod = Some("10.244.1.7:8443".parse().expect("an address"));
    let filter = Filter {
        ports: vec![8443],
        addresses: vec![parse::address("10.244.0.0/16").expect("a network")],
        ..Filter::default()
    };
    assert!(filter.fits(&closed(), pod, &[]));
    assert!(!filter.fits(&closed(), None, &[]));
}

#[test]
fn a_state_is_the_word_that_the_user_reads() {
    let state = |text| Filter {
        states: vec![parse::state(text).expect(text)],
        ..Filter::default()
    };
    let reset = ended(Change::Closed, Outcome::Reset);
    let refused = ended(Change::ConnectFailed, Outcome::Refused);
    for (text, flow, expected) in [
        ("open", flow(1, Change::Established), true),
        ("open", flow(1, Change::Alive), true),
        ("open", flow(1, Change::Existing), true),
        ("open", closed(), false),
        ("closed", closed(), true),
        // It was open, and is not any more.
        ("closed", reset, true),
        ("closed", flow(1, Change::Lost), true),
        ("closed", refused, false),
        ("failed", refused, true),
        ("failed", reset, false),
        ("reset", reset, true),
        ("reset", closed(), false),
        ("refused", refused, true),
        ("lost", flow(1, Change::Lost), true),
        ("lost", closed(), false),
    ] {
        assert_eq!(
            state(text).fits(&flow, None, &[]),
            expected,
            "{text} of {:?}",
            flow.change
        );
    }
}

#[test]
fn failed_is_what_ended_otherwise_than_in_order() {
    let failed = Filter {
        failed: true,
        ..Filter::default()
    };
    for outcome in Outcome::ALL {
        let flow = ended(Change::Closed, outcome);
        assert_eq!(failed.fits(&flow, None, &[]), outcome != Outcome::Closed);
    }
    assert!(!failed.fits(&flow(1, Change::Alive), None, &[]));
    assert!(!failed.fits(&flow(1, Change::Lost), None, &[]));
}

#[test]
fn slower_than_is_about_connect_accept_and_round_trip() {
    let than = |time| Filter {
        slower_than: Some(parse::time(time).expect(time)),
        ..Filter::default()
    };
    // Its handshake took 2 ms, its round trip 300 µs.
    let flow = closed();
    assert!(than("1999us").fits(&flow, None, &[]) && !than("2ms").fits(&flow, None, &[]));
    let accepted = Flow {
        connect_ns: None,
        accepted_ns: Some(8_000_000),
        ..flow
    };
    assert!(than("4.9ms").fits(&accepted, None, &[]) && !than("5ms").fits(&accepted, None, &[]));
    let far = Flow {
        connect_ns: None,
        srtt_us: Some(90_000),
        ..flow
    };
    assert!(than("89ms").fits(&far, None, &[]) && !than("0.09").fits(&far, None, &[]));
    // A connect that nobody answered took until its end.
    let failed = Flow {
        change: Change::ConnectFailed,
        established_ns: None,
        at_ns: 3_001_000_000,
        ..flow
    };
    assert!(than("2s").fits(&failed, None, &[]) && !than("3s").fits(&failed, None, &[]));
    let unknown = Flow {
        connect_ns: None,
        srtt_us: None,
        ..flow
    };
    assert!(!than("1us").fits(&unknown, None, &[]));
}

#[test]
fn all_that_is_given_has_to_fit() {
    let both = Filter {
        ports: vec![80],
        failed: true,
        ..Filter::default()
    };
    assert!(both.fits(&ended(Change::Closed, Outcome::Reset), None, &[]));
    assert!(!both.fits(&closed(), None, &[]));
    let elsewhere = Flow {
        remote: "127.0.0.2:81".parse().expect("an address"),
        ..ended(Change::Closed, Outcome::Reset)
    };
    assert!(!both.fits(&elsewhere, None, &[]));
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    let said = |error: Option<parse::Bad>| error.expect("an error").to_string();
    for text in ["", "0", "-1", "80x", "65536", "http"] {
        let line = said(parse::port(text).err());
        assert!(
            line.starts_with(&format!(
                "{text:?} is no port; accepted is a number from 1 to 65535"
            )),
            "{line}"
        );
    }
    for text in ["", "0", "-1", "4294967296", "nginx"] {
        assert!(said(parse::pid(text).err()).contains("is no process number; accepted is"));
    }
    for text in [
        "",
        "10.0.0",
        "10.0.0.0/33",
        "10.0.0.1:80",
        "fd00::/129",
        "host",
    ] {
        assert!(
            said(parse::address(text).err()).contains("is no address; accepted is"),
            "{text}"
        );
    }
    for text in ["", "Open", "listening", "time_wait"] {
        assert!(said(parse::state(text).err()).contains("there is no state"));
    }
    for text in [
        "", "0", "0ms", "-1s", "1h", "5 days", "ms", "1.2.3s", "1e400", "inf", "99999m",
    ] {
        assert!(
            said(parse::time(text).err()).contains("is no such time; accepted is"),
            "{text}"
        );
    }
    assert!(parse::process(" ").is_err());
    assert_eq!(parse::process(" nginx"), Ok("nginx".to_owned()));
}

#[test]
fn each_outcome_can_be_asked_for_by_its_name() {
    for outcome in Outcome::ALL {
        let expected = match outcome {
            Outcome::Closed => State::Closed,
            Outcome::Failed => State::Failed,
            other => State::Ended(other),
        };
        assert_eq!(parse::state(outcome.name()), Ok(expected));
    }
}

#[test]
fn a_time_has_a_unit_or_is_in_seconds() {
    for (text, micros) in [
        ("500us", 500),
        ("500µs", 500),
        ("20ms", 20_000),
        ("2s", 2_000_000),
        ("2", 2_000_000),
        ("0.5", 500_000),
        ("1.5 s", 1_500_000),
        ("1m", 60_000_000),
    ] {
        assert_eq!(
            parse::time(text),
            Ok(Duration::from_micros(micros)),
            "{text}"
        );
    }
}
