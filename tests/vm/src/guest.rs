//! A guest's only task: carry out the plan, write a record of each step, halt.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use fathom_scenarios::{
    plan::{Action, Plan, Record, Step},
    report::{Outcome, Report},
};

/// Carries out the plan and halts the guest. The guest is restarted whatever happens: QEMU ends with it.
pub fn run(plan: &Path, records: &Path) -> Result<()> {
    if let Err(error) = carry_out(plan, records) {
        eprintln!("the plan could not be carried out: {error:#}");
    }
    rustix::system::reboot(rustix::system::RebootCommand::Restart)
        .context("cannot halt the guest")?;
    Ok(())
}

fn carry_out(plan: &Path, records: &Path) -> Result<()> {
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?).context("the plan is not one")?;
    let mut records = OpenOptions::new()
        .write(true)
        .open(records)
        .context("cannot open the port for records")?;
    write(
        &mut records,
        &Record::Booted {
            uptime_s: uptime()?,
        },
    )?;
    for step in &plan.steps {
        write(&mut records, &carry_out_step(step))?;
    }
    write(&mut records, &Record::Done)
}

fn write(records: &mut File, record: &Record) -> Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    records.write_all(&line)?;
    // A restart throws away what still waits in the port.
    rustix::termios::tcdrain(&*records).context("cannot drain the port for records")
}

fn carry_out_step(step: &Step) -> Record {
    let limit = Duration::from_secs(step.limit_s);
    match &step.action {
        Action::Shell(line) => {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", line]);
            match run_for(&mut command, limit) {
                Ok((status, output)) => Record::Shell { status, output },
                Err(error) => Record::Shell {
                    status: None,
                    output: format!("{error:#}"),
                },
            }
        }
        Action::Scenario(arguments) => Record::Scenario(scenario(arguments, limit)),
    }
}

/// Runs a scenario in a process of its own; its last line is its report. One that gives none has failed.
fn scenario(arguments: &[String], limit: Duration) -> Report {
    let started = Instant::now();
    println!("=== scenario {}", arguments.join(" "));
    let ran = env::current_exe().context("no own path").and_then(|own| {
        let mut command = Command::new(own);
        command.arg("run").args(arguments);
        run_for(&mut command, limit)
    });
    let failed = |why: String| Report {
        scenario: arguments.first().cloned().unwrap_or_default(),
        tap: arguments
            .windows(2)
            .find(|pair| pair[0] == "--tap")
            .map(|pair| pair[1].clone()),
        outcome: Outcome::Failed(why),
        seconds: started.elapsed().as_secs_f64(),
        facts: Default::default(),
    };
    match ran {
        Err(error) => failed(format!("it could not be started: {error:#}")),
        Ok((status, output)) => {
            print!("{output}");
            let report = output.lines().last().map(serde_json::from_str::<Report>);
            match (report, status) {
                (Some(Ok(report)), _) => report,
                (_, None) => failed(format!("it did not end in {} s", limit.as_secs())),
                (_, Some(status)) => failed(format!("it ended with {status} and no report")),
            }
        }
    }
}

/// Runs `command` in a process group of its own, at most for `limit`; then the whole group is killed and there is no
/// exit status. Gives back what it wrote.
fn run_for(command: &mut Command, limit: Duration) -> Result<(Option<i32>, String)> {
    // A file and not a pipe: what a step leaves running must not keep this process waiting for the end of its output.
    let path = env::temp_dir().join("step-output");
    let mut output = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status.code();
        }
        if Instant::now() >= deadline {
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    // What the step left behind; none is the usual case.
    let group = rustix::process::Pid::from_child(&child);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    child.wait()?;
    let mut bytes = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut bytes)?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Seconds since the kernel started.
fn uptime() -> Result<f64> {
    let text = fs::read_to_string("/proc/uptime")?;
    text.split_whitespace()
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .context("/proc/uptime does not say a time")
}
