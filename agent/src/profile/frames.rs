//! Whose frames go into a profile.

use fathom_abi::sample::UserEnd;

use super::{backtraces::Backtrace, record::Sample};

/// Whose frames go into a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frames {
    /// The kernel's and the user's.
    #[default]
    All,
    /// Only the user's: what the kernel does counts where it was asked to.
    User,
    /// Only the kernel's.
    Kernel,
}

impl Frames {
    /// Leaves what is needed of a sample to find the frames that are wanted; whether there can be any.
    pub(super) fn trim(self, sample: &mut Sample) -> bool {
        // A user stack is known only once it is unwound, and what kind of stack it is goes by the kernel's frames, too.
        if self != Self::Kernel {
            return true;
        }
        sample.frames = sample.frames[..sample.kernel_frames].into();
        // As if it were a thread of the kernel's own: nothing is missing.
        sample.end = UserEnd::KernelThread;
        sample.stopped = None;
        !sample.frames.is_empty()
    }

    /// Leaves only the frames that are wanted of a stack that is as whole as it gets; whether any is left.
    pub(super) fn keep(self, backtrace: &mut Backtrace) -> bool {
        if self != Self::User {
            return true;
        }
        let sample = &mut backtrace.sample;
        sample.frames = sample.user_frames().into();
        sample.kernel_frames = 0;
        !sample.frames.is_empty()
    }
}
