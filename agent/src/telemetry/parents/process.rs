//! What is known of a process that serves requests.

use super::PROOF;

#[derive(Default)]
pub(super) struct Process {
    /// It serves several requests on a thread, or one on several.
    pub(super) multiplexes: bool,
    /// It is a Go program, of which each request's goroutine is known.
    pub(super) has_goroutines: bool,
    /// Requests whose end is not known.
    open: u32,
    /// Until when there may have been more than one at a time.
    several_until_ns: u64,
    /// How much speaks for a thread for each request.
    score: u8,
}

impl Process {
    /// It received a request.
    pub(super) fn began(&mut self, at_ns: u64) {
        self.open = self.open.saturating_add(1);
        if self.open > 1 {
            self.several_until(at_ns);
        }
    }

    /// So many requests of those that were open ended by then.
    pub(super) fn ended(&mut self, count: u32, at_ns: u64) {
        if count > 0 && self.open > 1 {
            self.several_until(at_ns);
        }
        self.open = self.open.saturating_sub(count);
    }

    /// So many requests of those that were open may go on until then, though nobody will say so.
    pub(super) fn abandoned(&mut self, count: u32, until_ns: u64) {
        if count > 0 {
            self.several_until(until_ns);
        }
        self.open = self.open.saturating_sub(count);
    }

    fn several_until(&mut self, at_ns: u64) {
        self.several_until_ns = self.several_until_ns.max(at_ns);
    }

    /// A request was answered by the thread that had received it: that says something where others are open.
    pub(super) fn kept_its_thread(&mut self) {
        if self.open > 1 {
            self.score = self.score.saturating_add(1);
        }
    }

    /// It was seen to do what a program that gives each request a thread seldom does.
    pub(super) fn doubted(&mut self, weight: u8) {
        self.score = self.score.saturating_sub(weight);
    }

    /// Whether it gives each request a thread, or a goroutine.
    pub(super) fn is_proven(&self) -> bool {
        self.has_goroutines || self.score >= PROOF
    }

    /// Whether requests are open.
    pub(super) fn is_serving(&self) -> bool {
        self.open > 0
    }

    /// Whether no more than one request was open at this time, and since.
    pub(super) fn served_one_at(&self, at_ns: u64) -> bool {
        self.open <= 1 && self.several_until_ns < at_ns
    }
}
