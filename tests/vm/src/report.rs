//! What a scenario came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The outcome of one scenario with one tap on one kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// The tap that the agent was told to use; none where the scenario uses no tap.
    pub tap: Option<String>,
    /// What it came to.
    pub outcome: Outcome,
    /// How long it took, seconds.
    pub seconds: f64,
    /// What was counted and measured, by name.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// What a scenario came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "why")]
pub enum Outcome {
    /// Everything that it asserts holds.
    Passed,
    /// Something that it asserts does not hold, or it could not be carried out.
    Failed(String),
    /// This kernel or machine lacks what the scenario is about.
    NotHere(String),
}
