//! Memory while processes start in their thousands, each with a space of its own for a moment. The agent may keep nothing of them; `fathom profile` keeps what it
//! has sampled, which it shows at its end.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fathom_scenarios::pairs::AgentSample;

use super::{
    super::{agent::Agent, process},
    Kind, Options, Watcher,
};
use crate::shell;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the profiler has for what was there before it, until it is looked at first.
const REST: Duration = Duration::from_secs(3);

/// Where the agent sends its profiles: nobody listens, so that it keeps what it can for another try.
const BACKEND: &str = "http://127.0.0.1:9";

pub fn run(options: &Options, binary: &Path) -> Result<()> {
    let program = process::compile("storm")?;

    let watcher = Watcher::start(Kind::Fathom, binary)?;
    let storm = Storm::watch(options, &program, || watcher.sample())?;
    let left = watcher.stop()?;
    storm.print("`fathom profile` of the whole machine", left.lost);

    let arguments = ["--capabilities", "profile", "--otlp-endpoint", BACKEND];
    let agent = Agent::start(&binary.to_owned(), options.port, &arguments)?;
    let storm = Storm::watch(options, &program, || agent.sample(agent.cpu_seconds()?))?;
    let lost = agent.lost_samples()?;
    agent.stop()?;
    storm.print("the agent, whose backend is dead", lost);
    Ok(())
}

/// What became of a watcher in the storm.
struct Storm {
    started: f64,
    seconds: f64,
    before: AgentSample,
    during: Vec<AgentSample>,
    after: AgentSample,
}

impl Storm {
    /// Makes one, and looks at the watcher before, meanwhile and after.
    fn watch(
        options: &Options,
        program: &Path,
        look: impl Fn() -> Result<AgentSample>,
    ) -> Result<Self> {
        thread::sleep(REST);
        let before = look()?;
        let begun = Instant::now();
        let mut storm = shell::command(program);
        storm.args([
            options.starts.to_string(),
            options.storm_seconds.to_string(),
        ]);
        let storm = start(&mut storm)?;
        let mut during = Vec::new();
        let limit = Duration::from_secs(options.storm_seconds.into());
        while begun.elapsed() < limit {
            thread::sleep(LOOK);
            during.push(look()?);
        }
        let output = storm.wait_with_output()?;
        thread::sleep(REST);
        let after = look()?;
        ensure!(
            output.status.success(),
            "the storm ended with {}",
            output.status
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = said.split_whitespace().map(str::parse::<f64>);
        let (started, seconds) = numbers
            .next()
            .and_then(Result::ok)
            .zip(numbers.next().and_then(Result::ok))
            .with_context(|| format!("not what storm says of its processes: {said:?}"))?;
        Ok(Self {
            started,
            seconds,
            before,
            during,
            after,
        })
    }

    fn print(&self, watcher: &str, lost: Option<f64>) {
        println!(
            "{:.0} processes in {:.1} s ({:.0} a second), each executes a program and ends; {watcher}.\n",
            self.started,
            self.seconds,
            self.started / self.seconds
        );
        println!("| | resident (MiB) | maps (MiB) |\n|---|---|---|");
        let most = self.during.iter().max_by_key(|look| look.resident);
        let at = |quarter: usize| self.during.get(self.during.len() * quarter / 4);
        for (name, sample) in [
            ("before", Some(&self.before)),
            ("after a quarter", at(1)),
            ("half-way", at(2)),
            ("after three quarters", at(3)),
            ("most", most),
            ("3 s after", Some(&self.after)),
        ] {
            if let Some(sample) = sample {
                println!("| {name} | {} |", memory(sample));
            }
        }
        let cpu = self.after.cpu - self.before.cpu;
        println!(
            "\n{:.1} % of a core, {:.1} µs a process; {} samples lost\n",
            cpu / self.seconds * 100.0,
            cpu / self.started * 1e6,
            lost.map_or_else(|| "?".to_owned(), |lost| format!("{lost:.0}"))
        );
    }
}

fn start(command: &mut Command) -> Result<std::process::Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the storm")
}

fn memory(sample: &AgentSample) -> String {
    let kibibytes = u32::try_from(sample.resident >> 10).map_or(f64::INFINITY, f64::from);
    let maps = sample.maps.unwrap_or(0.0) / f64::from(1 << 20);
    format!("{:.1} | {maps:.1}", kibibytes / 1024.0)
}
