//! What a profile says of a subject, held against what the subject's source says.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    chain::{Chain, Match, is_of},
    stacks::Stack,
    subjects::Subject,
};

/// Of fewer samples than these nothing can be said to a hundredth.
const FEW: u64 = 200;

/// How many must be a whole chain, with its leaf; the rest are functions further up that ran themselves.
const WHOLE: f64 = 90.0;

/// How far a share may be off, in points, where chance does not weigh more.
const TOLERANCE: f64 = 2.0;

/// How many standard errors of a share chance may weigh.
const STANDARD_ERRORS: f64 = 4.0;

/// A subject's stacks, sorted by what they are.
#[derive(Debug, Default)]
pub struct Verdict {
    pub samples: u64,
    pub whole: u64,
    pub wrong: u64,
    /// Samples that have the kernel's frames above those of user code.
    pub in_kernel: u64,
    /// The stacks that are wrong, as text.
    pub examples: BTreeMap<String, u64>,
    /// Each share in points, the source's and the profile's, and how many samples they are of.
    shares: Vec<(&'static str, f64, f64)>,
    shared: f64,
}

impl Verdict {
    /// Sorts the stacks that are the subject's.
    pub fn of<'a>(subject: &Subject, stacks: impl IntoIterator<Item = &'a Stack>) -> Result<Self> {
        let chains = subject.chains.iter().map(|chain| Chain::parse(chain));
        let chains = chains.collect::<Result<Vec<_>>>()?;
        let mut verdict = Self::default();
        let mut counts = vec![0_u64; subject.shares.len()];
        for stack in stacks {
            verdict.samples += stack.count;
            if stack.kernel > 0 {
                verdict.in_kernel += stack.count;
            }
            let frames = stack.frames();
            let best = chains.iter().map(|chain| chain.compare(&frames)).max();
            match best.unwrap_or(Match::Wrong) {
                Match::Whole => verdict.whole += stack.count,
                Match::Part => {}
                Match::Wrong => {
                    verdict.wrong += stack.count;
                    *verdict.examples.entry(stack.shown()).or_default() += stack.count;
                }
            }
            for ((function, _), count) in subject.shares.iter().zip(&mut counts) {
                if frames.iter().any(|frame| is_of(frame, function)) {
                    *count += stack.count;
                }
            }
        }
        let units: f64 = subject.shares.iter().map(|(_, units)| units).sum();
        verdict.shared = number(counts.iter().sum());
        verdict.shares = subject
            .shares
            .iter()
            .zip(counts)
            .map(|((function, of), count)| {
                let truth = of * 100.0 / units;
                (
                    *function,
                    truth,
                    number(count) * 100.0 / verdict.shared.max(1.0),
                )
            })
            .collect();
        Ok(verdict)
    }

    /// What is not as the source says, in sentences; `least` samples are needed to say anything, and of a hundred so many may be wrong as are `allowed`.
    pub fn faults(&self, least: u64, allowed: f64) -> Vec<String> {
        let mut faults = Vec::new();
        if self.samples < least {
            faults.push(format!(
                "{} samples, at least {least} are needed",
                self.samples
            ));
            return faults;
        }
        // One may be of the moment in which a thread is given its name. Of few samples chance makes two: what all subjects together show is held against the
        // same share without that.
        let chance = if self.samples < FEW { 2 } else { 1 };
        if self.wrong > chance && self.percent(self.wrong) > allowed {
            let mut examples: Vec<_> = self.examples.iter().collect();
            examples.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let examples: Vec<_> = examples
                .iter()
                .take(3)
                .map(|(stack, count)| format!("{count} of {stack}"))
                .collect();
            faults.push(format!(
                "{} of {} stacks are none of its chains: {}",
                self.wrong,
                self.samples,
                examples.join(" | ")
            ));
        } else if self.percent(self.whole) < WHOLE - allowed {
            faults.push(format!(
                "{} of {} stacks reach a leaf",
                self.whole, self.samples
            ));
        }
        let off = |(_, truth, ours): &&(_, f64, f64)| self.is_off(*truth, *ours);
        faults.extend(
            self.shares
                .iter()
                .filter(off)
                .map(|(function, truth, ours)| {
                    format!(
                        "{function} has {ours:.1} % of {}, not {truth:.1}",
                        self.shared
                    )
                }),
        );
        faults
    }

