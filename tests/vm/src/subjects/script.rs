//! The programs of `tests/subjects`, which are all used in the same way.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{
    Protocol,
    process::{self, Running},
    program::{Asking, Done, Ground, Library, Program, Server, sources},
    truth,
};
use crate::{path::find, receiver};

/// For how long a server may take to listen, on an emulated processor, too.
const LISTENING: Duration = Duration::from_secs(60);

/// The interpreter that Debian's python3-pycurl is for.
const PYTHON: &str = "/usr/bin/python3";

/// The first line on standard output.
#[derive(Deserialize)]
struct First {
    library: String,
    tls: Option<String>,
    listening: Option<u16>,
}

impl First {
    fn library(&self) -> Library {
        Library {
            name: self.library.clone(),
            tls: self.tls.clone(),
        }
    }
}

/// Starts a server.
pub fn serve(
    program: Program,
    ground: &Ground,
    protocol: Protocol,
    service: &str,
) -> Result<Server> {
    let log = ground.dir.join(format!("{service}.log"));
    let (said, errors) = (log.with_extension("said"), log.with_extension("errors"));
    let mut command = command(program, ground)?;
    command.arg("server").arg("--log").arg(&log);
    if protocol.is_secure() {
        let certificate = ground.certificate.as_ref().context("no certificate")?;
        command.arg("--certificate").arg(&certificate.certificate);
        command.arg("--key").arg(&certificate.key);
    }
    if protocol.is_http2() {
        command.arg("--http2");
    }
    command
        .env("OTEL_SERVICE_NAME", service)
        // It ends with its standard input, and so with this program, whatever becomes of it.
        .stdin(Stdio::piped())
        .stdout(File::create(&said)?)
        .stderr(File::create(&errors)?);
    let mut running = Running::start(command)?;
    let deadline = Instant::now() + LISTENING;
    loop {
        let text = fs::read_to_string(&said)?;
        if let Some((line, _)) = text.split_once('\n') {
            let first: First = serde_json::from_str(line)
                .with_context(|| format!("not the first line that is agreed: {line}"))?;
            return Ok(Server {
                library: first.library(),
                service: service.to_owned(),
                port: first
                    .listening
                    .context("it does not say where it listens")?,
                log,
                running,
            });
        }
        if running.ended()?.is_some() || Instant::now() >= deadline {
            bail!("it does not listen: {}", fs::read_to_string(&errors)?);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a client to its end.
pub fn ask(program: Program, asking: &Asking<'_>) -> Result<Done> {
    let (plan, log) = (asking.file("plan.json"), asking.file("log"));
    fs::write(&plan, serde_json::to_vec(asking.plan)?)?;
    let mut command = command(program, asking.ground)?;
    command.arg("client").args(["--url", &asking.url()]);
    command.arg("--plan").arg(&plan).arg("--log").arg(&log);
    if let Some(certificate) = asking.certificate {
        command.arg("--certificate").arg(&certificate.certificate);
    }
    if asking.http2 {
        command.arg("--http2");
    }
    command
        .env("OTEL_SERVICE_NAME", &asking.service)
        .stdin(Stdio::null());
    let output = process::run(command)?;
    let first: First = serde_json::from_str(output.lines().next().unwrap_or_default())
        .with_context(|| format!("not the first line that is agreed: {output}"))?;
    Ok(Done {
        library: first.library(),
        log: truth::read(&log)?,
    })
}

fn command(program: Program, ground: &Ground) -> Result<Command> {
    let interpreted = |interpreter: PathBuf, script: &str| {
        let mut command = Command::new(interpreter);
        command.arg(sources().join(script));
        command
    };
    let node = || find("node").context("no node on this machine");
    Ok(match program {
        Program::Python => interpreted(receiver::interpreter()?, "http_python.py"),
        Program::GrpcPython => interpreted(receiver::interpreter()?, "grpc_python.py"),
        Program::CurlGnutls => interpreted(PYTHON.into(), "http_curl_gnutls.py"),
        Program::Node => interpreted(node()?, "http_node.js"),
        Program::Go => Command::new(GoProgram::Http.path(&ground.programs)?),
        Program::GoStripped => Command::new(GoProgram::HttpStripped.path(&ground.programs)?),
        Program::GrpcRust => Command::new(tonic()?),
        _ => bail!(
            "{} is none of the programs in tests/subjects",
            program.name()
        ),
    })
}

/// A program in Go.
#[derive(Clone, Copy)]
pub enum GoProgram {
    /// The subject.
    Http,
    /// The same without symbols.
    HttpStripped,
    /// The server whose handlers ask another one.
    Parents,
    /// The server whose handlers burn CPU.
    Joined,
}

impl GoProgram {
    const ALL: [Self; 4] = [Self::Http, Self::HttpStripped, Self::Parents, Self::Joined];

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "subject-go",
            Self::HttpStripped => "subject-go-stripped",
            Self::Parents => "parents-go",
            Self::Joined => "joined-go",
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::Http | Self::HttpStripped => "http_go.go",
            Self::Parents => "parents_go.go",
            Self::Joined => "joined_go.go",
        }
    }

    /// Where it is in `dir`: compiled once in this process, or brought along where there is no compiler.
    pub fn path(self, dir: &Path) -> Result<PathBuf> {
        static BUILT: [OnceLock<()>; GoProgram::ALL.len()] =
            [const { OnceLock::new() }; GoProgram::ALL.len()];
        let built = &BUILT[self as usize];
        if built.get().is_none() && find("go").is_some() {
            self.compile(dir)?;
            let _ = built.set(());
        }
        Ok(dir.join(self.name()))
    }

    /// Nothing but Go's own library is needed.
    fn compile(self, dir: &Path) -> Result<()> {
        let mut go = process::command("go")?;
        go.arg("build").arg("-o").arg(dir.join(self.name()));
        if matches!(self, Self::HttpStripped) {
            go.args(["-ldflags", "-s -w"]);
        }
        go.arg(sources().join(self.source())).envs([
            ("GOFLAGS", "-mod=mod"),
            ("GOPROXY", "off"),
            ("GO111MODULE", "off"),
            // A guest has not this machine's libc.
            ("CGO_ENABLED", "0"),
        ]);
        if env::var_os("HOME").is_none() {
            go.env("GOCACHE", dir.join("go-cache"));
        }
        process::run(go).context("it does not compile")?;
        Ok(())
    }
}

/// Compiles the programs in Go into `dir`, where there is a compiler.
pub fn compile(dir: &Path) -> Result<()> {
    if find("go").is_none() {
        return Ok(());
    }
    GoProgram::ALL
        .into_iter()
        .try_for_each(|program| program.compile(dir))
}

/// Why there is no program in Go.
pub fn go_missing() -> Option<String> {
    let none = find("go").is_none() && find(GoProgram::Http.name()).is_none();
    none.then(|| "no go; `cargo xtask setup` installs it".to_owned())
}

/// The gRPC program in Rust, which is built beside this one.
pub fn tonic() -> Result<PathBuf> {
    let own = env::current_exe().context("this program's own path")?;
    Ok(own.with_file_name("subject-grpc"))
}

/// Why there is no pycurl over GnuTLS here.
pub fn pycurl_missing() -> Option<String> {
    let mut python = Command::new(PYTHON);
    python
        .args(["-c", "import pycurl; print(pycurl.version)"])
        .stdin(Stdio::null());
    match process::run(python) {
        Ok(version) if version.contains("GnuTLS") => None,
        Ok(version) => Some(format!(
            "python3-pycurl is not over GnuTLS: {}",
            version.trim()
        )),
        Err(_) => Some("no python3-pycurl; `cargo xtask setup` installs it".to_owned()),
    }
}
