//! What a server pays for fathom, as runs in pairs: one with the agent on, one with it off.

use serde::{Deserialize, Serialize};

/// What one run of a load gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Requests that were answered.
    pub requests: f64,
    /// The same, each second.
    pub per_second: f64,
    /// CPU seconds of the application that answered.
    pub application_cpu: f64,
    /// What the agent took; none where it was off.
    pub agent: Option<AgentSample>,
}

/// What an agent that watched a run took. A count is none where the agent's metrics lack it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSample {
    /// CPU seconds.
    pub cpu: f64,
    /// Bytes of resident memory, without its maps.
    pub resident: u64,
    /// Bytes of its BPF maps.
    pub maps: Option<f64>,
    /// Events that some stage lost, by its own count.
    pub lost: Option<f64>,
    /// Requests that it saw being served.
    pub seen: Option<f64>,
    /// Seconds from its start until it was ready.
    pub ready: f64,
}

/// Two runs, one right after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The run with the agent on.
    pub on: Sample,
    /// The run with it off.
    pub off: Sample,
}

impl Pair {
    /// Takes `count` pairs, on/off then off/on (ABBA), so that a drift of the machine falls on both. `sample` is told whether
    /// the agent is on.
    pub fn take<E>(
        count: u32,
        mut sample: impl FnMut(bool) -> Result<Sample, E>,
    ) -> Result<Vec<Self>, E> {
        (0..count)
            .map(|pair| {
                let on_first = pair % 2 == 0;
                let (first, second) = (sample(on_first)?, sample(!on_first)?);
                let (on, off) = if on_first {
                    (first, second)
                } else {
                    (second, first)
                };
                Ok(Self { on, off })
            })
            .collect()
    }
}

/// What `scenario price` prints, on one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Price {
    /// The pairs, in the order in which they were taken.
    Measured(Vec<Pair>),
    /// Why this kernel cannot have the tap.
    NotHere(String),
}

#[cfg(test)]
mod tests {
    use super::{Pair, Sample};

    #[test]
    fn on_and_off_take_turns_in_being_first() {
        let mut order = Vec::new();
        let pairs = Pair::take(3, |on| -> Result<_, ()> {
            order.push(on);
            Ok(Sample {
                requests: f64::from(u8::from(on)),
                per_second: 1.0,
                application_cpu: 0.0,
                agent: None,
            })
        })
        .expect("no errors");
        assert_eq!(order, [true, false, false, true, true, false]);
        assert!(
            pairs
                .iter()
                .all(|pair| pair.on.requests > pair.off.requests)
        );
    }

    #[test]
    fn an_error_ends_it() {
        let mut runs = 0;
        let taken = Pair::take(3, |_| {
            runs += 1;
            Err("no server")
        });
        assert_eq!((taken, runs), (Err("no server"), 1));
    }
}
