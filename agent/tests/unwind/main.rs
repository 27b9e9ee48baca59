//! The kernel's unwinder, by tables of the files that a process has mapped: a program whose stacks are known, without frame pointers.

mod both;
mod copied;
mod cost;
mod names;
#[path = "../running/mod.rs"]
mod running;
mod subject;
mod tables;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fathom::{
    probes::profile::{Profile, ProfileOptions, tables::Tables},
    profile::Sample,
};
use fathom_abi::{counters::ProfileCounter, sample::UserEnd};

use crate::{names::Names, subject::Subject, tables::Loaded};

/// Samples each second: many, as a shape is looked at for a short time.
const FREQUENCY: u32 = 499;

/// How many samples make a judgement.
const SAMPLES: usize = 200;

/// One test at a time: their programs take a whole CPU each.
static TURN: Mutex<()> = Mutex::new(());

/// A sampler of one process, whose user stacks are unwound.
struct Sampler {
    profile: Profile,
    tables: Tables,
    _turn: MutexGuard<'static, ()>,
}

impl Sampler {
    /// None where this test can't run, which it says.
    fn start(test: &str, pid: u32) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED {test}: to sample other processes takes root");
            return None;
        }
        let options = ProfileOptions {
            frequency: FREQUENCY,
            ring_bytes: 8 << 20,
            targets: vec![pid],
            tables_bytes: 16 << 20,
            ..ProfileOptions::default()
        };
        let mut profile = Profile::load(&options).expect("the kernel takes the object");
        let tables = profile.tables.take().expect("they were asked for");
        profile.start().expect("the kernel takes each CPU's event");
        Some(Self {
            profile,
            tables,
            _turn: turn,
        })
    }

    /// What comes from now on, at least `count` samples.
    fn samples(&mut self, count: usize) -> Vec<Sample> {
        self.profile.samples.drain(usize::MAX, |_| {});
        let begun = Instant::now();
        let mut samples = Vec::new();
        while samples.len() < count {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{} samples in a minute",
                samples.len()
            );
            thread::sleep(Duration::from_millis(50));
            self.profile.samples.drain(usize::MAX, |record| {
                samples.push(Sample::parse(record).expect("a record of the ABI"));
            });
        }
        samples
    }
}

/// Runs a shape, and holds each sample's frames against what it may be: names from the innermost on, where the frames of a library are one.
#[track_caller]
fn assert_shape(shape: &str, expected: &[&[&str]]) {
    let subject = Subject::start(shape);
    let Some(mut sampler) = Sampler::start(shape, subject.pid()) else {
        return;
    };
    let loaded = Loaded::of(subject.pid(), &mut sampler.tables);
    let samples = sampler.samples(SAMPLES);
    let names = Names::new(&subject);
    let mut wrong = Vec::new();
    for sample in &samples {
        let frames = names.of(sample.user_frames());
        if !sample.end.is_whole() || !expected.iter().any(|expected| frames == *expected) {
            wrong.push((sample.end, frames));
        }
    }
    eprintln!(
        "{shape}: {} of {} samples are as expected",
        samples.len() - wrong.len(),
        samples.len()
    );
    assert!(
        wrong.len() * 100 <= samples.len(),
        "{shape}: {} of {} samples: {:?}",
        wrong.len(),
        samples.len(),
        &wrong[..wrong.len().min(3)]
    );
    loaded.remove(&mut sampler.tables);
}

/// `level_20` up to `level_1`.
fn levels() -> Vec<String> {
    (1..=20)
        .rev()
        .map(|level| format!("level_{level}"))
        .collect()
}

/// The frames of the main thread behind these.
fn of_main<'a>(frames: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut frames: Vec<_> = frames.into_iter().collect();
    frames.extend(["main", "(library)", "_start"]);
    frames
}

#[test]
fn twenty_functions_without_frame_pointers() {
    let levels = levels();
    let expected = of_main(
        ["spin"]
            .into_iter()
            .chain(levels.iter().map(String::as_str)),
    );
    assert_shape("deep", &[&expected]);
}

#[test]
fn a_hundred_calls_of_itself() {
    let frames = ["spin"]
        .into_iter()
        .chain(["recurse"; 100])
        .chain(["recurse_100"]);
    assert_shape("recursive", &[&of_main(frames)]);
}

#[test]
fn a_signal_handler_on_another_stack() {
    assert_shape(
        "signal",
        &[&of_main(["spin", "handler", "(library)", "raiser"])],
    );
}

#[test]
fn an_instruction_that_faults_is_no_return_address() {
    let frames = ["spin", "handler", "(library)", "faulter", "faulting"];
    assert_shape("fault", &[&of_main(frames)]);
}

