//! The survey as a page that reads well in the middle of the night: the verdict first, reasons below it.

use std::fmt::Write as _;

use super::{
    facts::Fact,
    survey::{Capability, Survey, Trial},
};
use crate::probes::ProgramReport;

/// Columns of the page; a reason that is longer goes on in the next line.
const WIDTH: usize = 110;
/// Where details start.
const INDENT: usize = 28;

/// The whole page.
pub fn page(survey: &Survey) -> String {
    let mut page = String::new();
    let _ = writeln!(
        page,
        "fathom {} on Linux {} {}\n",
        env!("CARGO_PKG_VERSION"),
        survey.kernel,
        survey.architecture
    );
    heading(&mut page, "CAPABILITY", "STATE");
    for capability in &survey.capabilities {
        self::capability(&mut page, capability);
    }
    page.push('\n');
    heading(&mut page, "TAP", "STATE");
    for trial in &survey.taps {
        tap(&mut page, trial);
    }
    if let Some(program) = &survey.sampler {
        let lead = format!("{:<16}{:<12}", "(CPU sampler)", "works");
        wrap(&mut page, &lead, &programs(std::slice::from_ref(program)));
    }
    page.push('\n');
    for fact in &survey.facts {
        self::fact(&mut page, fact);
    }
    page
}

fn heading(page: &mut String, what: &str, state: &str) {
    let _ = writeln!(page, "{what:<16}{state:<12}DETAIL");
}

fn capability(page: &mut String, capability: &Capability) {
    let lead = format!("{:<16}{:<12}", capability.name, capability.state.name());
    wrap(page, &lead, &capability.detail);
    advice(page, capability.advice.as_deref());
}

fn tap(page: &mut String, trial: &Trial) {
    let (state, detail) = match &trial.refused {
        Some(reason) => ("refused", reason.clone()),
        None => (
            if trial.chosen { "chosen" } else { "works" },
            programs(&trial.programs),
        ),
    };
    let lead = format!("{:<16}{state:<12}", trial.tap);
    wrap(page, &lead, &detail);
    advice(page, trial.advice.as_deref());
}

/// The verifier's work on each program, which may not grow unseen.
fn programs(reports: &[ProgramReport]) -> String {
    let programs: Vec<_> = reports
        .iter()
        .map(
            |program| match (program.verified_instructions, program.instructions) {
                (Some(verified), _) => format!("{} {verified}", program.name),
                (None, Some(instructions)) => format!("{} ({instructions} long)", program.name),
                (None, None) => program.name.clone(),
            },
        )
        .collect();
    let verified = reports
        .iter()
        .any(|program| program.verified_instructions.is_some());
    format!(
        "{}: {}",
        if verified {
            "instructions verified"
        } else {
            "instructions verified: not reported before 5.16; programs"
        },
        programs.join(", ")
    )
}

fn fact(page: &mut String, fact: &Fact) {
    let lead = format!("{:<INDENT$}", fact.name);
    wrap(page, &lead, &fact.value);
    if let Some(remark) = &fact.remark {
        wrap(page, &" ".repeat(INDENT), remark);
    }
}

fn advice(page: &mut String, advice: Option<&str>) {
    if let Some(advice) = advice {
        wrap(page, &" ".repeat(INDENT), &format!("what to do: {advice}"));
    }
}

/// Writes `text` behind `lead`, and its later lines below its first.
fn wrap(page: &mut String, lead: &str, text: &str) {
    let mut line = lead.to_owned();
    let mut columns = lead.chars().count();
    let mut is_first = true;
    for word in text.split_whitespace() {
        let long = word.chars().count();
        if !is_first && columns + 1 + long > WIDTH {
            let _ = writeln!(page, "{}", line.trim_end());
            line = " ".repeat(INDENT);
            columns = INDENT;
            is_first = true;
        }
        if !is_first {
            line.push(' ');
            columns += 1;
        }
        line.push_str(word);
        columns += long;
        is_first = false;
    }
    let _ = writeln!(page, "{}", line.trim_end());
}
