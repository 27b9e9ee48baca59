//! What can't work: each case ends soon, with one clear line and the exit code that says whose fault it is.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use fathom_scenarios::catalog::TAPS;

use crate::{
    agent::Agent,
    context::{Context, free_port},
    kernel::lacks,
};

/// The machine does not let it work.
const CANNOT: i32 = 1;

/// A flag or the configuration is wrong.
const USAGE: i32 = 2;

/// The user and the group that nobody is.
const NOBODY: u32 = 65534;

/// Within this every case must end, before patience is applied.
const LIMIT: Duration = Duration::from_secs(10);

pub fn run(context: &mut Context) -> Result<()> {
    let mut cases = 0;
    let mut case = |name: &str, ran: Result<()>| -> Result<()> {
        cases += 1;
        ran.with_context(|| name.to_owned())
    };
    case("no root", no_root(context))?;
    case("no BTF", no_btf(context))?;
    case("a port that is taken", taken_port(context))?;
    for tap in TAPS {
        if lacks(tap).is_some() {
            let ran = end_of(context, &mut agent(context, &["--tap", tap]));
            case(
                &format!("--tap {tap} on a kernel without it"),
                ran.and_then(|end| end.expect(CANNOT, &[tap])),
            )?;
        }
    }
    for (name, text, words) in [
        (
            "an unknown key",
            "listn: 127.0.0.1:0\n",
            &[":1", "listn"][..],
        ),
        (
            "an unknown inner key",
            "profile:\n  frequenzy: 99\n",
            &[":2", "frequenzy"],
        ),
        (
            "a wrong type",
            "tap: auto\nmemory_limit: [1]\n",
            &[":2", "memory_limit"],
        ),
        ("a bad value", "\ntap: ebpf\n", &[":2", "tap", "fentry"]),
        (
            "a rule without a value",
            "flows:\n  logs:\n    - failed: true\n    - port: []\n",
            &[":4", "flows.logs.port", "the list is empty"],
        ),
        (
            "an unknown key of a rule",
            "flows:\n  logs:\n    - ports: 80\n",
            &[":3", "ports"],
        ),
        ("no YAML", "tap: [auto\n", &["fathom.yaml"]),
    ] {
        case(name, bad_config(context, text, words))?;
    }
    case("a file that is not there", {
        let ran = end_of(
            context,
            &mut agent(context, &["--config", "/nowhere/fathom.yaml"]),
        );
        ran.and_then(|end| end.expect(USAGE, &["/nowhere/fathom.yaml"]))
    })?;
    for (name, flags, words) in [
        ("a bad tap", ["--tap", "ebpf"], &["--tap", "ebpf"][..]),
        (
            "a bad size",
            ["--memory-limit", "many"],
            &["--memory-limit", "many"],
        ),
        ("a bad address", ["--listen", "here"], &["--listen", "here"]),
        ("a bad capability", ["--capabilities", "disk"], &["disk"]),
        ("an unknown flag", ["--frequency", "9"], &["--frequency"]),
    ] {
        let ran = end_of(context, &mut agent(context, &flags));
        case(name, ran.and_then(|end| end.expect(USAGE, words)))?;
    }
    case(
        "an endpoint that is not there",
        unreachable_endpoint(context),
    )?;
    context.fact("cases", cases);
    Ok(())
}

/// How a run ended.
struct Ended {
    code: Option<i32>,
    stderr: String,
}

impl Ended {
    /// Checks the exit code, that there is exactly one line from fathom for people, and that it holds each of `words`.
    fn expect(&self, code: i32, words: &[&str]) -> Result<()> {
        let Self {
            code: ended,
            stderr,
        } = self;
        ensure!(
            *ended == Some(code),
            "exit code {ended:?} and not {code}: {stderr}"
        );
        ensure!(!stderr.contains("panicked"), "it panicked: {stderr}");
        // Usage errors are clap's where clap finds them; all others are fathom's own line.
        let lines: Vec<&str> = stderr
            .lines()
            .filter(|line| line.starts_with("fathom: ") || line.starts_with("error: "))
            .collect();
        let [line] = lines[..] else {
            bail!("not one line that says why: {stderr}");
        };
        for word in words {
            ensure!(line.contains(word), "the line does not say {word}: {line}");
        }
        Ok(())
    }
}

