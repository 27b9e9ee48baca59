use std::process::{Command, Stdio};

use super::*;
use crate::probes::mappings::{Code, Mapped};

fn mapped(pid: u32, address: u64, inode: u64) -> Event<'static> {
    Event::Mapped(Mapped {
        pid,
        tid: pid,
        address,
        length: 0x3000,
        file_offset: 0x1000,
        device: (8, 1),
        inode,
        generation: Some(1),
        path: b"/lib/a.so",
    })
}

fn code(pid: u32, address: u64, length: u64) -> Event<'static> {
    Event::Code(Code {
        pid,
        address,
        length,
        is_vdso: false,
    })
}

fn exec(pid: u32) -> Event<'static> {
    Event::Exec { pid, comm: b"a" }
}

fn spaces(limit: usize) -> Spaces {
    Spaces::new(limit, Arc::default())
}

/// Numbers that no process has: the kernel's limit is 4,194,304.
const P: u32 = 4_194_305;
const Q: u32 = P + 1;

/// Where regions are, and from where in their files.
fn seen(space: &Space) -> Vec<(u64, u64, u64)> {
    let regions = space.regions().iter();
    regions.map(|r| (r.start, r.end, r.offset)).collect()
}

#[test]
fn newer_mappings_cover_older_ones() {
    let mut spaces = spaces(1 << 20);
    assert_eq!(spaces.apply(1, &exec(P)), Change::Replaced(P));
    assert_eq!(spaces.apply(2, &mapped(P, 0x1_0000, 1)), Change::Mapped(P));
    // In the middle of it, then over its beginning and what is before.
    spaces.apply(3, &code(P, 0x1_1000, 0x1000));
    let space = spaces.of_process(P, P, 0, 4).expect("known");
    assert_eq!(
        seen(&space),
        [
            (0x1_0000, 0x1_1000, 0x1000),
            (0x1_1000, 0x1_2000, 0),
            (0x1_2000, 0x1_3000, 0x3000)
        ]
    );
    spaces.apply(5, &mapped(P, 0xe000, 2));
    let space = spaces.of_process(P, P, 0, 6).expect("known");
    assert_eq!(
        seen(&space),
        [
            (0xe000, 0x1_1000, 0x1000),
            (0x1_1000, 0x1_2000, 0),
            (0x1_2000, 0x1_3000, 0x3000)
        ]
    );
    assert_eq!(
        space.find(0x1_2fff).map(|r| r.offset_of(0x1_2fff)),
        Some(0x3fff)
    );
    assert!(space.find(0x1_3000).is_none() && space.find(0xdfff).is_none());
}

#[test]
fn a_compilers_memory_is_one_region_where_it_lies_side_by_side() {
    let mut spaces = spaces(1 << 20);
    spaces.apply(1, &exec(P));
    for page in [3_u64, 1, 4, 2, 3] {
        spaces.apply(2, &code(P, page << 12, 1 << 12));
    }
    let space = spaces.of_process(P, P, 0, 3).expect("known");
    assert_eq!(seen(&space), [(0x1000, 0x5000, 0)]);
}

#[test]
fn a_fork_copies_and_an_exec_clears() {
    let mut spaces = spaces(1 << 20);
    spaces.apply(1, &exec(P));
    spaces.apply(2, &mapped(P, 0x1000, 1));
    assert_eq!(
        spaces.apply(3, &Event::Forked { pid: Q, parent: P }),
        Change::Replaced(Q)
    );
    spaces.apply(4, &mapped(P, 0x9000, 1));
    let child = spaces.of_process(Q, Q, 0, 5).expect("known");
    assert_eq!(
        seen(&child).len(),
        1,
        "what the parent maps later is its own"
    );
    spaces.apply(6, &exec(Q));
    assert!(seen(&spaces.of_process(Q, Q, 0, 7).expect("known")).is_empty());
    assert_eq!(
        seen(&spaces.of_process(P, P, 0, 7).expect("known")).len(),
        2
    );
}

#[test]
fn a_process_that_ended_is_kept_for_a_moment() {
    let mut spaces = spaces(1 << 20);
    spaces.apply(1, &exec(P));
    spaces.apply(1, &mapped(P, 0x1000, 1));
    assert_eq!(spaces.apply(2, &Event::Exited { pid: P }), Change::Ended(P));
    spaces.tidy(3);
    assert_eq!(seen(&spaces.of_process(P, P, 0, 3).expect("kept")).len(), 1);
    // Another one has its number.
    spaces.apply(4, &exec(Q));
    spaces.apply(5, &Event::Forked { pid: P, parent: Q });
    assert!(seen(&spaces.of_process(P, P, 0, 6).expect("new")).is_empty());
    spaces.apply(7, &Event::Exited { pid: P });
    spaces.tidy(8 + KEPT_NS);
    assert!(spaces.of_process(P, P, 0, 8).is_none());
    assert_eq!(spaces.counts.of(Lookup::ProcessUnreadable), 1);
}

