//! Reading a part of a file in ascending order through one window.

use std::ops::Range;

use super::{
    Why,
    image::{Image, WINDOW},
};

/// A window that moves over a part of a file, from its start to its end. Going back a little is free; going back far, again and again, would cost a read each time: whoever uses it on
/// offsets from the file itself checks that these ascend.
pub(super) struct Forward<'a> {
    image: &'a Image<'a>,
    part: &'static str,
    range: Range<u64>,
    window: Vec<u8>,
    /// The file offset of the window.
    at: u64,
}

impl<'a> Forward<'a> {
    pub(super) fn new(image: &'a Image<'a>, part: &'static str, range: Range<u64>) -> Self {
        Self {
            image,
            part,
            at: range.start,
            range,
            window: Vec::new(),
        }
    }

    /// The bytes at an offset of the part.
    pub(super) fn array<const N: usize>(&mut self, offset: u64) -> Result<[u8; N], Why> {
        if let Some(array) = self.held(offset) {
            return Ok(array);
        }
        let start = self.range.start.saturating_add(offset);
        let length = self.range.end.saturating_sub(start).min(WINDOW as u64);
        self.window = self.image.read(self.part, start, length)?;
        self.at = start;
        self.held(offset)
            .ok_or_else(|| Why::malformed(self.part, format!("it ends before {offset:#x}")))
    }

    pub(super) fn u32(&mut self, offset: u64) -> Result<u32, Why> {
        self.array(offset).map(u32::from_le_bytes)
    }

    fn held<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        let start = self.range.start.checked_add(offset)?.checked_sub(self.at)?;
        let bytes = self.window.get(usize::try_from(start).ok()?..)?;
        bytes.first_chunk().copied()
    }
}
