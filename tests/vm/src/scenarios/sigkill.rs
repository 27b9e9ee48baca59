//! An agent that is killed under load: the application goes on, the kernel is clean, the next agent starts.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use crate::{agent::Agent, bpf::Objects, context::Context, nginx::Nginx, wrk::Wrk};

/// Kills natively.
const FULL: u64 = 20;

/// Within this the application must have gone on and the kernel must be clean, before patience is applied.
const SOON: Duration = Duration::from_secs(2);

/// Keep-alive connections.
const CONNECTIONS: u64 = 8;

pub fn run(context: &mut Context) -> Result<()> {
    let nginx = Nginx::start(context)?;
    nginx.forget()?;
    let mut wrk = Wrk::start(context, &nginx, CONNECTIONS, None)?;
    let kills = context.scaled(FULL, 3);
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        let agent = Agent::start(context, &[])?;
        slowest = slowest.max(agent.ready_after());
        let objects = Objects::of(agent.pid())?;
        ensure!(
            !objects.programs.is_empty() && !objects.maps.is_empty(),
            "a ready agent holds no program or no map: {objects:?}"
        );
        // Killed at another point of its work each time.
        thread::sleep(Duration::from_millis(kill * 37 % 200));
        agent.kill()?;
        let answered = nginx.answered()?;
        wrk.wait_for(&nginx, answered + CONNECTIONS, SOON * context.patience)?;
        objects.wait_until_gone(SOON * context.patience)?;
    }
    // One more, ended as it should be, leaves nothing either.
    let agent = Agent::start(context, &[])?;
    let objects = Objects::of(agent.pid())?;
    agent.stop()?;
    objects.wait_until_gone(SOON * context.patience)?;

    let summary = wrk.stop()?;
    context.fact("kills", kills);
    context.fact("slowest_ready_ms", slowest.as_secs_f64() * 1000.0);
    context.fact("requests", summary.requests);
    context.fact("longest_answer_ms", summary.max_us / 1000.0);
    ensure!(summary.errors() == 0, "the client saw errors: {summary:?}");
    Ok(())
}
