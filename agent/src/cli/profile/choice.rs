//! Which samples, and what of them, a session keeps.

use super::{
    Args,
    requests::Requests,
    selection::{Selection, Subject},
};
use crate::{
    probes::mappings::Event,
    profile::{Frames, Item, Profiler, Sample},
};

/// What a session keeps.
pub(super) struct Choice {
    pub(super) selection: Selection,
    /// Whose frames.
    pub(super) frames: Frames,
    /// What ran for no request is not wanted, where there is this.
    pub(super) requests: Option<Requests>,
}

impl Choice {
    /// By the flags.
    pub(super) fn new(args: &Args, selection: Selection, requests: Option<Requests>) -> Self {
        Self {
            selection,
            frames: match (args.user, args.kernel) {
                (true, _) => Frames::User,
                (false, true) => Frames::Kernel,
                (false, false) => Frames::All,
            },
            requests,
        }
    }

    /// Whether anybody asks how user stacks go on.
    pub(super) fn wants_user_frames(&self) -> bool {
        self.frames != Frames::Kernel
    }

    /// Hands on what is wanted.
    pub(super) fn take(&mut self, profiler: &mut Profiler, item: Item<'_>) {
        match item {
            Item::Event(at_ns, event) => {
                if let (Event::Forked { pid, parent }, Some(family)) =
                    (&event, self.selection.family())
                {
                    family.forked(*pid, *parent);
                }
                profiler.event(at_ns, &event);
            }
            Item::Sample(sample) => {
                if self.wants(&sample) {
                    profiler.sample(sample);
                }
            }
            Item::Malformed => profiler.malformed(),
        }
    }

    fn wants(&mut self, sample: &Sample) -> bool {
        let subject = Subject {
            tgid: sample.tgid,
            space: sample.space,
            comm: sample.comm,
        };
        if !self.selection.wants(subject) {
            return false;
        }
        match (&self.requests, sample.exchange) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(requests), Some(exchange)) => requests.sampled(exchange, sample.at_ns),
        }
    }
}
