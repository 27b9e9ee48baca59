//! The units of one file, read when they are asked for and given back when memory is.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use super::{
    context::Context,
    file::File,
    header::{self, Header},
    meter::Meter,
    name::Name,
    root::Root,
    unit::Unit,
    unread::Unread,
};
use crate::Error;

/// A file and its units.
#[derive(Debug)]
pub(super) struct Units {
    pub(super) file: Arc<File>,
    pub(super) headers: Vec<Header>,
    slots: Box<[Slot]>,
    meter: Meter,
    /// Counts the units that were read; it orders their uses.
    clock: AtomicU32,
}

#[derive(Debug, Default)]
struct Slot {
    unit: Mutex<Option<Arc<Unit>>>,
    used: AtomicU32,
}

impl Units {
    /// Reads the headers of all units but those that are `unread`.
    pub(super) fn open(file: File, meter: &Meter, unread: &mut Unread) -> Result<Self, Error> {
        let headers = header::headers(&file.info, file.endian, unread)?;
        Ok(Self {
            slots: headers.iter().map(|_| Slot::default()).collect(),
            headers,
            file: Arc::new(file),
            meter: meter.clone(),
            clock: AtomicU32::new(0),
        })
    }

    /// The number of the unit that an offset of `.debug_info` lies in.
    pub(super) fn find(&self, offset: u64) -> Option<usize> {
        let behind = self
            .headers
            .partition_point(|header| header.offset <= offset);
        let index = behind.checked_sub(1)?;
        let header = &self.headers[index];
        (offset - header.offset < header.length && !header.is_type).then_some(index)
    }

    /// A unit.
    pub(super) fn get(&self, index: usize) -> Result<Arc<Unit>, Error> {
        let slot = &self.slots[index];
        let mut held = slot.unit.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.load(Relaxed);
        if slot.used.load(Relaxed) != now {
            slot.used.store(now, Relaxed);
        }
        if let Some(unit) = &*held {
            return Ok(unit.clone());
        }
        let header = self.headers[index];
        let table = self.file.table(&header)?;
        let root = Root::read_with(&self.file, &header, &table.abbreviations)?;
        let context = Context::linked(self.file.clone(), header, root)?;
        let unit = Arc::new(Unit::new(context, table, &self.meter));
        self.clock.fetch_add(1, Relaxed);
        *held = Some(unit.clone());
        Ok(unit)
    }

    /// The same as [`Unit::step`], whichever unit it is.
    pub(super) fn step(
        &self,
        offset: u64,
        best: Name,
    ) -> Result<Option<(Name, Option<Name>)>, Error> {
        match self.find(offset) {
            Some(index) => self.get(index)?.step(offset, best),
            None => Ok(None),
        }
    }

    /// Lets units go, with what was split off them, those first that were not used for the longest, until no more is held than `to` bytes or none is left.
    pub(super) fn shrink(&self, to: usize) {
        let now = self.clock.load(Relaxed);
        let mut order: Vec<_> = (0..self.slots.len()).collect();
        order.sort_by_cached_key(|&index| {
            std::cmp::Reverse(now.wrapping_sub(self.slots[index].used.load(Relaxed)))
        });
        for index in order {
            if self.meter.bytes() <= to {
                break;
            }
            let mut held = self.slots[index]
                .unit
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            drop(held.take());
        }
    }
}
