use super::*;
use crate::profile::record::tests::record;

fn process(pid: u32) -> Arc<Process> {
    Arc::new(Process {
        pid,
        start_ticks: 0,
        service: "test".into(),
        executable: None,
        comm: String::new(),
        container: None,
    })
}

#[test]
fn code_that_was_mapped_later_is_found_and_rereads_are_bounded() {
    let pid = std::process::id();
    let mut objects = Objects::new(64);
    let mut seen = Seen::new(pid, &mut objects, process);
    let address = process as fn(u32) -> Arc<Process> as usize as u64;
    let all = std::mem::take(&mut seen.mapped);
    assert!(!all.is_empty());

    let found = seen.map(pid, &[address], &mut objects);
    assert!(
        found[0].is_some(),
        "read again because code ran outside of what was known"
    );
    for _ in 0..100 {
        assert_eq!(*seen.map(pid, &[1], &mut objects), [None]);
    }
    assert_eq!(seen.rereads, REREADS);
    assert_eq!(seen.mapped.len(), all.len(), "nothing is kept twice");
}

#[test]
fn garbage_above_the_leaf_makes_nothing_be_read_again() {
    let pid = std::process::id();
    let mut objects = Objects::new(64);
    let mut seen = Seen::new(pid, &mut objects, process);
    let leaf = process as fn(u32) -> Arc<Process> as usize as u64;
    let found = seen.map(pid, &[leaf, 0x10, u64::MAX], &mut objects);
    assert!(found[0].is_some() && found[1].is_none() && found[2].is_none());
    assert_eq!(seen.rereads, 0);
}

#[test]
fn a_full_window_still_counts_the_stacks_that_it_has() {
    let mut objects = Objects::new(64);
    let mut stacks = Stacks::new(1);
    let mut add = |address| {
        let sample = Sample::parse(&record(4_194_305, "a", 0, &[], &[address])).expect("whole");
        stacks.add(sample, &mut objects, process)
    };
    assert_eq!(add(1), Ok(()));
    assert_eq!(add(2), Err(Full));
    assert_eq!(add(1), Ok(()));
}
