//! A file's pages, held in memory.

use super::{
    pages::{Page, Row},
    rules::Rules,
};

/// The pages of one file, searched as a kernel program would search its copy of them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pages: Vec<Entry>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u64,
    /// Where its rows start.
    first: u32,
    /// How many there are: at most 65,536.
    count: u32,
}

impl Table {
    /// Adds a page behind the others: what [`super::convert_file`] hands on, in that order.
    pub fn push(&mut self, page: Page<'_>) {
        // A file's text is bounded by 2 GiB, and so are its rows.
        let first = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.pages.push(Entry {
            number: page.number,
            first,
            count: page.rows.len() as u32,
        });
        self.rows.extend_from_slice(page.rows);
    }

    /// The number of the rule that holds at an address of the file's own address space; [`Rules::NONE`] where none does.
    pub fn find(&self, address: u64) -> u16 {
        let number = address >> 16;
        let Ok(page) = self.pages.binary_search_by_key(&number, |page| page.number) else {
            return Rules::NONE;
        };
        let Entry { first, count, .. } = self.pages[page];
        let rows = self.rows.get(first as usize..).unwrap_or_default();
        let rows = rows.get(..count as usize).unwrap_or_default();
        let low = (address & 0xffff) as u16;
        let behind = rows.partition_point(|row| row.low <= low);
        behind
            .checked_sub(1)
            .map_or(Rules::NONE, |row| rows[row].rule)
    }

    /// Its pages, in the order of their addresses.
    pub fn pages(&self) -> impl Iterator<Item = Page<'_>> {
        self.pages.iter().map(|page| Page {
            number: page.number,
            rows: &self.rows[page.first as usize..][..page.count as usize],
        })
    }

    /// Bytes of memory that its pages and rows take: 16 a page and 4 a row.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.pages) + size_of_val(&*self.rows)
    }
}
