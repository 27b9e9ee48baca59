use super::*;
use crate::{
    probes::mappings::{Code, Event},
    profile::{
        record::{Sample, tests::record},
        spaces::Spaces,
    },
};

fn process(sampled: Sampled) -> Arc<Process> {
    Arc::new(Process {
        pid: sampled.tgid,
        start_ticks: 0,
        service: "test".into(),
        executable: None,
        comm: String::new(),
        container: None,
    })
}

fn backtrace(pid: u32, frames: &[u64], space: Option<Arc<Space>>) -> Backtrace {
    Backtrace {
        sample: Sample::parse(&record(pid, "a", 0, &[], frames)).expect("whole"),
        space,
        quality: StackQuality::Whole,
    }
}

fn not_opened(_: &Region) -> Result<Module, Error> {
    Err(Error::NotRegular {
        file: String::new(),
    })
}

#[test]
fn each_mapping_that_frames_lie_in_is_opened_once_and_no_other() {
    let own = std::process::id();
    let space = Spaces::new(1 << 20, Arc::default()).of_process(own, own, 0, 0);
    let here = process as fn(Sampled) -> Arc<Process> as usize as u64;
    let there = libc::getpid as unsafe extern "C" fn() -> i32 as usize as u64;
    let mut stacks = Stacks::new(1 << 20);
    let mut opened = 0;
    for leaf in [here, here + 1, here + 2] {
        let frames = [leaf, there + 1, 16];
        let open = |region: &Region| {
            opened += 1;
            not_opened(region)
        };
        stacks
            .add(backtrace(own, &frames, space.clone()), open, process)
            .expect("room");
    }
    assert_eq!(opened, 2);
    let seen = stacks.take().remove(0);
    assert_eq!((seen.mapped.len(), seen.stacks.len()), (2, 3));
    for counted in seen.stacks.values() {
        let mapped: Vec<_> = counted.mapped().collect();
        assert!(mapped[0].is_some() && mapped[1].is_some());
        assert_ne!(mapped[0], mapped[1]);
        assert_eq!(mapped[2], None, "there is no code");
    }
}

#[test]
fn a_process_that_executes_another_program_is_another_one() {
    let mut stacks = Stacks::new(1 << 20);
    let mut asked = Vec::new();
    // The last one is ending, and has no address space any more.
    for space in [7, 7, 8, 0] {
        let mut backtrace = backtrace(4_194_305, &[1], None);
        backtrace.sample.space = space;
        let identify = |sampled: Sampled| {
            asked.push(sampled.is_another);
            process(sampled)
        };
        stacks.add(backtrace, not_opened, identify).expect("room");
    }
    assert_eq!(asked, [false, true]);
    let counts = |seen: &Seen| {
        seen.stacks
            .values()
            .map(|counted| counted.count)
            .sum::<u64>()
    };
    let seen = stacks.take();
    assert_eq!(seen.iter().map(counts).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn a_full_window_still_counts_the_stacks_that_it_has() {
    let mut stacks = Stacks::new(1);
    let mut add = |address| stacks.add(backtrace(4_194_305, &[address], None), not_opened, process);
    let added = Ok(Added { compiled: None });
    assert_eq!(add(1), added);
    assert_eq!(add(2), Err(Full));
    assert_eq!(add(1), added);
}

#[test]
fn a_window_that_is_being_named_leaves_the_next_one_less_room() {
    let mut stacks = Stacks::new(1);
    let add = |stacks: &mut Stacks| {
        let backtrace = backtrace(4_194_305, &[1], None);
        stacks.add(backtrace, not_opened, process)
    };
    add(&mut stacks).expect("room");
    let before = stacks.take();
    assert_eq!(add(&mut stacks), Err(Full));
    drop(before);
    add(&mut stacks).expect("room again");
}

#[test]
fn the_first_code_without_a_file_is_told_once() {
    let pid = 4_194_305;
    let mut spaces = Spaces::new(1 << 20, Arc::default());
    let code = Event::Code(Code {
        pid,
        address: 0x1000,
        length: 0x1000,
        is_vdso: false,
    });
    spaces.apply(1, &Event::Exec { pid, comm: b"a" });
    spaces.apply(2, &code);
    let space = spaces.of_process(pid, pid, 0, 3).expect("known");
    let mut stacks = Stacks::new(1 << 20);
    let mut add = |frames: &[u64]| {
        let backtrace = backtrace(pid, frames, Some(Arc::clone(&space)));
        stacks
            .add(backtrace, not_opened, process)
            .expect("room")
            .compiled
    };
    assert_eq!(add(&[0x9000]), None, "there is no code");
    assert_eq!(add(&[0x9000, 0x1101]), Some(0x1100));
    assert_eq!(add(&[0x1200]), None, "it was told before");
}

/// What a storm of processes takes that are sampled once each: what a command that samples for long is bounded by.
#[test]
fn a_process_that_is_sampled_once_takes_few_kibibytes() {
    const LIMIT: usize = 4 << 20;
    let own = std::process::id();
    let space = Spaces::new(1 << 20, Arc::default()).of_process(own, own, 0, 0);
    let here = process as fn(Sampled) -> Arc<Process> as usize as u64;
    let there = libc::getpid as unsafe extern "C" fn() -> i32 as usize as u64;
    // As deep as those of programs that are being started.
    let kernel = [0xffff_ffff_8100_0000_u64; 20];
    let user = [here, there, here, there, here, there, here, there];
    let mut stacks = Stacks::new(LIMIT);
    let mut fit = 0;
    loop {
        let backtrace = Backtrace {
            sample: Sample::parse(&record(1_000 + fit, "a", 0, &kernel, &user)).expect("whole"),
            space: space.clone(),
            quality: StackQuality::Whole,
        };
        if stacks.add(backtrace, not_opened, process).is_err() {
            break;
        }
        fit += 1;
    }
    let each = LIMIT / fit as usize;
    eprintln!("{each} bytes each");
    assert!((1024..4096).contains(&each), "{each} bytes");
}
