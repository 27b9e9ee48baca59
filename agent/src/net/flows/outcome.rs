//! How a connection ended, from what the kernel noted of it.

use std::fmt;

use fathom_abi::flow::{FlowEvent, Resets};

use super::Change;

/// How a connection ended, or why it never came to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Both ends have closed it in order, or this one has and nothing else was seen.
    Closed,
    /// The other end sent a reset; of a connect one that the kernel did not take for a refusal.
    Reset,
    /// This end sent a reset: it was closed with bytes that nobody had read, or with `SO_LINGER` of 0.
    Aborted,
    /// The other end did not answer any more: retransmissions, keep-alives or `TCP_USER_TIMEOUT` gave up. Of a connect: nobody answered at all.
    TimedOut,
    /// The process that had it open was killed by a signal.
    Killed,
    /// Somebody else had the kernel end it (`ss --kill`).
    Destroyed,
    /// Nobody listens there.
    Refused,
    /// There is no way to the other end.
    Unreachable,
    /// The process closed it before the handshake was done.
    Abandoned,
    /// Any other reason of a connect; the errno says which.
    Failed,
}

impl Outcome {
    /// What a record says; `None` while the connection is open, and where its end was not seen.
    pub(super) fn of(event: &FlowEvent, change: Change) -> Option<Self> {
        match change {
            Change::Closed => Some(Self::closed(event)),
            Change::ConnectFailed => Some(Self::failed(event)),
            _ => None,
        }
    }

    /// An established connection's error is `ECONNRESET`, or `EPIPE` where the other end had closed before, after a reset (`tcp_reset`), and
    /// `ETIMEDOUT` or the last ICMP error after the last retransmission (`tcp_write_err`).
    fn closed(event: &FlowEvent) -> Self {
        match errno(event.error) {
            0 if event.exit.signal().is_some() => Self::Killed,
            0 if event.resets.0 & Resets::SENT != 0 && !ended_in_order(event.old_state) => {
                Self::Aborted
            }
            0 => Self::Closed,
            libc::ECONNRESET | libc::EPIPE | libc::ECONNREFUSED => Self::Reset,
            libc::ECONNABORTED => Self::Destroyed,
            _ => Self::TimedOut,
        }
    }

    fn failed(event: &FlowEvent) -> Self {
        match errno(event.error) {
            0 if event.exit.signal().is_some() => Self::Killed,
            0 => Self::Abandoned,
            libc::ECONNREFUSED => Self::Refused,
            libc::ECONNRESET => Self::Reset,
            libc::ETIMEDOUT => Self::TimedOut,
            libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => {
                Self::Unreachable
            }
            libc::ECONNABORTED => Self::Destroyed,
            _ => Self::Failed,
        }
    }

    /// The name that users read, on `/metrics` and in lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Aborted => "aborted",
            Self::TimedOut => "timed_out",
            Self::Killed => "killed",
            Self::Destroyed => "destroyed",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Abandoned => "abandoned",
            Self::Failed => "failed",
        }
    }

    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Closed,
        Self::Reset,
        Self::Aborted,
        Self::TimedOut,
        Self::Killed,
        Self::Destroyed,
        Self::Refused,
        Self::Unreachable,
        Self::Abandoned,
        Self::Failed,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether a connection in this state (`net/tcp_states.h`) ends with the FINs of both ends: TIME_WAIT, LAST_ACK and CLOSING.
const fn ended_in_order(state: u8) -> bool {
    matches!(state, 6 | 9 | 11)
}

fn errno(error: u32) -> i32 {
    i32::try_from(error).unwrap_or(i32::MAX)
}
