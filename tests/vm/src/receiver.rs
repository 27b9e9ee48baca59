//! An OTLP receiver that shares no code with fathom: `tests/python/otlp_receiver.py`, made from the published protobuf schema.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// A receiver at work; it ends with its standard input.
pub struct Receiver {
    _child: Child,
    output: PathBuf,
    address: String,
}

impl Receiver {
    /// Starts one that writes what it takes into `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/otlp_receiver.py");
        let output = dir.join("received.jsonl");
        let child = Command::new(interpreter()?)
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(File::create(&output)?)
            .spawn()
            .context("cannot start the receiver")?;
        let mut receiver = Self {
            _child: child,
            output,
            address: String::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while receiver.address.is_empty() {
            if Instant::now() > deadline {
                bail!("the receiver does not say where it listens");
            }
            thread::sleep(Duration::from_millis(50));
            let first = receiver.lines()?.into_iter().next();
            let address = first.and_then(|line| Some(line.get("listening")?.as_str()?.to_owned()));
            receiver.address = address.unwrap_or_default();
        }
        Ok(receiver)
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests of one signal so far, in the order in which they came.
    pub fn requests(&self, signal: &str) -> Result<Vec<Value>> {
        self.requests_with(signal, "")
    }

    /// The same, those with `text` in them: whatever else runs on this machine may fill the file.
    pub fn requests_with(&self, signal: &str, text: &str) -> Result<Vec<Value>> {
        let lines = self.lines_with(text)?.into_iter();
        Ok(lines
            .filter(|line| line["signal"] == signal)
            .map(|mut line| line["request"].take())
            .collect())
    }

    /// Everything, as it was written.
    pub fn text(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.output)?)
    }

    fn lines(&self) -> Result<Vec<Value>> {
        self.lines_with("")
    }

    fn lines_with(&self, wanted: &str) -> Result<Vec<Value>> {
        let text = self.text()?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .filter(|line| line.contains(wanted))
            .map(|line| serde_json::from_str(line).context("a line that is no JSON"))
            .collect()
    }
}

/// Why no receiver can be started here.
pub fn missing() -> Option<String> {
    interpreter().err().map(|error| error.to_string())
}

/// The interpreter that has `tests/python/requirements.txt` installed.
pub fn interpreter() -> Result<PathBuf> {
    if let Some(path) = env::var_os("FATHOM_TEST_PYTHON") {
        return Ok(path.into());
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.filter(|path| path.is_absolute());
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache
        .or(home)
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    let path = cache.join("fathom/venv/bin/python");
    if !path.is_file() {
        bail!(
            "{} is missing; `cargo xtask setup` makes it",
            path.display()
        );
    }
    Ok(path)
}
