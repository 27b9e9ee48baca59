//! An nginx of the scenario's own: a mix of answers, and an access log that says what it answered.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    context::{Context, free_port},
    metrics,
    path::find,
};

/// A method, a route and a status.
pub type Answer = (String, String, u16);

/// What wrk asks for, in turn: method, path, length of the body.
pub const REQUESTS: [(&str, &str, usize); 12] = [
    ("GET", "/small.txt", 0),
    ("GET", "/users/17", 0),
    ("GET", "/large.bin", 0),
    ("GET", "/empty", 0),
    ("POST", "/upload", 300),
    ("GET", "/moved", 0),
    ("GET", "/small.txt?token=sesame-opens", 0),
    ("GET", "/missing", 0),
    ("PUT", "/users/4711", 20_000),
    ("GET", "/error", 0),
    ("DELETE", "/users/23", 0),
    ("POST", "/empty", 5000),
];

/// A part of a query that must never leave the machine.
pub const SECRET: &str = "sesame";

/// A running nginx.
pub struct Nginx {
    child: Child,
    port: u16,
    name: String,
    log: PathBuf,
}

impl Nginx {
    /// Starts one with two workers. Its executable has a name of its own, so that another nginx on this machine is not counted.
    pub fn start(context: &Context) -> Result<Self> {
        let dir = context.dir().join("nginx");
        fs::create_dir(&dir)?;
        let port = free_port()?;
        let name = format!("nginx-{port}");
        let program = named_copy("nginx", &name, &dir)?;
        fs::write(dir.join("small.txt"), "a small file\n")?;
        fs::write(dir.join("large.bin"), vec![b'x'; 128 * 1024])?;
        let config = dir.join("nginx.conf");
        fs::write(&config, configuration(&dir, port))?;
        let child = Command::new(program)
            .arg("-p")
            .arg(&dir)
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(dir.join("error.log"))
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start nginx")?;
        let mut nginx = Self {
            child,
            port,
            name,
            log: dir.join("access.log"),
        };
        let deadline = Instant::now() + Duration::from_secs(10) * context.patience;
        // Its own connection, closed before any agent runs.
        while metrics::get(([127, 0, 0, 1], port).into(), "/empty").is_err() {
            if nginx.child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(dir.join("error.log")).unwrap_or_default();
                bail!("nginx does not answer: {said}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    /// Its port, on 127.0.0.1 and ::1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its executable's name, which is its service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Empties the access log: what was asked before does not count.
    pub fn forget(&self) -> Result<()> {
        fs::File::create(&self.log)?;
        Ok(())
    }

    /// How many answers the access log holds.
    pub fn answered(&self) -> Result<u64> {
        let log = fs::read(&self.log)?;
        Ok(log.iter().filter(|&&byte| byte == b'\n').count() as u64)
    }

    /// The answers in the access log, by method, route and status.
    pub fn answers(&self) -> Result<BTreeMap<Answer, u64>> {
        let log = fs::read_to_string(&self.log)?;
        let mut answers = BTreeMap::new();
        for line in log.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [method, uri, status] = fields[..] else {
                bail!("not a line of the access log: {line}");
            };
            let answer = (method.to_owned(), route(uri).to_owned(), status.parse()?);
            *answers.entry(answer).or_insert(0) += 1;
        }
        Ok(answers)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM to the master ends the workers too; SIGKILL would leave them.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The route of a request target: what a person would call it, written here and not taken from fathom.
fn route(uri: &str) -> &str {
    let path = uri.split_once('?').map_or(uri, |(path, _)| path);
    if path.starts_with("/users/") {
        "/users/{id}"
    } else {
        path
    }
}

/// A copy of the system's program `program` under another name.
pub fn named_copy(program: &str, name: &str, dir: &Path) -> Result<PathBuf> {
    let from = find(program).with_context(|| format!("no {program} on this machine"))?;
    let to = dir.join(name);
    fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    Ok(to)
}

fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "daemon off;
user root root;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
    log_format exact '$request_method $request_uri $status';
    access_log {dir}/access.log exact;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    server {{
        listen 127.0.0.1:{port};
        listen [::1]:{port};
        root {dir};
        location = /empty {{ return 204; }}
        location = /moved {{ return 301 /small.txt; }}
        location = /error {{ return 500; }}
        location = /upload {{ return 200 'taken'; }}
        location /users/ {{ return 200 'a user'; }}
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::route;

    #[test]
    fn routes_have_no_query_and_no_numbers() {
        assert_eq!(route("/small.txt?token=x"), "/small.txt");
        assert_eq!(route("/users/4711"), "/users/{id}");
        assert_eq!(route("/empty"), "/empty");
    }
}
