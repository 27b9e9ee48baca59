//! Messages that were seen ahead of the one before them.
//!
//! The tap sees calls when they return. One that sends may return late, where its task is preempted, and the other end's answer to it be
//! read by another thread meanwhile. The tap notices, and numbers both as they were; the answer waits here for what it answers.

use fathom_abi::message::{MAX_CAPTURE, MessageEvent, MessageKind};

use super::Connection;
use crate::l7::{
    counts::RecordOutcome,
    decoder::out::{Listener, Out},
    record::Record,
};

/// The records of a message that waits for the one before it.
pub(super) struct Held {
    /// Its number.
    message: u32,
    records: Vec<Vec<u8>>,
}

impl Connection {
    /// A message starts that has overtaken the one before it.
    pub(in crate::l7::decoder) fn ahead<E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let event = &record.event;
        if event.message != self.message.wrapping_add(2) {
            return self.head(record, out);
        }
        self.held = Some(Box::new(Held {
            message: event.message,
            records: vec![Record::encode(event, record.data)],
        }));
        RecordOutcome::Delivered
    }

    /// The message that was overtaken.
    pub(in crate::l7::decoder) fn overtaken<E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> RecordOutcome {
        let Some(ahead) = self
            .held
            .as_ref()
            .and_then(|held| Record::decode(held.records.first()?))
            .map(|ahead| ahead.event)
        else {
            // The record of what has overtaken it is missing, and with it the totals of the message before both.
            return RecordOutcome::OutOfOrder;
        };
        if record.event.message != self.message.wrapping_add(1) {
            return RecordOutcome::OutOfOrder;
        }
        let event = MessageEvent {
            // It was over before the answer to it came.
            at_ns: record.event.at_ns.min(ahead.at_ns),
            previous_bytes: ahead.previous_bytes,
            previous_last_ns: ahead.previous_last_ns,
            ..record.event
        };
        let outcome = self.head(
            &Record {
                event,
                data: record.data,
            },
            out,
        );
        // More of a long head follows.
        if record.data.len() < MAX_CAPTURE {
            self.settle(out);
        }
        outcome
    }

    /// Takes in what waits, unless this record may be about it, or about what it waits for. Returns whether the record is to wait as well.
    pub(in crate::l7::decoder) fn waits<E: Listener>(
        &mut self,
        record: &Record<'_>,
        out: &mut Out<'_, E>,
    ) -> bool {
        let Some(held) = &mut self.held else {
            return false;
        };
        let event = &record.event;
        match event.kind {
            MessageKind::OVERTAKEN => {}
            MessageKind::MORE if event.message == held.message => {
                held.records.push(Record::encode(event, record.data));
                return true;
            }
            MessageKind::MORE if event.message == self.message => {}
            _ => self.settle(out),
        }
        false
    }

    /// Takes in what waits, whether or not what it waits for has come.
    pub(super) fn settle<E: Listener>(&mut self, out: &mut Out<'_, E>) {
        let Some(held) = self.held.take() else {
            return;
        };
        for mut record in held
            .records
            .iter()
            .filter_map(|bytes| Record::decode(bytes))
        {
            let event = &mut record.event;
            if event.kind == MessageKind::MORE {
                self.more(&record, out);
                continue;
            }
            event.kind = MessageKind::HEAD;
            if event.message == self.message.wrapping_add(1) {
                event.previous_bytes = self.bytes;
                event.previous_last_ns = self.touched_ns.min(event.at_ns);
            }
            self.head(&record, out);
        }
    }
}
