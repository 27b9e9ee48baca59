//! Ranges of addresses that lie within and over one another, made flat: for each address the one that counts.

/// Ranges that are still to be made flat.
#[derive(Debug, Default)]
pub(super) struct Painter {
    ranges: Vec<Range>,
    /// To work in: those that have begun, the uppermost last, and what is to be seen from above.
    keys: Vec<u128>,
    open: Vec<Range>,
    seen: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    low: u64,
    high: u64,
    /// Where it stands among all: what is painted later lies above.
    order: u32,
    value: u32,
}

/// For each address at most one value.
#[derive(Debug)]
pub(super) struct Spans<A> {
    /// Where each span begins, and its value; it ends where the next one begins.
    all: Box<[(A, u32)]>,
}

/// The value of a span that nobody painted.
const GAP: u32 = u32::MAX;
/// How many ranges may lie over one that is painted below them. What lies deeper is in no real program, and is left out.
const MAX_DEPTH: usize = 256;

impl Painter {
    /// Paints a range over those before. The value `u32::MAX` is no value.
    pub(super) fn paint(&mut self, low: u64, high: u64, value: u32) {
        if low < high {
            self.ranges.push(Range {
                low,
                high,
                order: self.ranges.len() as u32,
                value,
            });
        }
    }

    /// Forgets all ranges.
    pub(super) fn clear(&mut self) {
        self.ranges.clear();
    }

    /// The lowest address painted.
    pub(super) fn lowest(&self) -> Option<u64> {
        self.ranges.iter().map(|range| range.low).min()
    }

    /// What is to be seen from above. `scale` makes an address small; what it has no answer for is left out.
    pub(super) fn flatten<A>(&mut self, scale: impl Fn(u64) -> Option<A>) -> Spans<A> {
        // By where they begin, and as they were painted; what is sorted are numbers, not the ranges.
        self.keys.clear();
        self.keys.extend(
            self.ranges
                .iter()
                .map(|range| u128::from(range.low) << 32 | u128::from(range.order)),
        );
        self.keys.sort_unstable();
        let open = &mut self.open;
        let seen = &mut self.seen;
        open.clear();
        seen.clear();
        for &key in &self.keys {
            let range = &self.ranges[key as u32 as usize];
            close(open, range.low, seen);
            let above = open
                .iter()
                .rev()
                .take(MAX_DEPTH + 1)
                .take_while(|other| other.order > range.order)
                .count();
            if above <= MAX_DEPTH {
                open.insert(open.len() - above, *range);
            }
            if above == 0 {
                see(seen, range.low, range.value);
            }
        }
        close(open, u64::MAX, seen);
        let mut all = Vec::with_capacity(seen.len());
        all.extend(
            seen.iter()
                .filter_map(|&(start, value)| Some((scale(start)?, value))),
        );
        Spans { all: all.into() }
    }

    /// Bytes of memory that this takes.
    pub(super) fn held(&self) -> usize {
        (self.ranges.capacity() + self.open.capacity()) * size_of::<Range>()
            + self.keys.capacity() * size_of::<u128>()
            + self.seen.capacity() * size_of::<(u64, u32)>()
    }
}

/// Ends what ends up to `until`.
fn close(open: &mut Vec<Range>, until: u64, seen: &mut Vec<(u64, u32)>) {
    while let Some(top) = open.last() {
        let end = top.high;
        if end > until {
            break;
        }
        while open.last().is_some_and(|below| below.high <= end) {
            open.pop();
        }
        see(seen, end, open.last().map_or(GAP, |below| below.value));
    }
}

/// Notes that from an address on a value is to be seen.
fn see(seen: &mut Vec<(u64, u32)>, start: u64, value: u32) {
    if seen.last().is_some_and(|&(last, _)| last == start) {
        seen.pop();
    }
    if seen.last().is_none_or(|&(_, last)| last != value) {
        seen.push((start, value));
    }
}

impl<A: Copy + Ord> Spans<A> {
    /// The value of an address.
    #[inline]
    pub(super) fn find(&self, address: A) -> Option<u32> {
        let behind = self.all.partition_point(|&(start, _)| start <= address);
        let (_, value) = self.all[behind.checked_sub(1)?];
        (value != GAP).then_some(value)
    }

    /// Where the gap around an address begins and ends, if there is one.
    pub(super) fn gap(&self, address: A) -> Option<(Option<A>, Option<A>)> {
        let behind = self.all.partition_point(|&(start, _)| start <= address);
        let before = behind.checked_sub(1).map(|before| self.all[before]);
        match before {
            Some((_, value)) if value != GAP => None,
            _ => Some((
                before.map(|(start, _)| start),
                self.all.get(behind).map(|&(start, _)| start),
            )),
        }
    }

    /// Bytes of memory that this takes.
    pub(super) fn bytes(&self) -> usize {
        self.all.len() * size_of::<(A, u32)>()
    }
}

#[cfg(test)]
mod tests;
