//! Files' tables in the maps `PAGES` and `ROWS`: each page points at a run of chunks.

use fathom_abi::unwind::{CHUNK_ROWS, Chunk, PART_BITS, PARTS, Page, Row, Segment, SegmentKind};
use fathom_symbolizer::unwind::{Row as TableRow, Rules, Table};

use super::{
    Error, Part,
    mapped::Mapped,
    runs::{Run, Runs},
};

/// A file's table in the maps. It stays until [`super::Tables::remove_file`] takes it.
#[derive(Debug, PartialEq, Eq)]
pub struct FileTable {
    file: u32,
    page_number: u32,
    pages: Run,
    chunks: u32,
}

impl FileTable {
    /// A mapping of this file: addresses from `start` up to `end`, which are `bias` more (modulo 2^64) than in the file's own address space.
    pub fn segment(&self, start: u64, end: u64, bias: u64) -> Segment {
        Segment {
            start,
            end,
            bias,
            first_page: self.pages.first,
            page_number: self.page_number,
            pages: self.pages.count,
            file: self.file,
            kind: SegmentKind::TABLE,
            reserved: 0,
        }
    }

    /// Bytes of the maps that it takes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.chunks) * size_of::<Chunk>() as u64
            + u64::from(self.pages.count) * size_of::<Page>() as u64
    }

    fn places(&self) -> impl Iterator<Item = u32> + use<> {
        self.pages.first..self.pages.first + self.pages.count
    }
}

/// The pages and rows of all files.
#[derive(Debug)]
pub(super) struct Files {
    pages: Mapped<Page>,
    rows: Mapped<Chunk>,
    free_pages: Runs,
    free_chunks: Runs,
    /// The last file's number.
    last: u32,
    /// What a program may still be reading.
    given_up: Vec<(FileTable, Vec<Run>)>,
}

impl Files {
    pub(super) fn new(pages: Mapped<Page>, rows: Mapped<Chunk>) -> Self {
        Self {
            free_pages: Runs::new(pages.entries()),
            free_chunks: Runs::new(rows.entries()),
            pages,
            rows,
            last: 0,
            given_up: Vec::new(),
        }
    }

    /// Pages and rows in use, with those that were given up.
    pub(super) fn used(&self) -> (u32, u32) {
        let rows = self.free_chunks.used() * CHUNK_ROWS as u32;
        (self.free_pages.used(), rows)
    }

    pub(super) fn mapped_bytes(&self) -> u64 {
        self.pages.bytes() + self.rows.bytes()
    }

    /// Puts a table into the maps, or nothing of it.
    pub(super) fn add(&mut self, table: &Table) -> Result<FileTable, Error> {
        let (page_number, pages) = self.span(table)?;
        let pages = self
            .free_pages
            .take(pages)
            .ok_or(Error::Full(Part::Pages))?;
        let mut added = FileTable {
            file: self.last.checked_add(1).unwrap_or(1),
            page_number,
            pages,
            chunks: 0,
        };
        let empty = Page {
            file: added.file,
            ..Page::default()
        };
        for place in added.places() {
            self.pages.set(place, empty);
        }
        for page in table.pages() {
            let Some(run) = self.add_rows(page.rows) else {
                // No segment points at it yet, so that no program reads it.
                let runs = self.runs(&added);
                self.free(added, runs);
                return Err(Error::Full(Part::Rows));
            };
            added.chunks += run.count;
            // Within the span, which was measured.
            let place = pages.first + (page.number - u64::from(page_number)) as u32;
            let page = Page {
                first_chunk: run.first,
                rows: page.rows.len() as u32,
                starts: starts(page.rows),
                ..empty
            };
            self.pages.set(place, page);
        }
        self.last = added.file;
        Ok(added)
    }

