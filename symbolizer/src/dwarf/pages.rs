//! A section that is read here and there: strings, address ranges. What was read once is kept, page by page.

use std::sync::{
    Arc, OnceLock, PoisonError, RwLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use object::Endianness;

use super::{
    cursor::Cursor,
    meter::{Charge, Meter},
};
use crate::{Error, elf::sections::Section};

/// A section and the pages of it that were read.
#[derive(Debug)]
pub(super) struct Pages {
    section: Section,
    meter: Meter,
    /// Taken away whole when memory is to be given back.
    table: RwLock<Option<Arc<Table>>>,
}

/// The pages as they are now. Whoever holds it can borrow from them.
#[derive(Debug)]
pub(super) struct View<'a> {
    section: &'a Section,
    table: Arc<Table>,
}

#[derive(Debug)]
struct Table {
    /// A compressed section is unpacked whole, and has no pages.
    unpacked: Option<Arc<[u8]>>,
    size: u64,
    pages: Box<[OnceLock<Box<[u8]>>]>,
    read: AtomicUsize,
    charge: Charge,
}

impl Table {
    fn is_full(&self) -> bool {
        self.read.load(Relaxed) >= MAX_PAGES
    }
}

const PAGE: u64 = 1 << 13;
/// With as many pages as this all go: addresses that lie side by side have strings and ranges that do.
const MAX_PAGES: usize = 1 << 7;
/// Each page has so much of the next one, so that hardly anything lies across an end.
const OVERLAP: u64 = 1 << 9;
/// What is read one after the other is at most so long.
const MAX_RECORD: u64 = 64;
/// The longest string; names of templates have some thousand bytes.
const MAX_STRING: u64 = 1 << 20;

impl Pages {
    pub(super) fn new(section: Section, meter: &Meter) -> Self {
        Self {
            section,
            meter: meter.clone(),
            table: RwLock::default(),
        }
    }

    pub(super) fn section(&self) -> &Section {
        &self.section
    }

    /// What can be borrowed from.
    ///
    /// # Errors
    /// When the section is compressed and can't be unpacked.
    pub(super) fn view(&self) -> Result<View<'_>, Error> {
        let held = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = &*held
            && !table.is_full()
        {
            return Ok(self.of(table.clone()));
        }
        drop(held);
        self.release();
        let unpacked = self.section.unpacked()?;
        let size = self.section.size()?;
        let count = match unpacked {
            Some(_) => 0,
            None => self.section.within_limit(size.div_ceil(PAGE))?,
        };
        let charge = self.meter.charge(count * size_of::<OnceLock<Box<[u8]>>>());
        let table = Arc::new(Table {
            unpacked,
            size,
            pages: (0..count).map(|_| OnceLock::new()).collect(),
            read: AtomicUsize::new(0),
            charge,
        });
        let mut held = self.table.write().unwrap_or_else(PoisonError::into_inner);
        Ok(self.of(held.get_or_insert(table).clone()))
    }

    fn of(&self, table: Arc<Table>) -> View<'_> {
        View {
            section: &self.section,
            table,
        }
    }

    /// Lets all pages go.
    pub(super) fn release(&self) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl View<'_> {
    /// Some bytes from an offset on, `MAX_RECORD` at least where the section has as many.
    pub(super) fn bytes(&self, offset: u64) -> Result<&[u8], Error> {
        if offset >= self.table.size {
            return Err(self.section.malformed(format!(
                "{offset:#x} lies beyond its end at {:#x}",
                self.table.size
            )));
        }
        if let Some(unpacked) = &self.table.unpacked {
            return Ok(unpacked.get(offset as usize..).unwrap_or_default());
        }
        let page = self.page(offset / PAGE)?;
        Ok(page.get((offset % PAGE) as usize..).unwrap_or_default())
    }

    pub(super) fn malformed(&self, why: String) -> Error {
        self.section.malformed(why)
    }

    fn page(&self, number: u64) -> Result<&[u8], Error> {
        // `bytes` has shown that there is such a page.
        let slot = &self.table.pages[number as usize];
        if let Some(page) = slot.get() {
            return Ok(page);
        }
        let start = number * PAGE;
        let length = (self.table.size - start).min(PAGE + OVERLAP);
        let mut page = vec![0; length as usize].into_boxed_slice();
        self.section.read(start, &mut page)?;
        let mut is_mine = false;
        let page = slot.get_or_init(|| {
            is_mine = true;
            page
        });
        if is_mine {
            self.table.read.fetch_add(1, Relaxed);
            self.table.charge.add(page.len());
        }
        Ok(page)
    }

    /// A reader of records of at most `MAX_RECORD` bytes.
    pub(super) fn records(&self, offset: u64, endian: Endianness) -> Records<'_> {
        Records {
            view: self,
            endian,
            start: offset,
            cursor: Cursor::new(&[], endian),
        }
    }

    /// The string at an offset, up to its zero. What is not UTF-8 in it is replaced.
    pub(super) fn string(&self, offset: u64) -> Result<String, Error> {
        let mut string = Vec::new();
        loop {
            let more = self.bytes(offset + string.len() as u64)?;
            let end = memchr::memchr(0, more);
            string.extend_from_slice(&more[..end.unwrap_or(more.len())]);
            if end.is_some() {
                return Ok(String::from_utf8_lossy(&string).into_owned());
            }
            if string.len() as u64 > MAX_STRING {
                return Err(self.malformed(format!("the string at {offset:#x} does not end")));
            }
        }
    }
}

/// Reads records one after the other, across pages.
pub(super) struct Records<'a> {
    view: &'a View<'a>,
    endian: Endianness,
    start: u64,
    cursor: Cursor<'a>,
}

impl<'a> Records<'a> {
    /// Where the next one is.
    pub(super) fn at(&self) -> u64 {
        self.start + self.cursor.at() as u64
    }

    /// A cursor at the next record, which `read` moves behind it.
    pub(super) fn next<T>(
        &mut self,
        read: impl FnOnce(&mut Cursor<'a>) -> Option<T>,
    ) -> Result<T, Error> {
        if (self.cursor.end().saturating_sub(self.cursor.at()) as u64) < MAX_RECORD {
            let at = self.at();
            self.cursor = Cursor::new(self.view.bytes(at)?, self.endian);
            self.start = at;
        }
        read(&mut self.cursor).ok_or_else(|| {
            self.view
                .section
                .malformed(format!("it is cut short at {:#x}", self.at()))
        })
    }
}
