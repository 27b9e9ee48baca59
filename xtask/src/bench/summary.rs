//! From pairs of runs to a row of the report.

use fathom_scenarios::pairs::{AgentSample, Pair, Sample};

use super::{report::Row, statistics::Spread};

const MICRO: f64 = 1e6;

/// The row of some pairs.
pub fn summary(name: &str, pairs: &[Pair]) -> Row {
    let cpu = |sample: &Sample| sample.application_cpu / sample.requests * MICRO;
    let agents = || {
        pairs
            .iter()
            .filter_map(|pair| Some((&pair.on, pair.on.agent.as_ref()?)))
    };
    let of_agents =
        |read: fn(&AgentSample) -> Option<f64>| agents().filter_map(move |(_, agent)| read(agent));
    Row {
        name: name.to_owned(),
        refused: None,
        requests_per_second_off: Spread::of(pairs.iter().map(|pair| pair.off.per_second)),
        throughput_ratio: Spread::of(
            pairs
                .iter()
                .map(|pair| pair.on.per_second / pair.off.per_second),
        ),
        application_cpu_off_us: Spread::of(pairs.iter().map(|pair| cpu(&pair.off))),
        application_cpu_on_us: Spread::of(pairs.iter().map(|pair| cpu(&pair.on))),
        agent_cpu_us: Spread::of(agents().map(|(on, agent)| agent.cpu / on.requests * MICRO)),
        agent_core_percent: Spread::of(
            agents().map(|(on, agent)| agent.cpu / (on.requests / on.per_second) * 100.0),
        ),
        resident_mib: Spread::of(of_agents(|agent| Some(mebibytes(agent.resident)))),
        map_mib: Spread::of(of_agents(|agent| Some(agent.maps? / f64::from(1 << 20)))),
        lost_events: Spread::of(of_agents(|agent| agent.lost)),
        seen_percent: Spread::of(
            agents().filter_map(|(on, agent)| Some(agent.seen? / on.requests * 100.0)),
        ),
        ready_seconds: Spread::of(of_agents(|agent| Some(agent.ready))),
    }
}

/// Bytes as MiB; kibibytes are exact enough and fit.
fn mebibytes(bytes: u64) -> f64 {
    u32::try_from(bytes >> 10).map_or(f64::INFINITY, |kibibytes| f64::from(kibibytes) / 1024.0)
}

#[cfg(test)]
mod tests {
    use fathom_scenarios::pairs::{AgentSample, Pair, Sample};

    use super::summary;

    fn sample(requests: f64, agent: Option<AgentSample>) -> Sample {
        Sample {
            requests,
            per_second: requests / 4.0,
            application_cpu: 2.0,
            agent,
        }
    }

    #[test]
    fn a_row_is_the_medians_of_its_pairs() {
        let agent = AgentSample {
            cpu: 0.2,
            resident: 3 << 20,
            maps: None,
            lost: Some(7.0),
            seen: Some(1998.0),
            ready: 0.5,
        };
        let pair = |on| Pair {
            on: sample(on, Some(agent.clone())),
            off: sample(4000.0, None),
        };
        let row = summary("net, fentry", &[pair(2000.0), pair(2000.0), pair(1000.0)]);
        let median = |spread: Option<super::Spread>| spread.map(|spread| spread.median);
        assert_eq!(median(row.requests_per_second_off), Some(1000.0));
        assert_eq!(median(row.throughput_ratio), Some(0.5));
        assert_eq!(row.throughput_ratio.map(|ratio| ratio.least), Some(0.25));
        assert_eq!(median(row.application_cpu_off_us), Some(500.0));
        assert_eq!(median(row.application_cpu_on_us), Some(1000.0));
        assert_eq!(median(row.agent_cpu_us), Some(100.0));
        assert_eq!(median(row.agent_core_percent), Some(5.0));
        assert_eq!(median(row.resident_mib), Some(3.0));
        assert_eq!(median(row.map_mib), None);
        assert_eq!(median(row.lost_events), Some(7.0));
        assert_eq!(median(row.seen_percent), Some(99.9));
    }

    #[test]
    fn runs_without_an_agent_have_nothing_to_say_of_one() {
        let off = || sample(4000.0, None);
        let row = summary(
            "nothing (noise)",
            &[Pair {
                on: off(),
                off: off(),
            }],
        );
        assert_eq!(row.throughput_ratio.map(|ratio| ratio.median), Some(1.0));
        assert_eq!(row.agent_cpu_us, None);
        assert_eq!(row.lost_events, None);
    }
}
