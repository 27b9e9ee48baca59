//! Two symbolizers' answers beside each other: how often they are equal, and of what kind the differences are.

mod class;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

pub use self::class::{Class, Symbols};
use super::answer::{Answer, Frame};

/// As many examples of each class are kept.
const EXAMPLES: usize = 3;

/// The least share of equal names, of those addresses for which both know one; and the most that may be missing of those that the other
/// knows.
const NAMES: f64 = 0.999;
/// The least share of equal file:line, of those addresses for which the other knows one.
const LINES: f64 = 0.995;

/// How often something is known and equal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub equal: u64,
    pub different: u64,
    /// Only the other knows.
    pub missing: u64,
    /// Only fathom knows.
    pub more: u64,
}

impl Rate {
    fn add(
        &mut self,
        ours: Option<impl PartialEq>,
        theirs: Option<impl PartialEq>,
        is_equal: bool,
    ) {
        match (ours.is_some(), theirs.is_some()) {
            (true, true) if is_equal => self.equal += 1,
            (true, true) => self.different += 1,
            (false, true) => self.missing += 1,
            (true, false) => self.more += 1,
            (false, false) => {}
        }
    }

    /// Equal of those that both know; 1 where there are none.
    pub fn of_both(&self) -> f64 {
        share(self.equal, self.equal + self.different)
    }

    /// Equal of those that the other knows; 1 where there are none.
    pub fn of_theirs(&self) -> f64 {
        share(self.equal, self.equal + self.different + self.missing)
    }

    fn known(&self) -> f64 {
        let both = self.equal + self.different;
        share(both, both + self.missing)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of addresses are far below 2^53"
)]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// What two symbolizers say of one address.
#[derive(Debug, Clone)]
pub struct Example {
    pub address: u64,
    pub ours: Answer,
    pub theirs: Answer,
}

/// The differences of one class.
#[derive(Debug, Default)]
pub struct Found {
    pub count: u64,
    pub examples: Vec<Example>,
}

/// All answers of one file.
#[derive(Debug, Default)]
pub struct Comparison {
    pub addresses: u64,
    /// The innermost function's linkage name.
    pub names: Rate,
    /// The innermost function's name as it is printed by default.
    pub printed: Rate,
    /// The innermost frame's file and line.
    pub lines: Rate,
    /// Its column, too.
    pub columns: Rate,
    /// Every frame's linkage name, file and line, in order.
    pub chains: Rate,
    /// The name of a stub in the procedure linkage table, beside objdump's.
    pub stubs: Rate,
    pub classes: BTreeMap<Class, Found>,
}

impl Comparison {
    /// Adds an address's answers with linkage names.
    pub fn add(&mut self, address: u64, ours: &Answer, theirs: &Answer, symbols: &Symbols) {
        let none = Frame {
            function: None,
            file: None,
            line: 0,
            column: 0,
        };
        let (our, their) = (
            ours.first().unwrap_or(&none),
            theirs.first().unwrap_or(&none),
        );
        self.addresses += 1;
        self.names.add(
            our.function.as_ref(),
            their.function.as_ref(),
            our.function == their.function,
        );
        let is_line_equal = our.file == their.file && our.line == their.line;
        self.lines
            .add(our.file.as_ref(), their.file.as_ref(), is_line_equal);
        self.columns.add(
            our.file.as_ref(),
            their.file.as_ref(),
            is_line_equal && our.column == their.column,
        );
        let is_chain_equal = chain(ours).eq(chain(theirs));
        self.chains.add(
            our.function.as_ref(),
            their.function.as_ref(),
            is_chain_equal,
        );
        for class in Class::of(ours, theirs, symbols) {
            self.found(class, address, ours, theirs);
        }
    }

    /// Adds an address's answers as they are printed by default, next to fathom's linkage name.
    pub fn add_printed(&mut self, address: u64, ours: &Answer, theirs: &Answer, linkage: &Answer) {
        let function = |answer: &Answer| answer.first().and_then(|frame| frame.function.clone());
        let (our, their) = (function(ours), function(theirs));
        let is_equal = our == their;
        self.printed.add(our.as_ref(), their.as_ref(), is_equal);
        if let (Some(_), Some(_), false, Some(linkage)) = (our, their, is_equal, function(linkage))
        {
            self.found(Class::of_spelling(&linkage), address, ours, theirs);
        }
    }

    /// Adds the answer for an address in a procedure linkage table. llvm-symbolizer knows no stubs, and gives the symbol before the table.
    pub fn add_stub(&mut self, address: u64, ours: &Answer, expected: Option<&str>) {
        let our = ours.first().and_then(|frame| frame.function.as_deref());
        self.stubs.add(our, expected, our == expected);
        if expected.is_some() && our != expected {
            let theirs = Frame {
                function: expected.map(str::to_owned),
                file: None,
                line: 0,
                column: 0,
            };
            self.found(Class::Stub, address, ours, &vec![theirs]);
        }
    }

    fn found(&mut self, class: Class, address: u64, ours: &Answer, theirs: &Answer) {
        let found = self.classes.entry(class).or_default();
        found.count += 1;
        if found.examples.len() < EXAMPLES {
            found.examples.push(Example {
                address,
                ours: ours.clone(),
                theirs: theirs.clone(),
            });
        }
    }

    /// An error that says which share is too low.
    pub fn judge(&self) -> Result<()> {
        let stubs = self.stubs.of_theirs();
        let classes = self.classes.iter();
        let explained: u64 = classes
            .filter(|(class, _)| class.is_explained())
            .map(|(_, found)| found.count)
            .sum();
        let judged = Rate {
            different: self.names.different - explained.min(self.names.different),
            ..self.names
        };
        let (names, known, lines) = (judged.of_both(), self.names.known(), self.lines.of_theirs());
        ensure!(
            names >= NAMES,
            "{:.3} % of the names are equal, fewer than {} %",
            names * 100.0,
            NAMES * 100.0
        );
        ensure!(
            known >= NAMES,
            "{:.3} % of the names are known, fewer than {} %",
            known * 100.0,
            NAMES * 100.0
        );
        ensure!(
            lines >= LINES,
            "{:.3} % of the lines are equal, fewer than {} %",
            lines * 100.0,
            LINES * 100.0
        );
        ensure!(
            stubs >= NAMES,
            "{:.3} % of the names of stubs are equal, fewer than {} %",
            stubs * 100.0,
            NAMES * 100.0
        );
        Ok(())
    }
}

fn chain(answer: &Answer) -> impl Iterator<Item = (Option<&str>, Option<&str>, u32)> {
    answer
        .iter()
        .map(|frame| (frame.function.as_deref(), frame.file.as_deref(), frame.line))
}
