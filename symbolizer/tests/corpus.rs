//! Replays the fuzz target's corpus: what was once found stays fixed, on every test run and without a fuzzer.

#[path = "../../fuzz/checks/unwind.rs"]
mod checks;
#[path = "../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn unwind_tables() {
    replay("unwind", checks::unwind);
}
