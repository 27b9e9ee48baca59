//! Keeps book of what a decoder tells: whatever the records, each request starts once, and then is open, dropped or an exchange.

use std::collections::HashMap;

use crate::l7::{
    Listener,
    exchange::{Exchange, ExchangeKey, Started, Step},
};

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) exchanges: Vec<Exchange>,
    /// Requests that are open, and whether they are answered.
    pub(super) open: HashMap<ExchangeKey, (Started, bool)>,
    pub(super) dropped: u64,
}

impl Listener for Ledger {
    fn open(&mut self, request: &Started, step: Step) {
        match step {
            Step::Started => {
                let answered = false;
                let before = self.open.insert(request.key, (request.clone(), answered));
                if let Some((before, answered)) = before {
                    // More of its head was read.
                    assert!(!answered && before.request.partial, "{request:?}");
                    assert_eq!(before.side, request.side);
                    assert_eq!(before.request.thread, request.request.thread);
                }
            }
            Step::Answered { at_ns, .. } => {
                let (started, answered) = self.open.get_mut(&request.key).expect("started");
                assert!(!*answered, "answered twice: {request:?}");
                assert!(at_ns >= started.request.start_ns);
                *answered = true;
            }
            Step::Dropped => {
                assert!(self.open.remove(&request.key).is_some(), "{request:?}");
                self.dropped += 1;
            }
        }
    }

    fn exchange(&mut self, exchange: Exchange) {
        let (started, answered) = self.open.remove(&exchange.key).expect("started");
        let request = started.request;
        assert_eq!(
            (started.side, request.thread.tgid, request.thread.tid),
            (exchange.side, exchange.thread.tgid, exchange.thread.tid)
        );
        assert_eq!(request.start_ns, exchange.start_ns);
        assert_eq!(
            (request.parent, request.trace_state),
            (exchange.parent, exchange.trace_state.clone())
        );
        assert_eq!(answered, exchange.status.is_ok(), "{exchange:?}");
        self.exchanges.push(exchange);
    }
}
