//! What a guest is asked to do, and what it says while it does it.

use serde::{Deserialize, Serialize};

use crate::report::Report;

/// Everything that one boot of a guest does, in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The steps; a step that fails does not keep the next ones from running.
    pub steps: Vec<Step>,
}

/// One thing to do in a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// After how many seconds the step is killed and counts as failed.
    pub limit_s: u64,
}

/// What a step does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Run a line of shell.
    Shell(String),
    /// Run `scenario` with these arguments; it reports for itself.
    Scenario(Vec<String>),
}

/// One line that a guest writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The guest is up, this many seconds after its kernel started.
    Booted {
        /// Seconds since the kernel started.
        uptime_s: f64,
    },
    /// A line of shell ended.
    Shell {
        /// Its exit status; none where it was killed.
        status: Option<i32>,
        /// What it wrote, standard output and standard error together.
        output: String,
    },
    /// A scenario ended.
    Scenario(Report),
    /// All steps were carried out; a guest that ends without this record crashed.
    Done,
}
