use std::{arch::asm, ffi::c_void, hint::black_box};

use super::*;
use crate::profile::{record::Stopped, tables::tests::TestMaps};
use fathom_abi::{
    sample::{MAX_COPY, REGISTERS},
    unwind::{Segment, SegmentKind},
};

/// The kernel's name of this process's address space, as these tests have it.
const ID: u64 = 0xffff_8880_1234_0000;
const LONG: Duration = Duration::from_secs(60);

/// A sample of this thread as the kernel's program makes it for a process that it does not know, and the addresses that the C library's own
/// unwinder finds (`backtrace`(3), libgcc) from the same function.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn sample_here() -> (Sample, Vec<u64>) {
    let (ip, sp, bp): (u64, u64, u64);
    // SAFETY: reads registers, and nothing else.
    unsafe {
        asm!(
            "lea {ip}, [rip]",
            "mov {sp}, rsp",
            "mov {bp}, rbp",
            ip = out(reg) ip,
            sp = out(reg) sp,
            bp = out(reg) bp,
            options(nomem, nostack)
        );
    }
    let mut registers = [0; REGISTERS];
    (registers[6], registers[7]) = (bp, sp);
    let space = Spaces::new(1 << 20, Arc::default())
        .of_process(std::process::id(), std::process::id(), 0, 0)
        .expect("it lives");
    assert!(space.find(ip).is_some());
    let stack = copy_of_stack(sp);
    let mut found = [std::ptr::null_mut::<c_void>(); 128];
    // SAFETY: there is room for 128 addresses.
    let count = unsafe { libc::backtrace(found.as_mut_ptr(), 128) };
    let found = &found[..usize::try_from(count).expect("a number")];
    let found = found.iter().map(|address| address.addr() as u64).collect();
    let sample = Sample {
        at_ns: 1000,
        exchange: None,
        tgid: std::process::id(),
        tid: std::process::id(),
        comm: [0; 16],
        kernel_frames: 1,
        frames: vec![0xffff_ffff_8100_0000, ip].into(),
        space: ID,
        end: UserEnd::UnknownProcess,
        stopped: Some(Box::new(Stopped {
            ip,
            is_exact: true,
            known: 1 << 6 | 1 << 7,
            registers,
            stack,
        })),
    };
    (sample, found)
}

/// The stack from an address on, as far as it is mapped and a record has room.
fn copy_of_stack(from: u64) -> Box<[u8]> {
    let mapped = fathom_symbolizer::mappings(std::process::id()).expect("own mappings");
    let stack = mapped.iter().find(|mapping| mapping.contains(from));
    let end = stack.expect("a stack").end.min(from + MAX_COPY as u64);
    let length = usize::try_from(end - from).expect("short");
    // SAFETY: the stack is mapped and readable up to there, and it is this thread's own.
    unsafe { std::slice::from_raw_parts(from as *const u8, length) }.into()
}

/// So many calls deeper.
#[inline(never)]
fn deeper(calls: usize) -> (Sample, Vec<u64>) {
    if calls == 0 {
        return sample_here();
    }
    let found = deeper(black_box(calls - 1));
    black_box(found)
}

fn on_a_thread(calls: usize) -> (Sample, Vec<u64>) {
    std::thread::spawn(move || deeper(calls))
        .join()
        .expect("it ends")
}

