//! The kernel's program and user space, each on its own, over the same programs: what one finds the other finds.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fathom::{
    identity::Process,
    probes::ring::RingReader,
    profile::{Gear, Limits, Profiler, Sample, Sampled, StackQuality},
    telemetry::Clock,
};

use crate::{FREQUENCY, Sampler, subject::Subject};

/// Samples of each.
const SAMPLES: usize = 150;

/// Callers' addresses, the innermost first, and how many samples had them; without the instruction that was sampled, which differs each time.
type Callers = BTreeMap<Vec<u64>, u64>;

/// A stack shape, first unwound by user space alone, from copies, and then by the program alone.
#[track_caller]
fn assert_same(shape: &str, quality: StackQuality) {
    let subject = Subject::start(shape);
    let pid = subject.pid();
    let Some(sampler) = Sampler::start(shape, pid) else {
        return;
    };
    let Sampler {
        mut profile,
        tables,
        _turn,
    } = sampler;
    let identify = |sampled: Sampled| {
        Arc::new(Process {
            pid: sampled.tgid,
            start_ticks: 0,
            service: "stacks".into(),
            executable: None,
            comm: String::new(),
            container: None,
        })
    };
    let period_ns = 1_000_000_000 / u64::from(FREQUENCY);
    let limits = Limits {
        waiting: 64 << 20,
        ..Limits::default()
    };
    let mut profiler = Profiler::new(period_ns, 0, limits, Gear::Names, Box::new(identify))
        .with_tables(tables)
        .expect("a thread");

    // Nothing is published before the first tick: each sample comes with a copy.
    let take = |profiler: &mut Profiler, samples: &mut RingReader, has_copy: bool| {
        let begun = Instant::now();
        let mut taken = 0;
        while taken < SAMPLES && begun.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(10));
            samples.drain(usize::MAX, |record| {
                let sample = Sample::parse(record).expect("a record of the ABI");
                if sample.stopped.is_some() == has_copy {
                    taken += 1;
                    profiler.sample(sample);
                }
            });
        }
        assert!(
            taken >= SAMPLES,
            "{shape}: {taken} samples, copies: {has_copy}"
        );
        profiler.settle(Clock::monotonic_ns(), Duration::from_secs(30));
    };
    take(&mut profiler, &mut profile.samples, true);
    let ours = callers(&mut profiler, quality, shape);
    profiler.tick(Clock::monotonic_ns());
    // While the tables were made nobody read: those that are in the ring had no room for a copy, and are nobody's.
    profile.samples.drain(usize::MAX, |_| {});
    take(&mut profiler, &mut profile.samples, false);
    let theirs = callers(&mut profiler, quality, shape);

    for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
        let all: u64 = one.values().sum();
        for (callers, &count) in one {
            let is_rare = count * 20 < all;
            assert!(
                is_rare || other.contains_key(callers),
                "{shape}: {count} of {all} have {callers:x?}, and others {other:x?}"
            );
        }
    }
}

#[track_caller]
fn callers(profiler: &mut Profiler, quality: StackQuality, shape: &str) -> Callers {
    let profiles = profiler.flush(Clock::monotonic_ns());
    let mut callers = Callers::new();
    let (mut all, mut good) = (0, 0);
    for profile in &profiles {
        for stack in &profile.stacks {
            all += stack.count;
            good += stack.count * u64::from(stack.quality == quality);
            let user = stack
                .locations
                .iter()
                .map(|&location| &profile.locations[location as usize]);
            let user = user.filter(|location| location.origin != fathom::profile::Origin::Kernel);
            let addresses = user.map(|location| location.address).skip(1).collect();
            *callers.entry(addresses).or_default() += stack.count;
        }
    }
    assert!(
        good * 100 >= all * 98,
        "{shape}: {good} of {all} are {quality:?}"
    );
    callers
}

#[test]
fn both_find_the_same_without_frame_pointers() {
    for shape in ["deep", "recursive", "sorting", "thread"] {
        assert_same(shape, StackQuality::Whole);
    }
}

#[test]
fn both_find_the_same_in_stubs_system_calls_and_the_kernels_code() {
    for shape in ["stubs", "reading", "telling"] {
        assert_same(shape, StackQuality::Whole);
    }
}

#[test]
fn both_find_the_same_through_code_made_at_run_time() {
    assert_same("jitting", StackQuality::JitWithoutMap);
}

#[test]
fn both_stop_where_a_record_is_full() {
    assert_same("too_deep", StackQuality::Truncated);
}
