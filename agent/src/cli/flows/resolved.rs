//! What addresses are called, by the answers that processes got while the watch lasts.

use std::{num::NonZeroUsize, sync::Arc};

use crate::{
    cli::live::{Live, Ring},
    l7::dns::Lookups,
    net::{Names, names},
};

/// Sockets and numbers of queries that are waited for.
const QUERIES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The lookups of the node's processes.
pub(super) struct Resolved {
    lookups: Lookups,
    names: Arc<Names>,
}

impl Resolved {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            lookups: Lookups::new(QUERIES),
            names: Arc::new(Names::new(names::Limits::default())),
        }
    }

    /// What is known, and will be.
    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    /// Takes what the ring holds. To be called before the flows are taken: a process connects after it was told where to.
    pub(super) fn drain(&mut self, live: &mut Live) {
        let Self { lookups, names } = self;
        live.drain(Ring::Dns, |record| {
            lookups.record(record, &mut |lookup| lookup.name(names));
        });
    }
}
