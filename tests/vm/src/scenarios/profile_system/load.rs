//! What keeps the machine at work beside nginx: programs of the distribution, as they are.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{
    context::{Context, free_port},
    path::find,
    subjects::process,
};

/// All of them. One that this machine lacks says so.
pub const ALL: [fn(&Context) -> Result<Load>; 4] = [compilers, rust, python, postgres];

/// A process with all that it started, in a group of its own.
pub struct Load {
    name: &'static str,
    child: Child,
    /// What else belongs to it and ends behind it.
    below: Option<Box<Self>>,
}

impl Load {
    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name,
            child,
            below: None,
        })
    }

    /// An error where it has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended with {status}", self.name),
            None => Ok(()),
        }
    }

    /// Ends it; it must have run until now.
    pub fn stop(mut self) -> Result<()> {
        self.still_runs()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // PostgreSQL takes SIGINT for a fast shutdown; others end at once. Nothing may be left of it.
        let _ = kill_process_group(group, Signal::INT);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
        self.below.take();
    }
}

/// A shell that does the same again and again.
fn again(name: &'static str, line: &str) -> Result<Load> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("while {line}; do :; done")]);
    Load::start(name, shell)
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs/chains")
}

/// gcc and g++, a process tree for each file.
fn compilers(context: &Context) -> Result<Load> {
    ensure!(
        find("c++").is_some() && find("cc").is_some(),
        "no C++ compiler"
    );
    let (from, to) = (sources(), context.dir().join("compiled.o"));
    again(
        "c++",
        &format!(
            "c++ -O2 -c {0}/chains.cpp -o {1} && cc -O2 -c {0}/chains.c -o {1}",
            from.display(),
            to.display()
        ),
    )
}

/// rustc, with its threads.
fn rust(context: &Context) -> Result<Load> {
    ensure!(find("rustc").is_some(), "no rustc");
    let to = context.dir().join("compiled-rust.o");
    again(
        "rustc",
        &format!(
            "rustc -O --edition 2024 --emit obj {}/chains.rs -o {}",
            sources().display(),
            to.display()
        ),
    )
}

/// CPython, in its own loop and in modules written in C.
fn python(_: &Context) -> Result<Load> {
    const WORK: &str = "
import hashlib, json, re, sqlite3, zlib
records = [{'id': at, 'name': 'record %d' % at, 'tags': list(range(at % 9))} for at in range(200)]
base = sqlite3.connect(':memory:')
base.execute('create table t (id integer, text text)')
while True:
    text = json.dumps(records)
    assert json.loads(text) == records
    re.findall(r'record (\\d+)', text)
    zlib.decompress(zlib.compress(text.encode()))
    hashlib.sha256(text.encode()).hexdigest()
    sorted(records, key=lambda record: -record['id'])
    base.executemany('insert into t values (?, ?)', [(r['id'], r['name']) for r in records])
    base.execute('select count(*) from t where text like ?', ('%7%',)).fetchone()
    base.execute('delete from t')
";
    let program = Path::new("/usr/bin/python3");
    ensure!(program.is_file(), "no {}", program.display());
    let mut command = Command::new(program);
    command.args(["-c", WORK]);
    Load::start("python3", command)
}

/// PostgreSQL with pgbench. It refuses to run as root.
fn postgres(context: &Context) -> Result<Load> {
    let (uid, gid) = user("postgres").context("no user postgres: postgresql is not installed")?;
    let programs = programs().context("no initdb below /usr/lib/postgresql")?;
    let dir = context.dir().join("postgres");
    fs::create_dir(&dir)?;
    chown(&dir, Some(uid), Some(gid))?;
    // Its folder is to be reached through the scenario's.
    fs::set_permissions(context.dir(), fs::Permissions::from_mode(0o711))?;
    let port = free_port()?.to_string();
    let as_user = |name: &str| {
        let mut command = Command::new(programs.join(name));
        command
            .uid(uid)
            .gid(gid)
            .current_dir(&dir)
            .env("PGPORT", &port)
            .env("PGHOST", &dir)
            .env("PGDATABASE", "postgres")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    };
    let data = dir.join("data");
    let mut init = as_user("initdb");
    init.args(["--no-sync", "--auth", "trust", "-D"]).arg(&data);
    process::run(init).context("initdb")?;
    let mut server = as_user("postgres");
    server
        .arg("-D")
        .arg(&data)
        .args(["-c", "listen_addresses=", "-k"])
        .arg(&dir)
        .args(["-c", "fsync=off"]);
    let server = Load::start("postgres", server)?;
    // It listens before it answers.
    let deadline = Instant::now() + Duration::from_secs(30);
    while process::run(as_user("pg_isready")).is_err() {
        ensure!(Instant::now() < deadline, "PostgreSQL does not answer");
        thread::sleep(Duration::from_millis(50));
    }
    let mut fill = as_user("pgbench");
    fill.args(["--initialize", "--scale", "2", "--quiet"]);
    process::run(fill).context("pgbench --initialize")?;
    let mut bench = as_user("pgbench");
    bench.args(["--client", "4", "--time", "600"]);
    let mut bench = Load::start("pgbench", bench)?;
    bench.below = Some(Box::new(server));
    Ok(bench)
}

/// The newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop()
}

/// A user's number and its group's (passwd(5)).
fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
