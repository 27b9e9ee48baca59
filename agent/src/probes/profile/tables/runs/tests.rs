use super::*;

/// Numbers that look random and are the same each time (xorshift; Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % bound
    }
}

#[test]
fn a_run_is_taken_once_and_can_be_taken_again_when_it_was_given_back() {
    let mut runs = Runs::new(10);
    let first = runs.take(4).expect("room");
    let second = runs.take(6).expect("room");
    assert_eq!((first.first, second.first), (0, 4));
    assert_eq!(runs.take(1), None);
    runs.give(first);
    assert_eq!(runs.take(5), None);
    assert_eq!(runs.take(4), Some(first));
    assert_eq!(runs.used(), 10);
}

#[test]
fn gaps_that_touch_become_one_whichever_side_comes_first() {
    for order in [[0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 0, 2]] {
        let mut runs = Runs::new(9);
        let taken: Vec<_> = (0..3).map(|_| runs.take(3).expect("room")).collect();
        for index in order {
            runs.give(taken[index]);
        }
        assert_eq!(runs.used(), 0);
        assert_eq!(runs.take(9), Some(Run { first: 0, count: 9 }));
    }
}

#[test]
fn a_run_of_none_takes_no_room() {
    let mut runs = Runs::new(0);
    let none = runs.take(0).expect("nothing is wanted");
    assert_eq!(runs.take(1), None);
    runs.give(none);
    assert_eq!(runs.used(), 0);
}

/// Pages' rows take runs of 1 to 139 chunks (8,876 rows is the most of a page of 1,685 files), files of 1 to 400 pages come and go: how full is the
/// array when the first one finds no room?
#[test]
fn nine_tenths_are_in_use_before_a_file_finds_no_room() {
    const CHUNKS: u32 = 1 << 16;
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut runs = Runs::new(CHUNKS);
    let mut files: Vec<Vec<Run>> = Vec::new();
    let mut least = CHUNKS;
    for _ in 0..4000 {
        let pages = 1 + numbers.below(400) / (1 + numbers.below(16));
        let mut file = Vec::new();
        for _ in 0..pages {
            // Most pages have a few thousand rows, some next to none.
            let chunks = 1 + numbers.below(60) + numbers.below(80);
            let mut taken = runs.take(chunks);
            while taken.is_none() {
                least = least.min(runs.used());
                let oldest = files.remove(numbers.below(files.len() as u32) as usize);
                oldest.into_iter().for_each(|run| runs.give(run));
                taken = runs.take(chunks);
            }
            file.extend(taken);
        }
        files.push(file);
    }
    assert!(
        least > CHUNKS / 10 * 9,
        "{least} of {CHUNKS} chunks were in use when one found no room"
    );
    for run in files.into_iter().flatten() {
        runs.give(run);
    }
    assert_eq!(runs.used(), 0);
    assert_eq!(runs.gaps.len(), 1);
}
