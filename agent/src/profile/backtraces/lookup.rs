//! How the frame at an address of a process is unwound.

use fathom_abi::sample::UserEnd;
use fathom_symbolizer::{Error, Module, unwind::Rule};

use crate::profile::{
    files::{Asker, Files},
    spaces::{Backing, Region, Space},
    tables::{Availability, Failure, FileTables},
    unwinder::{Ending, Way},
};

/// One process's way from addresses to rules.
pub(super) struct Lookup<'a> {
    pub(super) files: &'a mut Files,
    pub(super) tables: &'a mut FileTables,
    pub(super) space: &'a Space,
    pub(super) asker: Asker<'a>,
}

impl Lookup<'_> {
    /// How a frame is unwound. A table that is not there is asked for.
    pub(super) fn way(&mut self, address: u64) -> Way {
        let Some(region) = self.space.find(address) else {
            return Way::End(Ending::As(UserEnd::NoMapping));
        };
        if region.backing == Backing::Anonymous {
            return Way::Rule(Rule::FramePointer);
        }
        let module = match self.files.module(region, self.asker) {
            Ok(module) => module,
            // What a program has put into a file to run it is as good as memory without one.
            Err(Error::NotElf { .. }) => return Way::Rule(Rule::FramePointer),
            Err(_) => return Way::End(Ending::As(UserEnd::Opaque)),
        };
        let number = self.number(region, &module);
        match self.tables.availability(number, self.asker.now_ns) {
            Availability::Here => {
                self.tables.touch(number, self.asker.now_ns);
                let length = region.end - region.start;
                let Some(start) = module.code_address_of(region.offset, length) else {
                    return Way::End(Ending::As(UserEnd::NoRule));
                };
                let address = start.wrapping_add(address - region.start);
                Way::Rule(self.tables.maps().find(number, address))
            }
            Availability::Wanted => {
                if self.tables.request(number, &module, self.asker.now_ns) {
                    Way::Wanted(number)
                } else {
                    Way::End(Ending::As(UserEnd::WantedTable))
                }
            }
            Availability::Failed(Failure::NotElf) => Way::Rule(Rule::FramePointer),
            Availability::Failed(_) => Way::End(Ending::As(UserEnd::Opaque)),
        }
    }

    fn number(&mut self, region: &Region, module: &Module) -> u32 {
        if let Some(number) = self.files.table(region)
            && self.tables.knows(number)
        {
            return number;
        }
        let number = self.tables.number(module);
        self.files.set_table(region, number);
        number
    }
}
