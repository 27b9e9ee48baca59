use super::*;
use crate::export::testing::profile;

fn written(inlined: Inlined) -> String {
    let mut out = Vec::new();
    write(&[profile()], inlined, &mut out).expect("a Vec takes all");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_line_runs_from_the_thread_to_the_leaf() {
    assert_eq!(
        written(Inlined::Plain),
        "shop;[unknown];[shop];[kernel]_[k] 1\nworker;main;a:b?;copy;vfs_read_[k] 3\n"
    );
}

#[test]
fn inlined_and_compiled_functions_are_marked() {
    assert!(written(Inlined::Marked).contains("worker;main;a:b?;copy_[i];vfs_read_[k] 3"));
    let mut compiled = profile();
    compiled.locations[0].origin = Origin::Jit;
    let lines = fold(&[compiled], Inlined::Plain);
    assert!(lines.contains_key("worker;main_[j];a:b?;copy;vfs_read_[k]"));
}

#[test]
fn equal_lines_of_two_processes_are_one() {
    let lines = fold(&[profile(), profile()], Inlined::Plain);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines.values().sum::<u64>(), 8);
}
