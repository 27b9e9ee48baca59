//! Which flows are wanted: the flags of `fathom flows`, and the rules of the configuration.

pub mod parse;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;

use super::flows::{Change, Flow, Outcome};

/// A choice of flows. Of each list one entry has to fit, and all that is given has to; what is empty fits every flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Processes, in the initial pid namespace.
    pub pids: Vec<u32>,
    /// Services or names of processes (`comm`), exactly.
    pub processes: Vec<String>,
    /// Ports of either end, or of where the connection really goes.
    pub ports: Vec<u16>,
    /// Networks that either end is in, or where the connection really goes.
    pub addresses: Vec<IpNet>,
    /// What the connection came to.
    pub states: Vec<State>,
    /// The connect, the wait for accept(2) or the smoothed round trip took longer than this.
    pub slower_than: Option<Duration>,
    /// Only what [`has_failed`].
    pub failed: bool,
}

/// What a connection came to: the words that users read as `what` and as `outcome`. Where both have one, `closed` and `failed`, it is that of `what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is open, or has just been opened.
    Open,
    /// It was open and is over, in whatever way.
    Closed,
    /// It was never established, for whatever reason.
    Failed,
    /// It is over, and its end was not seen.
    Lost,
    /// It has ended in this way.
    Ended(Outcome),
}

impl State {
    fn fits(self, flow: &Flow) -> bool {
        match self {
            Self::Open => !flow.change.is_end(),
            Self::Closed => matches!(flow.change, Change::Closed | Change::Lost),
            Self::Failed => flow.change == Change::ConnectFailed,
            Self::Lost => flow.change == Change::Lost,
            Self::Ended(outcome) => flow.outcome == Some(outcome),
        }
    }
}

/// Whether a connection ended otherwise than in order: it was never established, or was reset by either end, timed out, or went with a process that was
/// killed. A connect that its own process gave up counts, as that is how the time limits of most programs end; an end that nobody saw does not.
pub fn has_failed(flow: &Flow) -> bool {
    flow.outcome
        .is_some_and(|outcome| outcome != Outcome::Closed)
}

impl Filter {
    /// Whether a flow is wanted. `destination` is where it goes, where that is not what the process sees; `names` are those of its process: service and comm;
    /// none where it is not known.
    pub fn fits(&self, flow: &Flow, destination: Option<SocketAddr>, names: &[&str]) -> bool {
        let any_end = |fits: &dyn Fn(IpAddr, u16) -> bool| {
            let mut ends = [flow.local, flow.remote].into_iter().chain(destination);
            ends.any(|end| fits(end.ip(), end.port()))
        };
        any(&self.pids, |&pid| flow.tgid == pid)
            && any(&self.processes, |name| names.contains(&name.as_str()))
            && any(&self.ports, |&wanted| any_end(&|_, port| port == wanted))
            && any(&self.addresses, |network| {
                any_end(&|address, _| network.contains(&address.to_canonical()))
            })
            && any(&self.states, |state| state.fits(flow))
            && self.slower_than.is_none_or(|limit| is_slower(flow, limit))
            && (!self.failed || has_failed(flow))
    }
}

/// Whether one of them fits, or there is none to fit.
fn any<T>(list: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(fits)
}

fn is_slower(flow: &Flow, limit: Duration) -> bool {
    let times = [
        flow.connect_duration_ns(),
        flow.accept_wait_ns(),
        flow.srtt_us.map(|us| u64::from(us) * 1000),
    ];
    times
        .into_iter()
        .flatten()
        .any(|ns| u128::from(ns) > limit.as_nanos())
}

#[cfg(test)]
mod tests;