/// A command that runs the agent on a free port, unless `arguments` say otherwise.
fn agent(context: &Context, arguments: &[&str]) -> Command {
    agent_of(&context.fathom, arguments)
}

fn agent_of(fathom: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(fathom);
    command.args(["agent", "--no-table"]);
    if !arguments.contains(&"--listen") && !arguments.contains(&"--config") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.args(arguments);
    command
}

/// Runs `command` to its end, which must come soon.
fn end_of(context: &Context, command: &mut Command) -> Result<Ended> {
    let log = context.dir().join("bad-input.log");
    let mut child = command
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()
        .context("cannot start it")?;
    let deadline = Instant::now() + LIMIT * context.patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("it went on: {}", fs::read_to_string(&log)?);
        }
        thread::sleep(Duration::from_millis(10));
    };
    Ok(Ended {
        code: status.code(),
        stderr: fs::read_to_string(&log)?,
    })
}

fn no_root(context: &Context) -> Result<()> {
    // A copy that nobody may run: the folders above the binary may be closed to others.
    let dir = tempfile::Builder::new()
        .prefix("fathom-nobody-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()?;
    let fathom = dir.path().join("fathom");
    fs::copy(&context.fathom, &fathom)?;
    fs::set_permissions(&fathom, fs::Permissions::from_mode(0o755))?;
    let mut command = agent_of(&fathom, &[]);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    end_of(context, &mut command)?.expect(CANNOT, &["root"])
}

fn no_btf(context: &Context) -> Result<()> {
    let empty = context.dir().join("empty");
    fs::create_dir_all(&empty)?;
    // In a mount namespace of its own, /sys/kernel/btf is an empty folder.
    let mut command = Command::new("unshare");
    command.args([
        "-m",
        "sh",
        "-c",
        "mount --bind \"$1\" /sys/kernel/btf && exec \"$2\" agent --no-table --listen 127.0.0.1:0",
        "sh",
    ]);
    command.arg(&empty).arg(&context.fathom);
    end_of(context, &mut command)?.expect(CANNOT, &["BTF"])
}

fn taken_port(context: &Context) -> Result<()> {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = taken.local_addr()?.to_string();
    let ended = end_of(context, &mut agent(context, &["--listen", &address]))?;
    ended.expect(CANNOT, &[&address, "--listen"])
}

fn bad_config(context: &Context, text: &str, words: &[&str]) -> Result<()> {
    let file = context.dir().join("fathom.yaml");
    fs::write(&file, text)?;
    let file = file.to_string_lossy();
    let ended = end_of(context, &mut agent(context, &["--config", &file]))?;
    ended.expect(USAGE, words)
}

/// The agent does its main job all the same, and says what it could not send.
fn unreachable_endpoint(context: &Context) -> Result<()> {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let file = context.dir().join("quick.yaml");
    fs::write(&file, "otlp:\n  interval: 1s\n  timeout: 1s\n")?;
    let agent = Agent::start(
        context,
        &[
            "--config",
            &file.to_string_lossy(),
            "--otlp-endpoint",
            &format!("http://{nobody}"),
        ],
    )?;
    // An export is given up only after it was tried again for a while.
    let deadline = Instant::now() + Duration::from_secs(30) * context.patience;
    loop {
        let metrics = agent.metrics()?;
        let exporter = |outcome: &[(&str, &str)]| {
            let labels = [&[("stage", "exporter")], outcome].concat();
            metrics.count("fathom_events_total", &labels)
        };
        ensure!(
            exporter(&[("outcome", "delivered")]) == 0,
            "something was delivered to an endpoint that is not there"
        );
        if exporter(&[]) > 0 {
            break;
        }
        if Instant::now() >= deadline {
            bail!(
                "no export was counted as lost; the exporter says {:?}",
                metrics
                    .select("fathom_events_total", &[("stage", "exporter")])
                    .collect::<Vec<_>>()
            );
        }
        thread::sleep(Duration::from_millis(200));
    }
    ensure!(
        agent.log().contains(&nobody.to_string()),
        "the log does not name the endpoint: {}",
        agent.log()
    );
    agent.stop()
}
