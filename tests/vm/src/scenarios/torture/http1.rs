//! HTTP/1.1: `tests/subjects/torture_client.py` has the cases.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::{
    ROUNDS, script, service,
    truth::{self, End, Truth},
};
use crate::{
    agent::Agent,
    context::Context,
    receiver,
    subjects::{
        Certificate,
        process::{self, Running},
    },
};

/// For how long the server may take to listen.
const LISTENING: Duration = Duration::from_secs(10);

/// Cases of which requests go missing, for what they do is not decoded: floors like those of `seen`, and to be taken away one by one.
const NOT_DECODED: [&str; 4] = ["/parts/", "/early/", "/after-early/", "/unusual/"];

/// Why it can't be run here.
pub fn missing() -> Option<String> {
    receiver::missing().or_else(|| Certificate::missing().map(str::to_owned))
}

pub fn run(context: &mut Context) -> Result<()> {
    let (server_log, client_log) = (context.dir().join("server"), context.dir().join("client"));
    let said = context.dir().join("said");
    let mut server = script("torture_server.py", &service("server"))?;
    let Certificate { certificate, key } = Certificate::create(context.dir())?;
    server
        .args([&server_log, &certificate, &key])
        .stdin(Stdio::piped())
        .stdout(File::create(&said)?);
    let mut server = Running::start(server)?;
    let ports = first_line(&said, &mut server)?;

    let agent = Agent::start(context, &[])?;
    let mut client = script("torture_client.py", &service("client"))?;
    client
        .arg(&client_log)
        .arg(&ports)
        .arg(context.scaled(ROUNDS, 2).to_string())
        .stdin(Stdio::null());
    process::run(client)?;

    let ends = [
        End {
            side: "server",
            service: service("server"),
            truth: Truth::read(&server_log)?,
        },
        End {
            side: "client",
            service: service("client"),
            truth: Truth::read(&client_log)?,
        },
    ];
    truth::judge(context, &agent, &ends, &NOT_DECODED)?;
    ensure!(server.ended()?.is_none(), "the server ended by itself");
    agent.stop()
}

fn first_line(said: &Path, server: &mut Running) -> Result<String> {
    let deadline = Instant::now() + LISTENING;
    loop {
        if let Some((line, _)) = fs::read_to_string(said)?.split_once('\n') {
            return Ok(line.to_owned());
        }
        if server.ended()?.is_some() || Instant::now() >= deadline {
            bail!("the server does not say where it listens");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
