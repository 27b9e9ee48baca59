//! Rules' numbers, fast.

use std::hash::{Hash as _, Hasher};

use super::{rule::Rule, rules::Rules};

/// As many new rules as one file may add to the table that all share; the most of 3,560 files was 882.
const MAX_NEW_RULES: usize = 8192;
/// A file's code comes back to the same rules all the time.
const RECENT: usize = 512;

/// Finds rules' numbers for one file. Most are found among the recent ones, at a third of the price of the table's hash, which
/// has to stand against files made to collide: here a collision costs a look into the table.
pub(super) struct Numbers<'a> {
    rules: &'a mut Rules,
    before: usize,
    recent: Box<[(Rule, u16)]>,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(rules: &'a mut Rules) -> Self {
        Self {
            before: rules.all().len(),
            rules,
            recent: vec![(Rule::None, Rules::NONE); RECENT].into(),
        }
    }

    /// A rule's number; `None` if there is no room for it.
    pub(super) fn number(&mut self, rule: Rule) -> Option<u16> {
        let mut hash = Fold(0);
        rule.hash(&mut hash);
        let recent = &mut self.recent[hash.finish() as usize % RECENT];
        if recent.0 == rule {
            return Some(recent.1);
        }
        let may_grow = self.rules.all().len() - self.before < MAX_NEW_RULES;
        let number = if may_grow {
            self.rules.number(rule)
        } else {
            self.rules.known(rule)
        }?;
        *recent = (rule, number);
        Some(number)
    }
}

/// Folds what is written by multiplication (Fibonacci hashing; Knuth, volume 3, section 6.4).
struct Fold(u64);

impl Fold {
    fn fold(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.fold(u64::from(byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.fold(u64::from(value));
    }

    fn write_i32(&mut self, value: i32) {
        self.fold(u64::from(value.cast_unsigned()));
    }

    fn write_isize(&mut self, value: isize) {
        self.fold(value as u64);
    }

    fn finish(&self) -> u64 {
        // The upper bits are the mixed ones.
        self.0 >> 32
    }
}