#[test]
fn a_file_whose_inode_number_is_used_again_is_another_one() {
    let mut files = KnownFiles::default();
    let event = |generation| match mapped(P, 0, 7) {
        Event::Mapped(mapped) => Mapped {
            generation,
            ..mapped
        },
        _ => unreachable!("it is one"),
    };
    let first = files.mapped(&event(Some(1)));
    assert!(Arc::ptr_eq(&first, &files.mapped(&event(None))));
    let second = files.mapped(&event(Some(2)));
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &files.mapped(&event(Some(2)))));
}

#[test]
fn this_process_is_read_and_after_a_loss_again() {
    let own = std::process::id();
    let mut spaces = spaces(1 << 20);
    let space = spaces.of_process(own, own, 0, 10).expect("it lives");
    let address = exec as fn(u32) -> Event<'static> as usize as u64;
    let region = space.find(address).expect("code is mapped");
    assert!(matches!(region.backing, Backing::File(_)), "{region:?}");
    assert!(space.regions().iter().any(|r| r.backing == Backing::Vdso));
    assert_eq!(
        spaces.apply(5, &exec(own)),
        Change::Nothing,
        "before it was read"
    );
    assert!(
        spaces.look_again(own, own, 10 + REREAD_NS / 2).is_none(),
        "too soon"
    );
    assert!(spaces.look_again(own, own, 10 + REREAD_NS).is_some());

    let read = spaces.counts.of(Lookup::ProcessRead);
    spaces.of_process(own, own, 0, 11 + REREAD_NS);
    assert_eq!(spaces.counts.of(Lookup::ProcessRead), read);
    assert_eq!(spaces.apply(12 + REREAD_NS, &Event::Lost(1)), Change::Lost);
    spaces.of_process(own, own, 0, 13 + REREAD_NS);
    assert_eq!(spaces.counts.of(Lookup::ProcessRead), read + 1);
}

#[test]
fn a_child_of_a_process_that_nobody_told_of_is_known_when_it_is_gone() {
    let mut child = Command::new("true")
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts");
    child.wait().expect("it ends");
    let mut spaces = spaces(1 << 20);
    let parent = std::process::id();
    let pid = child.id();
    spaces.apply(1, &Event::Forked { pid, parent });
    spaces.apply(2, &Event::Exited { pid });
    assert!(!seen(&spaces.of_process(pid, pid, 0, 3).expect("a copy")).is_empty());
}

/// A thousand starts a second, for a minute: a shell forks, the child runs a program of six files, and ends.
#[test]
fn a_storm_of_processes_leaves_memory_flat() {
    let mut spaces = spaces(1 << 20);
    let shell = P;
    spaces.apply(0, &exec(shell));
    let mut most = 0;
    let mut after_a_second = 0;
    for number in 0..60_000_u64 {
        let at_ns = number * 1_000_000;
        let pid = Q + number as u32 % 30_000;
        spaces.apply(at_ns, &Event::Forked { pid, parent: shell });
        spaces.apply(at_ns + 1, &exec(pid));
        for file in 0..6 {
            spaces.apply(at_ns + 2, &mapped(pid, 0x1_0000 * (file + 1), file));
        }
        // Each has a program of its own, as a compiler's output is.
        spaces.apply(at_ns + 3, &mapped(pid, 0x40_0000, 100 + number));
        spaces.apply(at_ns + 4, &Event::Exited { pid });
        if number % 100 == 99 {
            spaces.tidy(at_ns);
        }
        if number % 1000 == 999 {
            most = most.max(spaces.bytes());
            if number == 2999 {
                after_a_second = spaces.bytes();
            }
        }
    }
    assert!(
        most <= after_a_second + after_a_second / 10,
        "{most} {after_a_second}"
    );
    assert!(most < 1 << 20, "{most}");
    assert!(
        spaces.files.len() < 2 * MAX_ENDED + 100,
        "{}",
        spaces.files.len()
    );
}

#[test]
fn those_that_nobody_asks_for_are_forgotten_first() {
    let mut spaces = spaces(20_000);
    for number in 0..100 {
        spaces.apply(u64::from(number), &exec(P + number));
        for address in 1..10 {
            spaces.apply(
                u64::from(number),
                &mapped(P + number, address << 16, address),
            );
        }
    }
    spaces.of_process(P, P, 0, 1000);
    spaces.tidy(1000);
    assert!(spaces.bytes() <= 20_000);
    assert!(spaces.living.contains_key(&P) && !spaces.living.contains_key(&(P + 1)));
    assert!(spaces.counts.of(Lookup::ProcessForgotten) > 0);
}
