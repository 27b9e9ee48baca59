//! What the kernel programs counted, and what came out of the rings.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use fathom_abi::counters::NetCounter;

use crate::{
    probes::net::Net,
    telemetry::{Events, events::Stage},
};

/// What the kernel programs counted, and what came out of the rings.
pub(super) fn register_taps(events: &Events, net: &Net, read: &Arc<Read>) {
    let counters = Arc::clone(&net.counters);
    events.register(Stage::Tap, "messages", move |give| {
        let count = |counter| counters.get(counter);
        // The losses first: a record that is attempted between the two reads is not yet lost.
        let full = count(NetCounter::MessageRingFull);
        let attempted = count(NetCounter::MessageAttempted);
        give("delivered", attempted.saturating_sub(full));
        give("ring_full", full);
        give("unreadable_buffer", count(NetCounter::UnreadableBuffer));
        give("no_buffer", count(NetCounter::NoBuffer));
    });
    let counters = Arc::clone(&net.counters);
    let flow_misses = Arc::clone(&net.misses);
    events.register(Stage::Tap, "flows", move |give| {
        let full = counters.get(NetCounter::FlowRingFull);
        let attempted = counters.get(NetCounter::FlowAttempted);
        give("delivered", attempted.saturating_sub(full));
        give("ring_full", full);
        give("recursion", flow_misses.flows());
    });
    let counters = Arc::clone(&net.counters);
    // Resets on no connection that is known, such as the answers of closed ports: what they belong to can't be told.
    events.register(Stage::Tap, "resets", move |give| {
        give("unbound", counters.get(NetCounter::ResetUnbound));
    });
    let counters = Arc::clone(&net.counters);
    let misses = Arc::clone(&net.misses);
    events.register(Stage::Tap, "io", move |give| {
        for counter in [
            NetCounter::ConnectionsFull,
            NetCounter::InflightFull,
            NetCounter::ReturnMissed,
            NetCounter::Interrupted,
            NetCounter::ActiveFull,
            NetCounter::GivenUp,
            NetCounter::FramingsFull,
            NetCounter::FramesLost,
            NetCounter::TlsUnbound,
            NetCounter::TlsBusy,
            NetCounter::TlsCallsFull,
            NetCounter::TlsObjectsFull,
        ] {
            give(counter.name(), counters.get(counter));
        }
        give("recursion", misses.calls());
        give("delivered", counters.get(NetCounter::IoSeen));
    });
    let misses = Arc::clone(&net.misses);
    // accept(2) and connect(2): what is kept of them is seen by what comes of the connection, later and without the time that it took.
    events.register(Stage::Tap, "socket_calls", move |give| {
        give("recursion", misses.socket_calls());
    });
    let counters = Arc::clone(&net.counters);
    // Calls of TLS libraries whose connection is known, each of them on top of the socket's.
    events.register(Stage::Tap, "tls_calls", move |give| {
        give("delivered", counters.get(NetCounter::TlsSeen));
    });
    let messages = Arc::clone(read);
    events.register(Stage::Ring, "messages", move |give| {
        give("delivered", messages.messages.load(Ordering::Relaxed));
    });
    let flows = Arc::clone(read);
    events.register(Stage::Ring, "flows", move |give| {
        give("delivered", flows.flows.load(Ordering::Relaxed));
    });
}

/// Records that came out of the rings.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) messages: AtomicU64,
    pub(super) flows: AtomicU64,
}
