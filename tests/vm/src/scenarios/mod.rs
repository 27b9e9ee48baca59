//! The scenarios, one file each, and how each is run.

mod accounting;
mod bad_input;
mod http_exact;
mod memory;
mod sigkill;

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use fathom_scenarios::report::{Outcome, Report};

use crate::{
    context::{Context, End},
    kernel,
};

/// One scenario.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in one line.
    pub shows: &'static str,
    /// How it depends on the tap.
    pub taps: Taps,
    run: fn(&mut Context) -> Result<End>,
}

/// How a scenario depends on the tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taps {
    /// It is run with each tap of the kernel.
    Each,
    /// It is run once, with the tap that the agent takes by itself.
    Auto,
}

/// Every scenario.
pub const ALL: [Scenario; 4] = [
    Scenario {
        name: "http-exact",
        shows: "requests in the RED metrics equal nginx's access log, and every record is accounted for",
        taps: Taps::Each,
        run: http_exact::run,
    },
    Scenario {
        name: "sigkill",
        shows: "an agent killed under load leaves nothing behind, and the application never notices",
        taps: Taps::Auto,
        run: sigkill::run,
    },
    Scenario {
        name: "memory",
        shows: "the agent and its maps stay below the limit under load",
        taps: Taps::Auto,
        run: memory::run,
    },
    Scenario {
        name: "bad-input",
        shows: "what can't work is said in a clear line and an exit code",
        taps: Taps::Auto,
        run: bad_input::run,
    },
];

/// What a run is given besides its scenario.
pub struct Options {
    /// The binary under test.
    pub fathom: PathBuf,
    /// The share of the full amount of work.
    pub scale: f64,
    /// How much longer than natively things may take.
    pub patience: u32,
    /// Where the compiled test programs lie.
    pub programs: PathBuf,
}

/// Runs `scenario`, with `tap` if it is told one.
pub fn run(scenario: &Scenario, tap: Option<&str>, options: &Options) -> Report {
    let started = Instant::now();
    let mut facts = Default::default();
    let outcome = match tap.and_then(kernel::lacks) {
        Some(why) => Outcome::NotHere(why.to_owned()),
        None => Context::new(
            options.fathom.clone(),
            tap.map(str::to_owned),
            options.scale,
            options.patience,
            options.programs.clone(),
        )
        .and_then(|mut context| {
            let end = (scenario.run)(&mut context);
            facts = context.into_facts();
            end
        })
        .map_or_else(
            |error| Outcome::Failed(format!("{error:#}")),
            |end| match end {
                End::Passed => Outcome::Passed,
                End::NotHere(why) => Outcome::NotHere(why),
            },
        ),
    };
    Report {
        scenario: scenario.name.to_owned(),
        tap: tap.map(str::to_owned),
        outcome,
        seconds: started.elapsed().as_secs_f64(),
        facts,
    }
}