    /// The number of a table's first page, and how many there are from that one to its last.
    fn span(&self, table: &Table) -> Result<(u32, u32), Error> {
        let mut numbers = table.pages().map(|page| page.number);
        let first = numbers.next().unwrap_or(0);
        let last = numbers.last().unwrap_or(first);
        let wanted = last.saturating_sub(first).saturating_add(1);
        let capacity = self.pages.entries();
        let pages = u32::try_from(wanted)
            .ok()
            .filter(|&pages| pages <= capacity);
        match (u32::try_from(first), pages) {
            (Ok(first), Some(pages)) => Ok((first, pages)),
            _ => Err(Error::TooLarge {
                part: Part::Pages,
                wanted,
                capacity,
            }),
        }
    }

    /// Puts the rows of a page into chunks of its own.
    fn add_rows(&mut self, rows: &[TableRow]) -> Option<Run> {
        let run = self
            .free_chunks
            .take(rows.len().div_ceil(CHUNK_ROWS) as u32)?;
        for (place, rows) in (run.first..).zip(rows.chunks(CHUNK_ROWS)) {
            let mut chunk = Chunk {
                rows: [Row::default(); CHUNK_ROWS],
            };
            for (to, from) in chunk.rows.iter_mut().zip(rows) {
                *to = Row {
                    low: from.low,
                    rule: from.rule,
                };
            }
            self.rows.set(place, chunk);
        }
        Some(run)
    }

    /// The runs of chunks that a file's pages point at.
    fn runs(&self, file: &FileTable) -> Vec<Run> {
        let pages = file.places().filter_map(|place| self.pages.get(place));
        let runs = pages.map(|page| Run {
            first: page.first_chunk,
            count: page.rows.div_ceil(CHUNK_ROWS as u32),
        });
        runs.filter(|run| run.count > 0).collect()
    }

    fn free(&mut self, file: FileTable, runs: Vec<Run>) {
        for run in runs {
            self.free_chunks.give(run);
        }
        self.free_pages.give(file.pages);
    }

    /// Marks a file's pages as nobody's. Their room is usable after [`Files::reclaim`].
    pub(super) fn remove(&mut self, file: FileTable) {
        let runs = self.runs(&file);
        for place in file.places() {
            self.pages.set(place, Page::default());
        }
        self.given_up.push((file, runs));
    }

    /// Whether there is something to reclaim.
    pub(super) fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Makes the room of removed files usable; no program can be reading it any more.
    pub(super) fn reclaim(&mut self) {
        for (file, runs) in std::mem::take(&mut self.given_up) {
            self.free(file, runs);
        }
    }

    /// The number of the rule that holds at an address of a file's own address space.
    pub(super) fn find(&self, file: &FileTable, address: u64) -> u16 {
        self.row(file, address).map_or(Rules::NONE, |row| row.rule)
    }

    fn row(&self, file: &FileTable, address: u64) -> Option<Row> {
        let place = (address >> 16).checked_sub(u64::from(file.page_number))?;
        let place = u32::try_from(place).ok()?;
        if place >= file.pages.count {
            return None;
        }
        let page = self.pages.get(file.pages.first + place)?;
        if page.rows == 0 {
            return None;
        }
        let low = (address & 0xffff) as u16;
        let part = usize::from(low >> PART_BITS);
        // The first of them is not above it.
        let (mut at, mut last) = (page.starts[part], page.starts[part + 1]);
        while at < last {
            let middle = last - (last - at) / 2;
            if self.nth(page, middle.into())?.low <= low {
                at = middle;
            } else {
                last = middle - 1;
            }
        }
        self.nth(page, at.into())
    }

    fn nth(&self, page: Page, index: u32) -> Option<Row> {
        let place = page.first_chunk + index / CHUNK_ROWS as u32;
        let within = index as usize % CHUNK_ROWS;
        self.rows.row(place, within)
    }
}

/// [`Page::starts`] of these rows, of which the first is at 0 and none at the same address as another.
fn starts(rows: &[TableRow]) -> [u16; PARTS + 1] {
    let mut starts = [0; PARTS + 1];
    let mut behind = 0;
    for (part, start) in starts.iter_mut().enumerate() {
        // The last one is for the page's last address.
        let first = ((part << PART_BITS).min(0xffff)) as u16;
        behind += rows[behind..].partition_point(|row| row.low <= first);
        *start = behind.saturating_sub(1) as u16;
    }
    starts
}

#[cfg(test)]
mod tests;