fn backtraces(maps: &TestMaps, waiting: usize) -> Backtraces {
    let counts = Arc::new(LookupCounts::default());
    let spaces = Spaces::new(1 << 20, Arc::clone(&counts));
    let files = Files::new(Arc::default(), 64, Arc::clone(&counts));
    let tables = maps.tables(1 << 28);
    Backtraces::new(spaces, files, Some(tables), waiting, counts)
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_stack_is_what_the_c_librarys_own_unwinder_finds() {
    let maps = TestMaps::default();
    let mut backtraces = backtraces(&maps, 1 << 20);
    for calls in [0, 20] {
        let (sample, found) = on_a_thread(calls);
        let mut ready = Vec::new();
        backtraces.sample(sample, &mut ready);
        backtraces.finish(2000, LONG, &mut ready);
        let backtrace = ready.pop().expect("it came");
        assert_eq!(backtrace.quality, StackQuality::Whole);
        let frames = backtrace.sample.user_frames();
        // It was called a little behind the instruction that was sampled.
        assert!(found[0] - frames[0] < 0x1000);
        assert_eq!(frames[1..], found[1..frames.len()]);
        assert!(frames.len() > calls + 5);
        // The C library may count what is behind the outermost frame.
        assert!(found.len() - frames.len() <= 1, "{found:x?} {frames:x?}");
        assert_eq!(backtrace.sample.kernel_frames, 1);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_sampled_process_is_published_with_what_is_known_of_it() {
    let maps = TestMaps::default();
    let mut backtraces = backtraces(&maps, 1 << 20);
    let mut ready = Vec::new();
    let (sample, _) = on_a_thread(3);
    let (pid, leaf) = (sample.tgid, sample.frames[1]);
    backtraces.sample(sample, &mut ready);
    assert_eq!(
        (ready.len(), backtraces.waiting()),
        (0, 1),
        "it waits for a table"
    );
    let kind_at = |address| {
        let maps = maps.lock();
        let (id, segments) = maps.published.get(&pid).expect("published");
        assert_eq!(*id, ID);
        let segment = segments
            .iter()
            .find(|segment| (segment.start..segment.end).contains(&address));
        segment.expect("mapped").kind
    };
    backtraces.finish(2000, LONG, &mut ready);
    backtraces.tick(2000, &mut ready);
    assert_eq!(ready.len(), 1);
    assert_eq!(kind_at(leaf), SegmentKind::TABLE);
    let is_wanted = |segment: &Segment| segment.kind == SegmentKind::WANTED;
    assert!(
        maps.lock().published[&pid].1.iter().any(is_wanted),
        "what no stack led through has no table"
    );

    // Nothing changed: nothing is published again.
    maps.lock().published.get_mut(&pid).expect("there").0 = 7;
    backtraces.tick(3000, &mut ready);
    assert_eq!(maps.lock().published[&pid].0, 7);
    // It is gone.
    backtraces.event(4000, &Event::Exited { pid });
    assert!(maps.lock().published.is_empty());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn an_expected_process_is_published_with_its_tables_before_any_sample() {
    let maps = TestMaps::default();
    let mut backtraces = backtraces(&maps, 1 << 20);
    let mut ready = Vec::new();
    let pid = std::process::id();
    backtraces.expect(pid, 1000);
    assert!(backtraces.is_making_tables());
    let begun = std::time::Instant::now();
    while backtraces.is_making_tables() && begun.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(5));
        backtraces.tick(2000, &mut ready);
    }
    let id = |maps: &TestMaps| maps.lock().published.get(&pid).expect("published").0;
    assert_eq!(id(&maps), 0, "whatever its address space is called");
    let (mut sample, _) = sample_here();
    (sample.end, sample.stopped) = (UserEnd::Root, None);
    backtraces.sample(sample, &mut ready);
    backtraces.tick(3000, &mut ready);
    assert_eq!(id(&maps), ID, "until it is known: an exec changes it");
    let maps = maps.lock();
    let (_, segments) = maps.published.get(&pid).expect("published");
    let own = an_expected_process_is_published_with_its_tables_before_any_sample as fn();
    let of = |address| {
        segments
            .iter()
            .find(|segment| (segment.start..segment.end).contains(&address))
    };
    for address in [own as usize, libc::getpid as *const () as usize] {
        let segment = of(address as u64).expect("mapped");
        assert_eq!(segment.kind, SegmentKind::TABLE);
    }
    assert!(
        segments
            .iter()
            .all(|segment| segment.kind != SegmentKind::WANTED)
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_sample_that_has_no_room_to_wait_ends_where_the_program_stopped() {
    let maps = TestMaps::default();
    let mut backtraces = backtraces(&maps, 100);
    let mut ready = Vec::new();
    let (sample, _) = on_a_thread(3);
    let frames = sample.frames.clone();
    backtraces.sample(sample, &mut ready);
    let backtrace = ready.pop().expect("it does not wait");
    assert_eq!(backtrace.quality, StackQuality::NotCopied);
    assert_eq!(backtrace.sample.frames, frames);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn each_sample_comes_out_once_whatever_is_known() {
    let maps = TestMaps::default();
    let mut backtraces = backtraces(&maps, 1 << 20);
    let mut ready = Vec::new();
    let (whole, _) = on_a_thread(1);
    let with = |change: fn(&mut Sample)| {
        let mut sample = whole.clone();
        change(&mut sample);
        sample
    };
    let samples = [
        (with(|_| {}), StackQuality::Whole),
        (
            with(|sample| sample.stopped = None),
            StackQuality::NotCopied,
        ),
        (
            with(|sample| sample.tgid = 4_194_305),
            StackQuality::UnknownProcess,
        ),
        (
            with(|sample| sample.end = UserEnd::KernelThread),
            StackQuality::KernelOnly,
        ),
        (
            // In the kernel, and its only address is in no mapping: it is executing another program.
            with(|sample| {
                sample.end = UserEnd::NoMapping;
                sample.frames = vec![0xffff_ffff_8100_0000, 16].into();
                sample.stopped = None;
            }),
            StackQuality::KernelOnly,
        ),
        (
            with(|sample| {
                sample.end = UserEnd::Root;
                sample.stopped = None;
            }),
            StackQuality::Whole,
        ),
        (
            with(|sample| {
                let stopped = sample.stopped.as_mut().expect("a copy");
                stopped.stack = stopped.stack[..8].into();
            }),
            StackQuality::CopyEnds,
        ),
    ];
    for (sample, quality) in samples {
        backtraces.sample(sample, &mut ready);
        backtraces.finish(2000, LONG, &mut ready);
        let came: Vec<_> = ready.drain(..).map(|backtrace| backtrace.quality).collect();
        assert_eq!(came, [quality]);
    }
}
