//! Rows, in pages of 64 KiB.

use super::rules::Rules;

/// From an address on, up to the next row's, a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Row {
    /// The lowest 16 bits of the address.
    pub low: u16,
    /// The rule's number in [`Rules`].
    pub rule: u16,
}

/// 64 KiB of a file's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// The address of the page, in the file's own address space, divided by 65,536.
    pub number: u64,
    /// In the order of their addresses, one at most for each; the first is at 0. Neighbours have different rules.
    pub rows: &'a [Row],
}

const PAGE: u64 = 1 << 16;

/// Cuts ranges into pages and hands each to a sink when it is complete.
pub(super) struct Pages<Sink> {
    sink: Sink,
    number: u64,
    rows: Vec<Row>,
    /// Up to where there is a rule.
    end: u64,
    /// Pages and rows handed on.
    pub(super) pages: u64,
    pub(super) kept: u64,
}

impl<Sink: FnMut(Page<'_>)> Pages<Sink> {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            sink,
            number: 0,
            rows: Vec::new(),
            end: 0,
            pages: 0,
            kept: 0,
        }
    }

    /// A rule from `start` up to `end`. Ranges come in the order of their addresses and don't overlap; between them there is no
    /// rule.
    pub(super) fn push(&mut self, start: u64, end: u64, rule: u16) {
        debug_assert!(self.end <= start && start <= end);
        if start > self.end {
            self.close();
        }
        let mut at = start;
        while at < end {
            if at / PAGE != self.number || self.rows.is_empty() {
                self.hand_on();
                self.number = at / PAGE;
                self.add(at - at % PAGE, Rules::NONE);
            }
            self.add(at, rule);
            at = end.min((at - at % PAGE).saturating_add(PAGE));
        }
        self.end = end;
    }

    /// Hands on the last page.
    pub(super) fn finish(&mut self) {
        self.close();
        self.hand_on();
    }

    /// Behind the last range there is no rule.
    fn close(&mut self) {
        if !self.rows.is_empty() && self.end / PAGE == self.number {
            self.add(self.end, Rules::NONE);
        }
    }

    fn add(&mut self, at: u64, rule: u16) {
        let low = (at % PAGE) as u16;
        match self.rows.last_mut() {
            Some(last) if last.rule == rule => {}
            // Only a page's first row can be replaced: every other one stands for a byte at least.
            Some(last) if last.low == low => last.rule = rule,
            _ => self.rows.push(Row { low, rule }),
        }
    }

    fn hand_on(&mut self) {
        if self.rows.iter().any(|row| row.rule != Rules::NONE) {
            self.pages += 1;
            self.kept += self.rows.len() as u64;
            (self.sink)(Page {
                number: self.number,
                rows: &self.rows,
            });
        }
        self.rows.clear();
    }
}
