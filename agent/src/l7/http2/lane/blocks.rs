//! The header blocks of one direction. HPACK makes each depend on all that were before, so that all are read, whatever their stream.

use super::super::{
    fault::Fault,
    frame::{Header, flag, kind},
    head::Head,
    hearer::Sink,
};
use crate::l7::hpack;

/// A buffer of this size is kept from one header block to the next.
const KEPT_FIELD: usize = 256;

/// The header block that is open.
struct Block {
    stream: u32,
    end_stream: bool,
    promise: bool,
    /// Bytes of its frames' payloads.
    bytes: u64,
    /// A part of it was not captured.
    poisoned: bool,
}

/// The decoder of a direction's blocks, and the block that is open.
pub(super) struct Blocks {
    hpack: hpack::Decoder,
    block: Option<Block>,
    head: Head,
    /// The start of a field that was cut.
    field: Vec<u8>,
}

impl Blocks {
    pub(super) fn new(hpack: hpack::Decoder) -> Self {
        Self {
            hpack,
            block: None,
            head: Head::default(),
            field: Vec::new(),
        }
    }

    /// The stream of a block that is not whole.
    pub(super) fn open_stream(&self) -> Option<u32> {
        let block = self.block.as_ref().filter(|block| !block.promise)?;
        Some(block.stream)
    }

    /// A frame starts, which may start a block or go on with one. Nothing else may come before a block is whole (RFC 9113 section
    /// 4.3). The first frame that is seen of a connection may go on with a block whose start was not.
    pub(super) fn frame(&mut self, header: &Header, fresh: bool) -> Result<(), Fault> {
        match (&mut self.block, header.kind) {
            (Some(block), kind::CONTINUATION) if block.stream == header.stream => {
                block.bytes += u64::from(header.length);
            }
            (None, kind::CONTINUATION) if fresh => {
                self.open(header);
                self.poison();
            }
            (Some(_), _) | (None, kind::CONTINUATION) => return Err(Fault::Interrupted),
            (None, kind::HEADERS | kind::PUSH_PROMISE) => self.open(header),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, header: &Header) {
        self.block = Some(Block {
            stream: header.stream,
            end_stream: header.kind == kind::HEADERS && header.has(flag::END_STREAM),
            promise: header.kind == kind::PUSH_PROMISE,
            bytes: u64::from(header.length),
            poisoned: false,
        });
        self.hpack.begin();
        self.field.clear();
    }

    /// A part of the open block is missing: what it did to the table is not known.
    pub(super) fn poison(&mut self) {
        if let Some(block) = &mut self.block {
            block.poisoned = true;
        }
        self.head.cut();
        self.hpack = hpack::Decoder::joined();
        self.field.clear();
    }

    /// A part of the open header block.
    pub(super) fn fragment(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        /// How much is put behind the start of a field at a time.
        const STEP: usize = 1024;
        if self.block.as_ref().is_none_or(|block| block.poisoned) {
            return Ok(());
        }
        let head = &mut self.head;
        let mut visit = |name, value: Option<&[u8]>| head.field(name, value);
        while !self.field.is_empty() && !bytes.is_empty() {
            let before = self.field.len();
            let (step, rest) = bytes.split_at(bytes.len().min(STEP));
            self.field.extend_from_slice(step);
            let used = self.hpack.decode(&self.field, &mut visit)?;
            if used == 0 {
                bytes = rest;
            } else {
                // What was there before was no whole field, so that more than that was used.
                bytes = &bytes[used.saturating_sub(before)..];
                self.field.clear();
            }
        }
        if self.field.is_empty() {
            let used = self.hpack.decode(bytes, &mut visit)?;
            self.field.extend_from_slice(&bytes[used..]);
        }
        Ok(())
    }

    /// The block is whole. Says whether it was a request's or an answer's head for certain.
    pub(super) fn end(&mut self, sink: &mut impl Sink) -> Result<bool, Fault> {
        let Some(block) = self.block.take() else {
            return Ok(false);
        };
        if !block.poisoned {
            self.hpack.end(self.field.len())?;
        }
        if self.field.capacity() > KEPT_FIELD {
            self.field = Vec::new();
        }
        if block.promise {
            self.head.clear();
            sink.promise()?;
            return Ok(false);
        }
        let is_certain = self.head.is_request().is_some();
        sink.head(block.stream, &mut self.head, block.bytes)?;
        // Texts that nobody took are not kept.
        self.head.clear();
        if block.end_stream {
            sink.end_stream(block.stream);
        }
        Ok(is_certain)
    }
}
