//! The scenarios, one file each, and how each is run.

pub mod accounting;
mod bad_input;
pub mod dns;
mod existing;
pub mod flows;
mod http_exact;
mod isolated;
mod memory;
mod otlp;
mod overflow;
mod own;
mod parents;
mod profile_joined;
mod profile_shares;
mod profile_system;
mod profile_truth;
mod seen;
mod sigkill;
mod torture;
pub mod udp;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context as _, Result};
use fathom_scenarios::{
    catalog::Entry,
    report::{Outcome, Report},
};

use crate::{context::Context, kernel, receiver};

/// The scenario named `name`, as code.
fn code(name: &str) -> Option<fn(&mut Context) -> Result<()>> {
    Some(match name {
        "http-exact" => http_exact::run,
        "flows" => flows::run,
        "flows-asked" => flows::asked::run,
        "flows-overflow" => flows::overflow::run,
        "flows-resting" => flows::resting::run,
        "existing" => existing::run,
        "flows-peers" => flows::beside::run,
        "profile-shares" => profile_shares::run,
        "profile-truth" => profile_truth::run,
        "profile-system" => profile_system::run,
        "profile-joined" => profile_joined::run,
        "sigkill" => sigkill::run,
        "memory" => memory::run,
        "otlp" => otlp::run,
        "parents" => parents::run,
        "seen" => seen::run,
        "torture" => torture::http1::run,
        "torture-http2" => torture::http2::run,
        "overflow" => overflow::run,
        "late-join" => torture::late::run,
        "dns" => dns::run,
        "udp" => udp::run,
        "bad-input" => bad_input::run,
        _ => return None,
    })
}

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
    /// Whether a scenario that makes a part of the documentation writes it.
    pub write_docs: bool,
}

/// Runs `scenario`, with `tap` if it is told one.
pub fn run(scenario: &Entry, tap: Option<&str>, options: &Options) -> Report {
    let started = Instant::now();
    let mut facts = Default::default();
    let of_kernel = || tap.and_then(kernel::lacks).map(str::to_owned);
    let lacks = match scenario.name {
        "otlp" | "parents" | "seen" | "profile-joined" => receiver::missing(),
        "flows-peers" => flows::beside::missing(),
        "profile-system" => profile_system::missing(),
        "torture" => torture::http1::missing().or_else(of_kernel),
        "late-join" => torture::late::missing().or_else(of_kernel),
        "torture-http2" => torture::http2::missing().or_else(of_kernel),
        "overflow" => overflow::missing().or_else(of_kernel),
        _ => of_kernel(),
    };
    let outcome = match lacks {
        Some(why) => Outcome::NotHere(why),
        None => Context::new(
            options.fathom.clone(),
            tap.map(str::to_owned),
            options.scale,
            options.patience,
            options.programs.clone(),
        )
        .and_then(|mut context| {
            context.write_docs = options.write_docs;
            let run = code(scenario.name).context("it is in the catalog only")?;
            let end = run(&mut context);
            facts = context.into_facts();
            end
        })
        .map_or_else(
            |error| Outcome::Failed(format!("{error:#}")),
            |()| Outcome::Passed,
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

#[cfg(test)]
mod tests {
    use fathom_scenarios::catalog::ALL;

    #[test]
    fn the_catalog_and_the_code_agree() {
        for entry in ALL {
            assert!(super::code(entry.name).is_some(), "{}", entry.name);
        }
    }
}
