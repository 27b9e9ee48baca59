use super::*;

fn details(seconds: i64, nanos: i32) -> Vec<u8> {
    RpcStatus {
        details: vec![
            Any {
                type_url: "type.googleapis.com/google.rpc.DebugInfo".into(),
                value: vec![1, 2, 3],
            },
            Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
                value: RetryInfo {
                    retry_delay: Some(RpcDuration { seconds, nanos }),
                }
                .encode_to_vec(),
            },
        ],
    }
    .encode_to_vec()
}

/// The table of the OTLP specification, whole.
#[test]
fn only_the_retryable_codes_are_retried() {
    let retryable = [
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unavailable,
        Code::DataLoss,
    ];
    for code in (0..=16).map(Code::from_i32) {
        let expected = if retryable.contains(&code) {
            Verdict::Retry
        } else {
            Verdict::Final
        };
        assert_eq!(verdict(&Status::new(code, "")), expected, "{code:?}");
    }
}

#[test]
fn retry_info_makes_resource_exhausted_retryable_and_sets_the_pause() {
    for code in [Code::ResourceExhausted, Code::Unavailable] {
        let status = Status::with_details(code, "slow down", details(7, 500_000_000).into());
        assert_eq!(
            verdict(&status),
            Verdict::RetryAfter(Duration::from_millis(7500)),
            "{code:?}"
        );
    }
    let refused = Status::with_details(Code::InvalidArgument, "", details(7, 0).into());
    assert_eq!(verdict(&refused), Verdict::Final);
}

#[test]
fn nonsense_in_the_details_is_no_wish() {
    for bytes in [
        details(-1, 0),
        details(0, -5),
        vec![0xff; 40],
        vec![0x1a, 0x7f],
    ] {
        let status = Status::with_details(Code::ResourceExhausted, "", bytes.into());
        assert_eq!(verdict(&status), Verdict::Final);
    }
}

#[test]
fn pauses_grow_stay_bounded_and_are_not_all_alike() {
    let mut backoff = Backoff::new();
    let mut whole = FIRST;
    for _ in 0..12 {
        let pause = backoff.pause();
        assert!(
            pause >= whole / 2 && pause <= whole,
            "{pause:?} of {whole:?}"
        );
        whole = (whole * 2).min(LONGEST);
    }
    let firsts: std::collections::HashSet<_> = (0..20).map(|_| Backoff::new().pause()).collect();
    assert!(firsts.len() > 1, "no jitter");
}
