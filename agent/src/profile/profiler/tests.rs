use super::*;
use crate::profile::{Profile, StackQuality, record::tests::record};

fn unknown(sampled: Sampled) -> Arc<Process> {
    Arc::new(Process {
        pid: sampled.tgid,
        start_ticks: 0,
        service: "test".into(),
        executable: None,
        comm: String::new(),
        container: None,
    })
}

fn profiler(limits: Limits) -> Profiler {
    Profiler::new(10_000_000, 100, limits, Gear::Names, Box::new(unknown))
}

/// No process has this number: the kernel's limit is 4,194,304.
const GONE: u32 = 4_194_305;

/// Takes one record of the ring buffer.
fn take(profiler: &mut Profiler, record: &[u8]) {
    match Sample::parse(record) {
        Ok(sample) => profiler.sample(sample),
        Err(_) => profiler.malformed(),
    }
}

fn total(profiles: &[Profile]) -> u64 {
    let stacks = profiles.iter().flat_map(|profile| &profile.stacks);
    stacks.map(|stack| stack.count).sum()
}

#[test]
fn equal_stacks_are_counted_and_others_kept_apart() {
    let mut profiler = profiler(Limits::default());
    for (comm, message, kernel) in [
        ("a", 0, [1]),
        ("a", 0, [1]),
        ("b", 0, [1]),
        ("a", 3, [1]),
        ("a", 0, [2]),
    ] {
        take(&mut profiler, &record(GONE, comm, message, &kernel, &[]));
    }
    let profiles = profiler.flush(400);
    assert_eq!(profiles.len(), 1);
    let profile = &profiles[0];
    assert_eq!((profile.start_ns, profile.duration_ns), (100, 300));
    let counts: Vec<_> = profile.stacks.iter().map(|stack| stack.count).collect();
    assert_eq!(counts, [2, 1, 1, 1]);
    assert_eq!(profile.quality.samples, 5);
    assert_eq!(profile.quality.in_kernel, 5);
    assert!(profiler.flush(500).is_empty(), "a window starts empty");
}

#[test]
fn each_record_has_one_outcome() {
    let mut profiler = profiler(Limits {
        stacks: 2000,
        ..Limits::default()
    });
    for address in 0..1000 {
        take(&mut profiler, &record(GONE, "a", 0, &[], &[address]));
    }
    take(&mut profiler, &[0; 5]);
    let counts = profiler.counts();
    assert!(counts.of(Outcome::StacksFull) > 0 && counts.of(Outcome::Delivered) > 0);
    assert_eq!(counts.of(Outcome::Malformed), 1);
    assert_eq!(counts.all(), 1001);
    assert_eq!(total(&profiler.flush(1)), counts.of(Outcome::Delivered));
    take(&mut profiler, &record(GONE, "a", 0, &[], &[1]));
    assert_eq!(total(&profiler.flush(2)), 1, "there is room again");
}

#[inline(never)]
fn a_function_of_this_test() -> u64 {
    std::hint::black_box(7)
}

#[test]
fn the_frames_of_a_living_process_have_names() {
    let mut profiler = profiler(Limits {
        symbols: 1 << 30,
        ..Limits::default()
    });
    let address = a_function_of_this_test as fn() -> u64 as usize as u64;
    // The second frame is a return address: one before it lies in the function, the address itself may not.
    let frames = [address, address + 1];
    take(
        &mut profiler,
        &record(std::process::id(), "self", 0, &[], &frames),
    );
    let profile = profiler.flush(1).remove(0);
    let stack = &profile.stacks[0];
    for (&location, expected) in stack.locations.iter().zip([address, address]) {
        let location = &profile.locations[location as usize];
        assert_eq!(location.address, expected);
        let function = &profile.functions[location.lines[0].function as usize];
        assert!(
            function.name.ends_with("a_function_of_this_test"),
            "{function:?}"
        );
        let mapping = &profile.mappings[location.mapping.expect("is mapped") as usize];
        assert_eq!(
            *mapping.name,
            *std::env::current_exe().expect("a path").to_string_lossy()
        );
        assert!(mapping.known.functions && mapping.start <= address && address < mapping.end);
    }
    assert_eq!(profile.quality.of(StackQuality::FramePointers), 1);
    assert_eq!(profile.quality.unnamed, 0);
}

