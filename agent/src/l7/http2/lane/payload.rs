//! A frame's payload as it goes by.

use super::super::frame::Header;

/// The frame whose payload comes now.
pub(super) struct Frame {
    pub(super) header: Header,
    /// Bytes of the payload still to come.
    pub(super) left: u32,
    /// Bytes at the start of the payload that are no body: those that are here, and all.
    pub(super) have: usize,
    pub(super) want: usize,
    pub(super) fixed: [u8; 8],
    /// Bytes of padding at the end.
    pub(super) padding: u32,
    /// Bytes of `fixed` were not captured.
    pub(super) unclear: bool,
}

impl Frame {
    pub(super) fn new(header: Header) -> Self {
        Self {
            header,
            left: header.length,
            have: 0,
            want: header.fixed() as usize,
            fixed: [0; 8],
            padding: 0,
            unclear: false,
        }
    }

    /// Four bytes of `fixed`.
    pub(super) fn word(&self, at: usize) -> u32 {
        self.fixed[at..at + 4]
            .iter()
            .fold(0, |word, &byte| word << 8 | u32::from(byte))
    }

    /// Bytes still to come that are neither fixed fields nor padding.
    pub(super) fn body_left(&self) -> usize {
        self.left.saturating_sub(self.padding) as usize
    }
}
