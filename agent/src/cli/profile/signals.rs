//! The signals that ask for the end.

use std::{
    fs,
    future::poll_fn,
    io,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::say::say;

/// Signals that come as close together are one order: timeout(1) sends its signal to its child and then to the child's process group, and a service manager to all of a cgroup.
const ONE_ORDER: Duration = Duration::from_millis(500);

/// What a terminal that goes away sends, and Ctrl-\. Unlike the others, they stay ignored where fathom was started so, as nohup(1) does and shells do in the background.
const MAY_BE_IGNORED: [SignalKind; 2] = [SignalKind::hangup(), SignalKind::quit()];

/// Signals that ask for the end.
pub(super) struct Signals {
    handled: Vec<(SignalKind, Signal)>,
    /// When the first one came.
    first: Option<Instant>,
}

impl Signals {
    /// From now on they end nothing by themselves. To be called within a runtime.
    pub(super) fn handle() -> io::Result<Self> {
        let status = fs::read("/proc/self/status").unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        let may_come = MAY_BE_IGNORED
            .into_iter()
            .filter(|&kind| !is_ignored(kind, &status));
        let handled = [SignalKind::interrupt(), SignalKind::terminate()]
            .into_iter()
            .chain(may_come)
            .map(|kind| Ok((kind, signal(kind)?)))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            handled,
            first: None,
        })
    }

    /// Waits for the next one. Loses none where it is dropped before.
    pub(super) async fn next(&mut self) -> SignalKind {
        let kind = poll_fn(|context| {
            let mut came = self.handled.iter_mut().filter_map(|(kind, signal)| {
                let is_ready = signal.poll_recv(context).is_ready();
                is_ready.then_some(*kind)
            });
            came.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.first.get_or_insert_with(Instant::now);
        kind
    }

    /// Waits for a signal that follows another one, and is not the same order once more.
    pub(super) async fn second(&mut self) -> SignalKind {
        loop {
            let first = self.first;
            let kind = self.next().await;
            match first {
                // What it asks for is being done.
                None => say!("the profile is being finished; another signal ends it without"),
                Some(first) if first.elapsed() < ONE_ORDER => {}
                Some(_) => return kind,
            }
        }
    }
}

/// Whether a `/proc/PID/status` says that the signal is ignored: bit n-1 of `SigIgn` is signal n (proc_pid_status(5)).
fn is_ignored(kind: SignalKind, status: &str) -> bool {
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let bit = kind.as_raw_value().wrapping_sub(1).cast_unsigned();
    1u64.checked_shl(bit).is_some_and(|bit| ignored & bit != 0)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::{runtime, time::timeout};

    use super::*;

    #[test]
    fn only_a_later_signal_is_a_second_one() {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let send = |signal| kill_process(getpid(), signal).unwrap();
        let moment = Duration::from_millis(50);
        runtime.block_on(async {
            let mut signals = Signals::handle().unwrap();
            send(Signal::TERM);
            assert_eq!(signals.next().await, SignalKind::terminate());
            send(Signal::TERM);
            assert!(timeout(moment, signals.second()).await.is_err());
            tokio::time::sleep(ONE_ORDER).await;
            assert!(timeout(moment, signals.second()).await.is_err());
            send(Signal::INT);
            assert_eq!(signals.second().await, SignalKind::interrupt());
        });
    }

    #[test]
    fn ignored_signals_are_bits() {
        let status =
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000004\n";
        assert!(is_ignored(SignalKind::hangup(), status));
        assert!(!is_ignored(SignalKind::quit(), status));
        assert!(!is_ignored(SignalKind::hangup(), ""));
    }
}
