use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

#[test]
fn now_is_now_on_both_clocks() {
    let clock = Clock::new();
    let system = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos() as u64;
    let ours = clock.unix_ns(Clock::monotonic_ns());
    assert!(ours.abs_diff(system) < 100_000_000, "{ours} and {system}");
}

#[test]
fn distances_are_kept() {
    let clock = Clock::new();
    assert_eq!(clock.unix_ns(5_000) - clock.unix_ns(2_000), 3_000);
    clock.sample();
    assert_eq!(clock.unix_ns(5_000) - clock.unix_ns(2_000), 3_000);
}
