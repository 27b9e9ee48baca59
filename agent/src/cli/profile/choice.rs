//! Which samples, and what of them, a session keeps.

use fathom_abi::sample::UserEnd;

use super::{
    Args,
    requests::Requests,
    selection::{Selection, Subject},
};
use crate::{
    probes::mappings::Event,
    profile::{Item, Profiler, Sample},
};

/// Whose frames are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frames {
    All,
    User,
    Kernel,
}

/// What a session keeps.
pub(super) struct Choice {
    pub(super) selection: Selection,
    frames: Frames,
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
            Item::Sample(mut sample) => {
                if self.wants(&mut sample) {
                    profiler.sample(sample);
                }
            }
            Item::Malformed => profiler.malformed(),
        }
    }

    fn wants(&mut self, sample: &mut Sample) -> bool {
        let subject = Subject {
            tgid: sample.tgid,
            space: sample.space,
            comm: sample.comm,
        };
        if !self.selection.wants(subject) || !self.frames.keep(sample) {
            return false;
        }
        match (&self.requests, sample.exchange) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(requests), Some(exchange)) => requests.sampled(exchange, sample.at_ns),
        }
    }
}

impl Frames {
    /// Leaves only the frames that are wanted; whether any is left.
    fn keep(self, sample: &mut Sample) -> bool {
        let kernel_frames = sample.kernel_frames;
        match self {
            Self::All => return true,
            Self::User => {
                sample.frames = sample.frames[kernel_frames..].into();
                sample.kernel_frames = 0;
            }
            Self::Kernel => {
                sample.frames = sample.frames[..kernel_frames].into();
                // As if it were a thread of the kernel's own: nothing is missing.
                sample.end = UserEnd::KernelThread;
                sample.stopped = None;
            }
        }
        !sample.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            at_ns: 1,
            exchange: None,
            tgid: 2,
            tid: 2,
            comm: [0; 16],
            kernel_frames: 2,
            frames: [1, 2, 3].into(),
            space: 7,
            end: UserEnd::Root,
            stopped: None,
        }
    }

    #[test]
    fn only_the_frames_that_are_wanted_are_left() {
        let mut all = sample();
        assert!(Frames::All.keep(&mut all));
        assert_eq!(all, sample());
        let mut user = sample();
        assert!(Frames::User.keep(&mut user));
        assert_eq!((user.kernel_frames, &*user.frames), (0, &[3][..]));
        let mut kernel = sample();
        assert!(Frames::Kernel.keep(&mut kernel));
        assert_eq!((kernel.kernel_frames, &*kernel.frames), (2, &[1, 2][..]));
        assert!(!Frames::User.keep(&mut kernel), "none is left");
    }
}
