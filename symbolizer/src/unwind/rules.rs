//! The rule table: each rule once, whichever files use it.

use std::collections::HashMap;

use super::rule::{Rule, Unsupported};

/// Rules by number. Tables of any number of files share one; a rule keeps its number for as long as the table lives, so that a
/// kernel program's copy only ever grows.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    numbers: HashMap<Rule, u16>,
}

/// As many as a row can name.
const MAX_RULES: usize = 1 << 16;

impl Rules {
    /// The number of [`Rule::None`], in every table.
    pub const NONE: u16 = 0;
    /// The number of [`Rule::End`], in every table.
    pub const END: u16 = 1;
    /// The number of [`Rule::FramePointer`], in every table.
    pub const FRAME_POINTER: u16 = 2;
    /// The number of [`Rule::SignalFrame`], in every table.
    pub const SIGNAL_FRAME: u16 = 3;

    /// The number of [`Unsupported::RulesFull`]: the kinds follow in their order.
    pub(super) const RULES_FULL: u16 = 4 + Unsupported::RulesFull as u16;

    /// A table of the rules that have no operands.
    pub fn new() -> Self {
        let mut rules = Self {
            rules: Vec::new(),
            numbers: HashMap::new(),
        };
        let unsupported = Unsupported::ALL.map(Rule::Unsupported);
        for rule in [Rule::None, Rule::End, Rule::FramePointer, Rule::SignalFrame]
            .into_iter()
            .chain(unsupported)
        {
            rules.number(rule);
        }
        rules
    }

    /// The rule of a number.
    pub fn get(&self, number: u16) -> Option<Rule> {
        self.rules.get(usize::from(number)).copied()
    }

    /// All of them; the first has the number 0.
    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// A rule's number if the table has it.
    pub(super) fn known(&self, rule: Rule) -> Option<u16> {
        self.numbers.get(&rule).copied()
    }

    /// A rule's number, new or not; `None` when the table is full.
    pub(super) fn number(&mut self, rule: Rule) -> Option<u16> {
        if let Some(number) = self.known(rule) {
            return Some(number);
        }
        if self.rules.len() == MAX_RULES {
            return None;
        }
        let number = u16::try_from(self.rules.len()).ok()?;
        self.rules.push(rule);
        self.numbers.insert(rule, number);
        Some(number)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new()
    }
}
