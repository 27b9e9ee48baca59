//! A bounded set of names (routes, RPC methods) by number.

use std::{collections::HashMap, sync::Arc};

/// Names, in the order in which they came.
#[derive(Debug)]
pub struct Names {
    limit: usize,
    numbers: HashMap<Arc<str>, Number>,
    list: Vec<Arc<str>>,
    certain: usize,
    refused: u64,
}

/// A name's number within its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number(u32);

/// How good a reason a name has to be in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The user asked for it: there is always room.
    Certain,
    /// It was served.
    Likely,
    /// The answer was that there is no such thing. These take half of the room at most, or a scan for holes (`/wp-login.php`, `/.env`, …)
    /// would leave none for what a service really has.
    Doubtful,
}

impl Names {
    /// Room for `limit` names, and for those that are certain.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            numbers: HashMap::new(),
            list: Vec::new(),
            certain: 0,
            refused: 0,
        }
    }

    /// The number of this name; none without room for one more.
    pub fn number(&mut self, name: &str, claim: Claim) -> Option<Number> {
        if let Some(&number) = self.numbers.get(name) {
            return Some(number);
        }
        let taken = self.list.len() - self.certain;
        let has_room = match claim {
            Claim::Certain => true,
            Claim::Likely => taken < self.limit,
            Claim::Doubtful => taken < self.limit / 2,
        };
        let Some(number) = u32::try_from(self.list.len()).ok().filter(|_| has_room) else {
            self.refused += 1;
            return None;
        };
        self.certain += usize::from(claim == Claim::Certain);
        let name: Arc<str> = name.into();
        self.list.push(Arc::clone(&name));
        self.numbers.insert(name, Number(number));
        Some(Number(number))
    }

    /// The name with this number.
    pub fn name(&self, number: Number) -> Option<&Arc<str>> {
        self.list.get(usize::try_from(number.0).ok()?)
    }

    /// How often a name found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests;
