//! The kernel's maps as [`Maps`]: with each file's handle by its number.

use std::collections::HashMap;

use fathom_abi::unwind::Segment;
use fathom_symbolizer::unwind::{Rule, Rules, Table};

use super::Maps;
use crate::probes::profile::tables::{Error, FileTable, Tables};

#[derive(Debug)]
struct KernelMaps {
    tables: Tables,
    files: HashMap<u32, FileTable>,
}

impl From<Tables> for Box<dyn Maps> {
    fn from(tables: Tables) -> Self {
        Box::new(KernelMaps {
            tables,
            files: HashMap::new(),
        })
    }
}

impl Maps for KernelMaps {
    fn add_rules(&mut self, rules: &Rules) -> Result<(), Error> {
        self.tables.add_rules(rules)
    }

    fn add_file(&mut self, number: u32, table: &Table) -> Result<(), Error> {
        let file = self.tables.add_file(table)?;
        if let Some(before) = self.files.insert(number, file) {
            self.tables.remove_file(before);
        }
        Ok(())
    }

    fn remove_file(&mut self, number: u32) {
        if let Some(file) = self.files.remove(&number) {
            self.tables.remove_file(file);
        }
    }

    fn find(&self, number: u32, address: u64) -> Rule {
        let Some(file) = self.files.get(&number) else {
            return Rule::None;
        };
        self.tables.rule(self.tables.find(file, address))
    }

    fn segment(&self, number: u32, start: u64, end: u64, bias: u64) -> Option<Segment> {
        let file = self.files.get(&number)?;
        Some(file.segment(start, end, bias))
    }

    fn publish(&mut self, pid: u32, space: u64, segments: &[Segment]) -> Result<(), Error> {
        self.tables.publish(pid, space, segments)
    }

    fn withdraw(&mut self, pid: u32) {
        self.tables.withdraw(pid);
    }
}
