//! HTTP/2: `tests/subjects/torture_h2.py` has the cases, nginx says what it took them for; and h2load opens more streams on one connection than anything may
//! remember.

use std::process::Stdio;

use anyhow::Result;

use super::{
    ROUNDS, script, service,
    truth::{self, End, Truth},
};
use crate::{
    agent::Agent,
    context::Context,
    subjects::{
        Protocol, Seen, Subject,
        plan::Ask,
        process,
        program::{self, Asking, Ground, Program},
        truth::total,
    },
};

/// Streams on one connection, natively, and how many are open at a time.
const STREAMS: u64 = 10_000;
const AT_A_TIME: usize = 100;

/// Cases of which requests go missing, for what they do is not decoded; to be taken away one by one.
const NOT_DECODED: [&str; 2] = ["/echo/dribbled/", "/echo/interleaved/"];

/// What it is about.
const SUBJECT: Subject = Subject {
    protocol: Protocol::Http2,
    server: Program::Nginx,
    client: Program::H2load,
    of_server: Seen::Fully,
    of_client: Seen::Fully,
};

/// Why it can't be run here.
pub fn missing() -> Option<String> {
    SUBJECT
        .server
        .missing()
        .or_else(|| SUBJECT.client.missing())
        .or_else(|| Program::Python.missing())
}

pub fn run(context: &mut Context) -> Result<()> {
    let ground = Ground {
        dir: context.dir().to_path_buf(),
        certificate: None,
        programs: context.programs.clone(),
    };
    let server = SUBJECT.server.serve(&ground, &SUBJECT, 0)?;
    let agent = Agent::start(context, &[])?;

    let mut client = script("torture_h2.py", &service("client"))?;
    client
        .arg(server.port.to_string())
        .arg(context.scaled(ROUNDS, 2).to_string())
        .stdin(Stdio::null());
    process::run(client)?;
    let streams = context.scaled(STREAMS, 200);
    let plan = vec![
        (0..streams)
            .map(|number| Ask {
                method: "GET",
                path: format!("/users/{}", number % 100),
                body: 0,
                fresh: false,
            })
            .collect(),
    ];
    let asking = Asking {
        ground: &ground,
        certificate: None,
        http2: true,
        server: &server,
        service: program::service(0, SUBJECT.client, "c"),
        plan: &plan,
        streams: AT_A_TIME,
    };
    let done = SUBJECT.client.do_plan(&asking)?;
    context.fact("streams", total(&done.log.answers));

    let truth = Truth::read(&server.log)?;
    let client = |service, case| End {
        side: "client",
        service,
        truth: truth.of(case),
    };
    let ends = [
        client(service("client"), "/echo/"),
        client(asking.service.clone(), "/users/"),
        End {
            side: "server",
            service: server.service.clone(),
            truth: truth.clone(),
        },
    ];
    truth::judge(context, &agent, &ends, &NOT_DECODED)?;
    agent.stop()?;
    server.end()
}
