use super::*;

fn address(last: u16) -> SocketAddr {
    SocketAddr::new([10, 0, 0, 1].into(), last)
}

struct Clocked {
    cache: Cache,
    start: Instant,
}

impl Clocked {
    fn new() -> Self {
        Self {
            cache: Cache::default(),
            start: Instant::now(),
        }
    }

    fn get(&mut self, seconds: u64) -> Option<Finding> {
        let now = self.start + Duration::from_secs(seconds);
        self.cache.get(address(80), Protocol::TCP, now)
    }

    fn put(&mut self, seconds: u64, finding: Finding) {
        let now = self.start + Duration::from_secs(seconds);
        assert!(!self.cache.put(address(80), Protocol::TCP, finding, now));
    }
}

#[test]
fn what_was_found_holds_for_a_while() {
    let mut cache = Clocked::new();
    assert_eq!(cache.get(0), None);
    cache.put(0, Finding::Plain);
    assert_eq!(cache.get(29), Some(Finding::Plain));
    assert_eq!(cache.get(30), None);
    cache.put(31, Finding::Absent);
    assert_eq!(cache.get(35), Some(Finding::Absent));
    assert_eq!(cache.get(36), None);
    let other = cache.cache.get(address(80), Protocol::UDP, cache.start);
    assert_eq!(other, None);
}

#[test]
fn a_service_is_always_asked_for_whatever_becomes_of_one_connection() {
    let mut cache = Clocked::new();
    cache.put(0, Finding::Plain);
    cache.put(30, Finding::Translated);
    assert_eq!(cache.get(31), None);
    cache.put(31, Finding::Absent);
    cache.put(32, Finding::Plain);
    assert_eq!(cache.get(33), None);
    // A minute without one that was translated: it is none any more.
    cache.put(90, Finding::Plain);
    assert_eq!(cache.get(91), Some(Finding::Plain));
}

#[test]
fn there_is_an_end_to_what_is_remembered() {
    let mut cache = Cache::default();
    let now = Instant::now();
    let mut forgotten = 0;
    let many = u16::try_from(MAX_DESTINATIONS.get()).expect("a number");
    for port in 0..many + 3 {
        forgotten += u32::from(cache.put(address(port), Protocol::TCP, Finding::Plain, now));
    }
    assert_eq!(forgotten, 3);
    assert_eq!(cache.0.len(), usize::from(many));
    assert_eq!(cache.get(address(0), Protocol::TCP, now), None);
    assert!(cache.get(address(3), Protocol::TCP, now).is_some());
}
