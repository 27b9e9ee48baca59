//! The price for nginx under load.

use std::path::Path;

use anyhow::Result;
use fathom_scenarios::pairs::Sample;

use super::{
    super::{
        server::{Door, Server},
        wrk::{self, Pace},
    },
    Options, Watcher, compare,
};

pub fn run(options: &Options, binary: &Path) -> Result<()> {
    let server = Server::start(options.port, None)?;
    let url = server.url(Door::Plain);
    compare(
        options,
        binary,
        "web",
        "nginx with 2 workers and wrk share the cores; the whole machine is sampled at 100 Hz.",
        |watcher| {
            let before = server.cpu_seconds()?;
            let load = wrk::run(&url, Pace::Saturated, options.seconds)?;
            Ok(Sample {
                requests: load.requests,
                per_second: load.per_second,
                application_cpu: server.cpu_seconds()? - before,
                agent: watcher.map(Watcher::sample).transpose()?,
            })
        },
    )?;
    server.stop()
}
