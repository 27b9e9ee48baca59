//! `fathom doctor`: what works on this kernel, what does not, why, and what to do about it.
//!
//! It finds out by trying: each tap and the sampler are really loaded and attached, one after the other, and let go again.

mod advice;
mod facts;
mod survey;
mod text;

use serde_json::{Value, json};

use self::survey::{Survey, Trial};
use crate::{
    cli::{Failure, Outcome},
    probes::ProgramReport,
};

/// Flags of `fathom doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON document instead of the tables
    #[arg(long)]
    json: bool,
}

/// Looks at this machine and says what it found.
///
/// # Errors
/// When fathom can't do its main job here: to see connections and requests.
pub fn run(args: &Args) -> Outcome {
    let survey = Survey::make();
    if args.json {
        println!("{:#}", document(&survey));
    } else {
        print!("{}", text::page(&survey));
    }
    if survey.net().state == survey::State::Off {
        return Err(Failure::Cannot(anyhow::anyhow!(
            "the main job can't be done here: no connection and no request can be seen"
        )));
    }
    Ok(())
}

fn document(survey: &Survey) -> Value {
    let capabilities: Vec<_> = survey
        .capabilities
        .iter()
        .map(|capability| {
            json!({
                "capability": capability.name,
                "state": capability.state.name(),
                "detail": capability.detail,
                "do": capability.advice,
            })
        })
        .collect();
    let facts: Vec<_> = survey
        .facts
        .iter()
        .map(|fact| json!({ "fact": fact.name, "value": fact.value, "remark": fact.remark }))
        .collect();
    json!({
        "kernel": survey.kernel,
        "architecture": survey.architecture,
        "capabilities": capabilities,
        "taps": survey.taps.iter().map(tap).collect::<Vec<_>>(),
        "sampler": survey.sampler.as_ref().map(program),
        "facts": facts,
    })
}

fn tap(trial: &Trial) -> Value {
    let programs: Vec<_> = trial.programs.iter().map(program).collect();
    json!({
        "tap": trial.tap.name(),
        "works": trial.refused.is_none(),
        "chosen": trial.chosen,
        "refused": trial.refused,
        "do": trial.advice,
        "map_bytes": trial.map_bytes,
        "programs": programs,
    })
}

fn program(program: &ProgramReport) -> Value {
    json!({
        "program": program.name,
        "verified_instructions": program.verified_instructions,
        "instructions": program.instructions,
    })
}

#[cfg(test)]
mod tests;
