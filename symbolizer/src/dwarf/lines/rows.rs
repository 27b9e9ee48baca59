//! The rows of a line table. Of all that the program makes only those are kept that change an answer.

/// What a row says of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dwarf) struct Row {
    /// 0 is none.
    pub(in crate::dwarf) line: u32,
    /// As in the table.
    pub(in crate::dwarf) file: u16,
    /// 0 is none.
    pub(in crate::dwarf) column: u16,
}

/// Rows, by sequences: such as follow one another without a hole.
#[derive(Debug)]
pub(super) struct Rows {
    /// The ends of the sequences, in order, and the sequences.
    highs: Vec<u64>,
    sequences: Vec<Sequence>,
    /// Where each row begins, from its sequence's first address on.
    addresses: Vec<u32>,
    rows: Vec<Row>,
    /// Each `STEP`th of the addresses. Whoever looks for one among thousands looks at these first: they lie side by side, and most
    /// of what a search costs is to wait for memory.
    samples: Vec<u32>,
    /// The sequence that is under way: its first address, and its first row.
    low: u64,
    first: usize,
    is_sorted: bool,
    /// The row that counts if the next one has another address, and the one before it.
    pending: Option<(u32, Row)>,
    last: Option<(u32, Row)>,
    /// Addresses from here on are those of discarded code.
    discarded: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sequence {
    low: u64,
    first: u32,
    end: u32,
}

/// More than the largest program has in one table; what follows is forgotten.
const MAX_ROWS: usize = 1 << 25;
const STEP: usize = 32;

impl Rows {
    /// No rows yet, and room for as many as so many bytes of program make.
    pub(super) fn new(bytes: usize, discarded: u64) -> Self {
        Self {
            highs: Vec::new(),
            sequences: Vec::new(),
            addresses: Vec::with_capacity(bytes / 6),
            rows: Vec::with_capacity(bytes / 6),
            samples: Vec::new(),
            low: 0,
            first: 0,
            is_sorted: true,
            pending: None,
            last: None,
            discarded,
        }
    }

    /// Adds a row: the last one of an address counts, and only where it says something else than the row before.
    #[inline]
    pub(super) fn push(&mut self, address: u64, row: Row) {
        let Some((at, _)) = self.pending else {
            self.low = address;
            self.is_sorted = true;
            self.pending = Some((0, row));
            return;
        };
        // One before the sequence's first address, or 4 GiB behind it, can't be found.
        let Ok(next) = u32::try_from(address.wrapping_sub(self.low)) else {
            return;
        };
        if next != at {
            self.is_sorted &= at < next;
            self.settle();
        }
        self.pending = Some((next, row));
    }

    #[inline]
    fn settle(&mut self) {
        let Some((at, row)) = self.pending else {
            return;
        };
        if self.is_sorted && self.last.is_some_and(|(_, last)| last == row) {
            return;
        }
        if self.rows.len() > MAX_ROWS {
            return;
        }
        self.last = self.pending;
        self.addresses.push(at);
        self.rows.push(row);
    }

    /// Ends the sequence. One of discarded code is forgotten.
    pub(super) fn end_sequence(&mut self, high: u64) {
        self.settle();
        (self.pending, self.last) = (None, None);
        let low = self.low;
        let (first, end) = (self.first, self.rows.len());
        let is_small = end <= MAX_ROWS;
        if first < end && is_small && low != 0 && low < high && low < self.discarded {
            if !self.is_sorted {
                self.sort();
            }
            self.highs.push(high);
            self.sequences.push(Sequence {
                low,
                first: first as u32,
                end: end as u32,
            });
        } else {
            self.addresses.truncate(first);
            self.rows.truncate(first);
        }
        self.first = self.rows.len();
    }

    /// A producer must not go backwards within a sequence, but some do.
    fn sort(&mut self) {
        let mut both: Vec<_> = self
            .addresses
            .drain(self.first..)
            .zip(self.rows.drain(self.first..))
            .collect();
        both.sort_by_key(|&(address, _)| address);
        for (address, row) in both {
            self.addresses.push(address);
            self.rows.push(row);
        }
    }

    /// Brings the sequences in order. Rows without an end have no last address, and are forgotten.
    pub(super) fn finish(&mut self) {
        self.addresses.truncate(self.first);
        self.rows.truncate(self.first);
        if !self.highs.is_sorted() {
            let mut both: Vec<_> = self.highs.drain(..).zip(self.sequences.drain(..)).collect();
            both.sort_by_key(|&(high, _)| high);
            (self.highs, self.sequences) = both.into_iter().unzip();
        }
        self.samples = self.addresses.iter().step_by(STEP).copied().collect();
        self.highs.shrink_to_fit();
        self.sequences.shrink_to_fit();
        self.addresses.shrink_to_fit();
        self.rows.shrink_to_fit();
    }

    /// The row of an address.
    pub(super) fn find(&self, address: u64) -> Option<Row> {
        let at = self.highs.partition_point(|&high| high <= address);
        let sequence = self.sequences.get(at)?;
        let into = u32::try_from(address.checked_sub(sequence.low)?).ok()?;
        let (first, end) = (sequence.first as usize, sequence.end as usize);
        let samples = first.div_ceil(STEP)..end.div_ceil(STEP);
        let before = self.samples[samples.clone()].partition_point(|&start| start <= into);
        let next = samples.start + before;
        let low = match before {
            0 => first,
            _ => (next - 1) * STEP,
        };
        let high = end.min(next * STEP).max(low);
        let behind = self.addresses[low..high].partition_point(|&start| start <= into);
        Some(self.rows[low + behind.checked_sub(1)?])
    }

    /// Bytes of memory that this takes.
    pub(super) fn bytes(&self) -> usize {
        self.highs.capacity() * (size_of::<u64>() + size_of::<Sequence>())
            + self.addresses.capacity() * (size_of::<u32>() + size_of::<Row>())
            + self.samples.capacity() * size_of::<u32>()
    }
}
