//! Memory to work in, which is used again and again: what is parsed is read into it and taken apart there.

use std::{
    ops::{Deref, DerefMut, Range},
    sync::{Mutex, PoisonError},
};

use super::{
    body::Call,
    context::Context,
    meter::{Charge, Meter},
    spans::Painter,
};
use crate::Error;

/// What parsing takes.
#[derive(Debug, Default)]
pub(super) struct Work {
    bytes: Vec<u8>,
    pub(super) painter: Painter,
    pub(super) calls: Vec<Call>,
}

/// Keeps what was worked in for the next one.
#[derive(Debug)]
pub(super) struct Scratch {
    idle: Mutex<Vec<(Work, Charge)>>,
    meter: Meter,
}

/// Something to work in, for a while.
#[derive(Debug)]
pub(super) struct Borrowed<'a> {
    work: Work,
    from: &'a Scratch,
}

/// A unit's bytes, and what they are taken apart with: they stay until another unit's are read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    work: Borrowed<'a>,
    /// The number of the unit that `work` has all bytes of.
    whole: Option<u32>,
}

/// Bytes that were read, and the rest to work in, which is empty.
pub(super) type Parts<'a> = (&'a [u8], &'a mut Painter, &'a mut Vec<Call>);

/// What has grown larger is let go after use.
const MAX_KEPT: usize = 4 << 20;
/// As many threads as work at once; more than these find nothing.
const MAX_IDLE: usize = 16;

impl Scratch {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            idle: Mutex::default(),
            meter: meter.clone(),
        }
    }

    pub(super) fn borrow(&self) -> Borrowed<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut work = idle.pop().map(|(work, _)| work).unwrap_or_default();
        work.painter.clear();
        work.calls.clear();
        Borrowed { work, from: self }
    }

    pub(super) fn release(&self) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Work {
    /// So many bytes to read into. What is in them is of no meaning.
    pub(super) fn bytes(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() < length {
            // Not `resize`: that would copy what nobody wants.
            self.bytes = vec![0; length.next_power_of_two()];
        }
        &mut self.bytes[..length]
    }

    fn held(&self) -> usize {
        self.bytes.capacity() + self.painter.held() + self.calls.capacity() * size_of::<Call>()
    }
}

impl<'a> Reading<'a> {
    pub(super) fn new(scratch: &'a Scratch) -> Self {
        Self {
            work: scratch.borrow(),
            whole: None,
        }
    }

    /// All of the unit with a number.
    pub(super) fn whole(&mut self, number: u32, context: &Context) -> Result<Parts<'_>, Error> {
        let (info, header) = (&context.file.info, &context.header);
        let length = info.within_limit(header.length)?;
        if self.whole != Some(number) {
            self.whole = None;
            info.read(header.offset, self.work.bytes(length))?;
            self.whole = Some(number);
        }
        Ok(self.parts(0..length))
    }

    /// A part of the unit with a number, counted from its header on.
    pub(super) fn part(
        &mut self,
        number: u32,
        context: &Context,
        part: Range<u32>,
    ) -> Result<Parts<'_>, Error> {
        let (start, end) = (part.start as usize, part.end as usize);
        if self.whole == Some(number) {
            return Ok(self.parts(start..end));
        }
        self.whole = None;
        let info = &context.file.info;
        let length = info.within_limit(u64::from(part.end.saturating_sub(part.start)))?;
        let from = context.header.offset + u64::from(part.start);
        info.read(from, self.work.bytes(length))?;
        Ok(self.parts(0..length))
    }

    fn parts(&mut self, part: Range<usize>) -> Parts<'_> {
        let work = &mut *self.work;
        work.painter.clear();
        work.calls.clear();
        let bytes = work.bytes.get(part).unwrap_or_default();
        (bytes, &mut work.painter, &mut work.calls)
    }
}

impl Deref for Borrowed<'_> {
    type Target = Work;

    fn deref(&self) -> &Work {
        &self.work
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Work {
        &mut self.work
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let work = std::mem::take(&mut self.work);
        let held = work.held();
        let mut idle = self
            .from
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if held <= MAX_KEPT && idle.len() < MAX_IDLE {
            let charge = self.from.meter.charge(held);
            idle.push((work, charge));
        }
    }
}
