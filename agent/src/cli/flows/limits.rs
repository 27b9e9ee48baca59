//! Connections that are not shown, or not while they live, for want of room or time.

use super::OPEN;
use crate::net::{before::LISTED, existing};

/// How many there are.
#[derive(Clone, Copy, Default)]
pub(super) struct Unshown {
    /// Those from before beyond [`LISTED`].
    pub(super) unlisted: u64,
    /// Network namespaces whose list of connections from before is not whole.
    pub(super) incomplete: u64,
    /// Those beyond [`OPEN`].
    pub(super) beyond: u64,
}

impl Unshown {
    /// What the search for connections from before came to.
    pub(super) fn of(counts: &existing::Counts) -> Self {
        Self {
            unlisted: counts.unlisted,
            incomplete: counts.listed.incomplete,
            beyond: 0,
        }
    }

    /// A text for each of them that is not 0: how many, why, and what to do.
    pub(super) fn texts(self) -> impl Iterator<Item = String> {
        let Self {
            unlisted,
            incomplete,
            beyond,
        } = self;
        [
            (
                unlisted,
                format!(
                    "connections from before are not shown until they move bytes or end, as no more than {LISTED} are listed \
                     (ss -tn lists all)"
                ),
            ),
            (
                incomplete,
                "network namespaces could not be listed in full, and connections from before are not shown there until they move bytes or end \
                 (ss -tn lists them; start again when the node is less busy)"
                    .to_owned(),
            ),
            (
                beyond,
                format!(
                    "connections are shown at their beginning and end only, as no more than {OPEN} open ones are followed \
                     (ss -ti says where they stand)"
                ),
            ),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
    }
}

#[cfg(test)]
mod tests;
