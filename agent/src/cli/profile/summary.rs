//! What is said of a profile at its end.

use std::{cmp::Reverse, fmt::Write as _, time::Duration};

use super::{
    say::say,
    session::{CpuTime, Finished, cpu_time},
};
use crate::{
    cli::{text, usage},
    probes::profile::Busy,
    profile::{Frames, StackQuality},
};

/// Of fewer ticks it can't be said how many did not come.
const LEAST_TICKS: u64 = 100;

impl Finished {
    /// Prints how many samples there are, and how good they are.
    pub(super) fn print(&self) {
        let quality = &self.quality;
        say!(
            "{} samples of {} processes in {:.1} s ({} Hz on {} CPUs), {} lost",
            quality.samples,
            self.processes,
            self.seconds,
            self.frequency,
            self.cpus,
            self.lost
        );
        let Busy { came, expected } = self.busy;
        let missed = expected.saturating_sub(came);
        // Fewer are the measurement's own error.
        if expected >= LEAST_TICKS && missed * 10 > expected {
            say!(
                "{} of the ticks of busy CPUs did not come (about {missed} of {expected}): they stood still, or were in the midst of other programs of the kernel's, which no sampler sees",
                percent(missed, expected)
            );
        }
        if self.events_lost > 0 {
            say!(
                "{} records of what processes did were lost: what they have mapped was read again",
                self.events_lost
            );
        }
        if self.undecided > 0 {
            say!(
                "{} samples of processes that had ended before it was known whether they are wanted",
                self.undecided
            );
        }
        if let Some(frameless) = self.frameless() {
            say!("{frameless}, and are left out");
        }
        if self.served.open > 0 {
            say!(
                "{} requests that were sampled had not ended yet: their samples are left out",
                self.served.open
            );
        }
        if self.served.refused > 0 {
            say!(
                "{} samples are left out because too many requests were sampled to be remembered; sample for a shorter time",
                self.served.refused
            );
        }
        if self.served.passed.untold > 0 {
            say!(
                "{} requests that were sampled are left out: it is not known which thread of their program serves which",
                self.served.passed.untold
            );
        }
        say!(
            "{} in user code, {} in the kernel; {} of the frames have a name",
            percent(quality.in_user, quality.samples),
            percent(quality.in_kernel, quality.samples),
            percent(quality.frames - quality.unnamed, quality.frames),
        );
        let mut by_stack: Vec<_> = StackQuality::ALL
            .iter()
            .map(|&stack| (quality.of(stack), stack.name()))
            .filter(|&(samples, _)| samples > 0)
            .collect();
        by_stack.sort_by_key(|&(samples, _)| Reverse(samples));
        let shares: Vec<_> = by_stack
            .into_iter()
            .map(|(samples, name)| format!("{} {name}", percent(samples, quality.samples)))
            .collect();
        say!("stacks: {}", shares.join(", "));
        say!("{}", self.price());
    }

    /// The samples that had no frame that was wanted, if there are any.
    pub(super) fn frameless(&self) -> Option<String> {
        let whose = match self.frames {
            Frames::User => "user's",
            _ => "kernel's",
        };
        (self.frameless > 0)
            .then(|| format!("{} samples had no frame of the {whose}", self.frameless))
    }

    /// What sampling itself has taken.
    fn price(&self) -> String {
        // Of the time while it sampled: making tables before and names after has no length that it could be a share of.
        let of_a_core = |time: Duration| time.as_secs_f64() * 100.0 / self.seconds;
        let CpuTime { before, sampling } = self.cpu;
        let after = cpu_time().saturating_sub(before + sampling);
        let mut price = format!(
            "fathom took {:.1} % of a core ({:.2} s, {:.2} s before and {:.2} s for names after) and {} at most",
            of_a_core(sampling),
            sampling.as_secs_f64(),
            before.as_secs_f64(),
            after.as_secs_f64(),
            text::size(usage::peak_bytes() as f64)
        );
        if let Some((time, runs @ 1..)) = self.programs {
            let microseconds = time.as_secs_f64() * 1e6 / runs as f64;
            let _ = write!(
                price,
                "; its program in the kernel {microseconds:.1} µs a tick ({:.2} % of a core)",
                of_a_core(time)
            );
        }
        price
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    // Shown to a tenth of a percent: what a float can't hold of a count is not seen.
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}