#[test]
fn a_stack_ends_where_it_leaves_the_code() {
    let mut profiler = profiler(Limits::default());
    let leaf = a_function_of_this_test as fn() -> u64 as usize as u64;
    // What is beyond the break is chance, and differs each time; code that it happens to hit is no caller.
    for garbage in [[16, leaf + 1], [32, 48]] {
        let frames = [leaf, garbage[0], garbage[1]];
        take(
            &mut profiler,
            &record(std::process::id(), "a", 0, &[], &frames),
        );
    }
    let profile = profiler.flush(1).remove(0);
    assert_eq!(profile.stacks.len(), 1);
    let broken = profile.quality.of(StackQuality::NoMapping);
    assert_eq!((profile.stacks[0].count, broken), (2, 2));
    let frames = profile.stacks[0].locations.iter();
    let addresses: Vec<_> = frames
        .map(|&frame| profile.locations[frame as usize].address)
        .collect();
    assert_eq!(addresses, [leaf, 0]);
}

/// A sleeping child is sampled once, killed, and named afterwards.
#[test]
fn a_process_that_ended_keeps_its_names() {
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("sleep starts");
    let pid = child.id();
    // Until it has become sleep, it is a copy of this test.
    let executable = loop {
        let mapped = fathom_symbolizer::mappings(pid).expect("it lives");
        let found = mapped
            .into_iter()
            .find(|mapping| mapping.executable && mapping.name().ends_with("/libc.so.6"));
        match found {
            Some(mapping) => break mapping,
            None => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    let file = fathom_symbolizer::open_mapped(pid, &executable).expect("opens");
    let symbolizer = fathom_symbolizer::Symbolizer::default();
    let libc = symbolizer.open_file(file, "libc").expect("parses");
    let known = (executable.start..executable.end)
        .step_by(64)
        .find_map(|address| {
            let at = libc.address_of(executable.file_offset(address))?;
            let frames = symbolizer.symbolize(&libc, fathom_symbolizer::Gear::Names, at);
            let frames = frames.expect("readable");
            Some((
                address,
                frames.outermost()?.name.as_ref()?.linkage().to_owned(),
            ))
        });
    let (address, name) = known.expect("libc has functions");

    let mut profiler = profiler(Limits::default());
    take(&mut profiler, &record(pid, "sleep", 0, &[], &[address]));
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    let profile = profiler.flush(1).remove(0);
    assert_eq!(*profile.functions[0].system_name, *name);
}

/// A sample of a task in the kernel, on its way to another program: the address that it has is the former one's.
fn between_programs() -> Sample {
    let record = record(std::process::id(), "true", 0, &[1], &[2]);
    let mut sample = Sample::parse(&record).unwrap();
    sample.end = fathom_abi::sample::UserEnd::NoMapping;
    sample
}

#[test]
fn only_the_users_frames_are_kept_and_what_has_none_is_counted() {
    let mut profiler = profiler(Limits::default());
    profiler.keep_frames(Frames::User);
    let user = a_function_of_this_test as *const () as u64;
    let own = std::process::id();
    take(&mut profiler, &record(own, "a", 0, &[1], &[user]));
    take(&mut profiler, &record(own, "a", 0, &[1], &[]));
    profiler.sample(between_programs());
    assert_eq!(profiler.frameless(), 2);
    let profiles = profiler.flush(400);
    assert_eq!(total(&profiles), 1);
    assert_eq!(profiles[0].quality.in_user, 1);
    let [location] = &profiles[0].locations[..] else {
        panic!("{:?}", profiles[0].locations);
    };
    assert_eq!(location.address, user);
}

#[test]
fn only_the_kernels_frames_are_kept_and_what_has_none_is_counted() {
    let mut profiler = profiler(Limits::default());
    profiler.keep_frames(Frames::Kernel);
    take(&mut profiler, &record(GONE, "a", 0, &[1, 2], &[3]));
    take(&mut profiler, &record(GONE, "a", 0, &[], &[3]));
    profiler.sample(between_programs());
    assert_eq!(profiler.frameless(), 1);
    let profiles = profiler.flush(400);
    assert_eq!(total(&profiles), 2);
    let quality = profiles.iter().map(|profile| profile.quality);
    let kernel_only = quality.map(|quality| quality.of(StackQuality::KernelOnly));
    assert_eq!(kernel_only.sum::<u64>(), 2, "nothing is missing");
}
