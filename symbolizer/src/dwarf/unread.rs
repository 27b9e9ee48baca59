//! Units that can't be read: each costs what it would have answered, and nothing of the others'.

use crate::{Error, elf::sections::Section};

/// How many there are, and what is wrong with the first.
#[derive(Debug, Default)]
pub(super) struct Unread {
    units: usize,
    first: Option<Error>,
}

impl Unread {
    /// Counts a unit.
    ///
    /// # Errors
    /// When it is not the unit that is at fault: the file could not be read.
    pub(super) fn add(&mut self, error: Error) -> Result<(), Error> {
        if matches!(error, Error::Read { .. }) {
            return Err(error);
        }
        self.units += 1;
        self.first.get_or_insert(error);
        Ok(())
    }

    /// What to say of an address that no other unit covers: it may be one of these units'.
    pub(super) fn error(&self, info: &Section) -> Option<Error> {
        let first = self.first.as_ref()?;
        let units = match self.units {
            1 => "a unit".to_owned(),
            units => format!("{units} units"),
        };
        Some(info.malformed(format!("{units} can't be read: {first}")))
    }
}
