//! Names of a subject's frames.

use std::{cell::RefCell, collections::HashMap};

use fathom_symbolizer::{Gear, Options, Source, Symbolizer};

use crate::subject::Subject;

/// Names the frames of one process.
pub struct Names<'a> {
    symbolizer: Symbolizer,
    subject: &'a Subject,
    program: String,
    known: RefCell<HashMap<u64, String>>,
}

impl<'a> Names<'a> {
    pub fn new(subject: &'a Subject) -> Self {
        Self {
            symbolizer: Symbolizer::new(Options::default()),
            subject,
            program: Subject::program().to_string_lossy().into_owned(),
            known: RefCell::default(),
        }
    }

    /// The program's functions by name; neighbours in a library are one `(library)`, those in stubs one `(stub)`, and so on.
    pub fn of(&self, frames: &[u64]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (index, &frame) in frames.iter().enumerate() {
            let name = self.name(frame - u64::from(index > 0));
            if !(name.starts_with('(') && names.last() == Some(&name)) {
                names.push(name);
            }
        }
        names
    }

    fn name(&self, address: u64) -> String {
        let mut known = self.known.borrow_mut();
        let name = known.entry(address).or_insert_with(|| self.find(address));
        name.clone()
    }

    fn find(&self, address: u64) -> String {
        let located = self
            .symbolizer
            .symbolize_process(self.subject.pid(), Gear::Names, &[address])
            .expect("it lives");
        let Some(module) = &located[0].module else {
            return "(anonymous)".to_owned();
        };
        match (module.name(), located[0].frames.outermost()) {
            ("[vdso]", _) => "(vdso)".to_owned(),
            (name, _) if name != self.program => "(library)".to_owned(),
            (_, Some(frame)) if frame.source == Source::Plt => "(stub)".to_owned(),
            (_, Some(frame)) => frame
                .name
                .as_ref()
                .map_or("(nameless)", |name| name.as_str())
                .to_owned(),
            (_, None) => "(nameless)".to_owned(),
        }
    }
}