    /// Where its shares differ from those that another profiler has seen.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = self.shares.iter().zip(&other.shares);
        pairs
            .filter(|((_, _, ours), (_, _, theirs))| {
                // Chance is in both.
                let of = 1.0 / (1.0 / self.shared.max(1.0) + 1.0 / other.shared.max(1.0));
                (ours - theirs).abs() > bound(*theirs, of)
            })
            .map(|((function, _, ours), (_, _, theirs))| {
                format!("{function} has {ours:.1} %, {theirs:.1} % by perf")
            })
            .collect()
    }

    fn is_off(&self, truth: f64, ours: f64) -> bool {
        (ours - truth).abs() > bound(truth, self.shared)
    }

    fn percent(&self, of: u64) -> f64 {
        number(of) * 100.0 / number(self.samples).max(1.0)
    }

    /// Percent of the stacks that are as the source says.
    pub fn right_percent(&self) -> f64 {
        self.percent(self.samples - self.wrong)
    }

    /// As facts of the report.
    pub fn facts(&self) -> Value {
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let shares: Vec<_> = self
            .shares
            .iter()
            .map(|(_, truth, ours)| json!([rounded(*truth), rounded(*ours)]))
            .collect();
        let mut facts = json!({ "samples": self.samples, "right": rounded(self.right_percent()) });
        if !shares.is_empty() {
            facts["shares"] = shares.into();
        }
        facts
    }
}

/// How far from `truth` a share of `samples` samples may be, in points.
fn bound(truth: f64, samples: f64) -> f64 {
    let error = (truth * (100.0 - truth) / samples.max(1.0)).sqrt();
    TOLERANCE.max(STANDARD_ERRORS * error)
}

/// A count as a number; counts of samples are far below what a float holds exactly.
fn number(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{stacks::folded, subjects::SUBJECTS},
        *,
    };

    fn deep(leaf: &str, count: u64) -> String {
        let levels: Vec<_> = (1..=20).map(|level| format!("level_{level:02}")).collect();
        format!(
            "chain-deep;_start;main;{};{leaf} {count}\n",
            levels.join(";")
        )
    }

    fn verdict(text: &str) -> Verdict {
        let subject = &SUBJECTS[0];
        assert_eq!(subject.comm, "chain-deep");
        Verdict::of(subject, &folded(text).expect("stacks")).expect("chains")
    }

    #[test]
    fn a_profile_as_the_source_has_it_has_no_fault() {
        let text = [
            deep("half", 5000),
            deep("three_tenths", 3010),
            deep("two_tenths", 1990),
        ]
        .concat();
        let verdict = verdict(&text);
        assert_eq!(verdict.faults(10, 1.0), Vec::<String>::new());
        assert_eq!(
            (verdict.samples, verdict.whole, verdict.wrong),
            (10_000, 10_000, 0)
        );
    }

    #[test]
    fn broken_stacks_and_shares_that_are_off_are_faults() {
        let text = [
            deep("half", 9000),
            deep("three_tenths", 3000),
            deep("two_tenths", 2000),
            "chain-deep;[unknown];half 1000\n".to_owned(),
        ]
        .concat();
        let faults = verdict(&text).faults(10, 1.0).join("\n");
        assert!(faults.contains("1000 of 15000 stacks are none"), "{faults}");
        assert!(faults.contains("1000 of [unknown];half"), "{faults}");
        assert!(faults.contains("half has 66.7 %"), "{faults}");
    }

    #[test]
    fn stacks_that_never_reach_a_leaf_are_a_fault() {
        let text = "chain-deep;_start;main;level_01 100\n";
        assert!(verdict(text).faults(10, 1.0)[0].contains("0 of 100 stacks reach a leaf"));
    }

    #[test]
    fn too_few_samples_say_nothing() {
        assert!(verdict(&deep("half", 3)).faults(10, 1.0)[0].contains("at least 10"));
    }

    #[test]
    fn two_profilers_may_differ_by_chance_only() {
        let ours = verdict(
            &[
                deep("half", 5000),
                deep("three_tenths", 3000),
                deep("two_tenths", 2000),
            ]
            .concat(),
        );
        let few = verdict(
            &[
                deep("half", 7),
                deep("three_tenths", 2),
                deep("two_tenths", 1),
            ]
            .concat(),
        );
        assert!(ours.differences(&few).is_empty());
        let off = verdict(
            &[
                deep("half", 6000),
                deep("three_tenths", 2000),
                deep("two_tenths", 2000),
            ]
            .concat(),
        );
        assert_eq!(ours.differences(&off).len(), 2);
    }
}
