//! The tests' Python programs, in the environment that `cargo xtask setup` makes.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

/// The interpreter that has `tests/python/requirements.txt` installed, or why there is none.
pub fn interpreter() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("FATHOM_TEST_PYTHON") {
        return Ok(path.into());
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    let path = cache.join("fathom/venv/bin/python");
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "{} is missing; `cargo xtask setup` makes it",
            path.display()
        ))
    }
}

/// A program of `tests/python`.
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/python")
        .join(name)
}

/// A receiver at work.
pub struct Receiver {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// `127.0.0.1:PORT`
    pub address: String,
}

impl Receiver {
    pub fn start(python: &Path) -> Self {
        let mut child = Command::new(python)
            .arg(program("otlp_receiver.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("its first line");
        let first: Value = serde_json::from_str(&first).expect("JSON");
        Self {
            address: first["listening"].as_str().expect("where").to_owned(),
            child,
            lines,
        }
    }

    /// Ends it, and gives what it received.
    pub fn stop(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        let records = self
            .lines
            .lines()
            .map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON"))
            .collect();
        assert!(self.child.wait().expect("its end").success());
        records
    }
}

/// Runs a program with this on its standard input, and gives what it says.
pub fn filter(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}\nof\n{input}");
    said
}