#[test]
fn stubs_of_the_linkage_table() {
    assert_shape(
        "stubs",
        &[
            &of_main(["stubs"]),
            &of_main(["(stub)", "stubs"]),
            &of_main(["(library)", "stubs"]),
        ],
    );
}

#[test]
fn a_library_that_calls_back() {
    assert_shape(
        "sorting",
        &[
            &of_main(["compare", "(library)", "sorting"]),
            &of_main(["(library)", "sorting"]),
            &of_main(["(stub)", "sorting"]),
            &of_main(["sorting"]),
        ],
    );
}

#[test]
fn a_thread_begins_in_the_library() {
    let levels = levels();
    let mut expected = vec!["spin"];
    expected.extend(levels.iter().map(String::as_str));
    expected.extend(["thread", "(library)"]);
    assert_shape("thread", &[&expected]);
}

#[test]
fn a_system_call_is_unwound_from_the_saved_registers() {
    assert_shape(
        "reading",
        &[&of_main(["(library)", "reading"]), &of_main(["reading"])],
    );
}

#[test]
fn the_kernels_code_in_user_space() {
    assert_shape(
        "telling",
        &[
            &of_main(["(vdso)", "(library)", "telling"]),
            &of_main(["(library)", "telling"]),
            &of_main(["(stub)", "telling"]),
            &of_main(["telling"]),
        ],
    );
}

#[test]
fn code_made_at_run_time_by_its_frame_pointer_and_then_tables_again() {
    assert_shape(
        "jitting",
        &[&of_main(["spin", "level_20", "(anonymous)", "jitting"])],
    );
}

#[test]
fn more_frames_than_a_record_holds() {
    let subject = Subject::start("too_deep");
    let Some(mut sampler) = Sampler::start("too_deep", subject.pid()) else {
        return;
    };
    Loaded::of(subject.pid(), &mut sampler.tables);
    for sample in sampler.samples(SAMPLES) {
        assert_eq!(sample.end, UserEnd::Limit);
        assert_eq!(sample.user_frames().len(), 127);
        assert_eq!(sample.stopped, None);
    }
}

#[test]
fn what_nobody_has_published_is_unwound_from_its_copy() {
    let subject = Subject::start("deep");
    let Some(mut sampler) = Sampler::start("copy", subject.pid()) else {
        return;
    };
    let samples = sampler.samples(SAMPLES);
    let counters = &sampler.profile.counters;
    assert_eq!(counters.get(ProfileCounter::SampleRingFull), 0);
    assert_eq!(counters.get(ProfileCounter::CopyRingFull), 0);
    let loaded = Loaded::of(subject.pid(), &mut sampler.tables);
    let names = Names::new(&subject);
    let levels = levels();
    let expected = of_main(
        ["spin"]
            .into_iter()
            .chain(levels.iter().map(String::as_str)),
    );
    for sample in &samples {
        assert_eq!(sample.end, UserEnd::UnknownProcess);
        assert_eq!(sample.user_frames().len(), 1);
        assert_ne!(sample.space, 0);
        let stopped = sample.stopped.as_ref().expect("the ring has room");
        assert_eq!(stopped.ip, sample.user_frames()[0]);
        assert!(stopped.is_exact);
        let frames = copied::unwind(stopped, &loaded, &sampler.tables);
        assert_eq!(names.of(&frames), expected);
    }
}

/// As of a program that has just mapped a library: the first ones in a row are copied whatever their times are, then one in a tenth of a second.
#[test]
fn addresses_in_no_mapping_are_copied_at_first_and_then_at_times() {
    let subject = Subject::start("deep");
    let Some(mut sampler) = Sampler::start("copies", subject.pid()) else {
        return;
    };
    // All may have come before the ring is read for the first time, on a machine that is busy.
    let first = (0..10).find_map(|_| {
        let published = sampler.tables.publish(subject.pid(), 0, &[]);
        published.expect("room for a process");
        let samples = sampler.samples(SAMPLES);
        assert!(
            samples
                .iter()
                .all(|sample| sample.end == UserEnd::NoMapping)
        );
        let at_once = samples.iter().take_while(|sample| sample.stopped.is_some());
        let at_once = at_once.count();
        assert!(at_once <= 17, "{at_once}");
        (at_once >= 4).then_some((samples, at_once))
    });
    let (samples, at_once) = first.expect("copies of the first ones in a row");
    let copied = samples.iter().filter(|sample| sample.stopped.is_some());
    let tenths = (samples[samples.len() - 1].at_ns - samples[0].at_ns) / 100_000_000;
    let most = at_once as u64 + tenths + 1;
    assert!(
        copied.count() as u64 <= most,
        "in {tenths} tenths of a second"
    );
    let limited = sampler.profile.counters.get(ProfileCounter::CopyLimited);
    assert!(limited > 0, "each that is not copied is counted");
}
