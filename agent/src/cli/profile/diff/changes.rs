//! How much of each profile each function has.

use crate::{
    export::calltree::{CallTree, Counted},
    profile::Origin,
};

/// A function's shares of both profiles, in percent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) origin: Origin,
    /// Of the stacks that it is the leaf of: before and after.
    pub(super) own: [f64; 2],
    /// Of the stacks that it is in, however often: before and after.
    pub(super) total: [f64; 2],
}

impl Change {
    /// By how many percent points its share of leaves changed.
    pub(super) fn own_points(&self) -> f64 {
        self.own[1] - self.own[0]
    }

    /// By how many percent points its share of stacks changed.
    pub(super) fn total_points(&self) -> f64 {
        self.total[1] - self.total[0]
    }
}

/// All functions, those that grew the most as leaves first, those that shrank the most last.
pub(super) fn changes(tree: &CallTree) -> Vec<Change> {
    let whole = tree.totals()[0];
    let share = |counts: [u64; 2]| {
        [0, 1].map(|side| match whole[side] {
            0 => 0.0,
            whole => counts[side] as f64 * 100.0 / whole as f64,
        })
    };
    let mut changes: Vec<_> = tree
        .functions()
        .into_iter()
        .filter_map(|(frame, Counted { own, total })| {
            Some(Change {
                name: (*frame.name).to_owned(),
                // What is no code is no function.
                origin: frame.origin?,
                own: share(own),
                total: share(total),
            })
        })
        .collect();
    changes.sort_by(|a, b| {
        let own = b.own_points().total_cmp(&a.own_points());
        own.then_with(|| b.total_points().total_cmp(&a.total_points()))
            .then_with(|| a.name.cmp(&b.name))
    });
    changes
}

#[cfg(test)]
mod tests;
