//! The programs: what they need, how they serve, and how they ask.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Certificate, Subject, curl, h2load, nginx,
    plan::Plan,
    process::Running,
    script,
    truth::{self, Log},
    wget, wrk,
};
use crate::{nginx::named_copy, path::find, receiver};

/// For how long a server may take to write down what it answered.
const ANSWERED: Duration = Duration::from_secs(20);

/// A program that serves, asks, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// nginx.
    Nginx,
    /// wrk, over OpenSSL.
    Wrk,
    /// h2load of nghttp2, over OpenSSL.
    H2load,
    /// curl, over OpenSSL.
    Curl,
    /// libcurl over GnuTLS, in Python.
    CurlGnutls,
    /// wget, over GnuTLS.
    Wget,
    /// Python's http.server and `requests`.
    Python,
    /// Node's own modules.
    Node,
    /// Go's net/http.
    Go,
    /// The same, without symbols.
    GoStripped,
    /// gRPC's Python library.
    GrpcPython,
    /// tonic.
    GrpcRust,
}

/// What all programs of a run share.
pub struct Ground {
    /// Where the programs write.
    pub dir: PathBuf,
    /// The certificate of this run; none where none can be made.
    pub certificate: Option<Certificate>,
    /// Where Go's programs are compiled, or lie.
    pub programs: PathBuf,
}

/// What a program says that it is made of.
#[derive(Clone, Debug)]
pub struct Library {
    /// The library that speaks HTTP, with its version.
    pub name: String,
    /// The library that encrypts, with its version.
    pub tls: Option<String>,
}

/// A server at work; it ends with this.
pub struct Server {
    /// What it is made of.
    pub library: Library,
    /// The name under which fathom knows it.
    pub service: String,
    /// Where it listens.
    pub port: u16,
    /// Where it writes down what it answered.
    pub log: PathBuf,
    /// Ended when this goes.
    pub running: Running,
}

/// What a client did.
pub struct Done {
    /// What it is made of.
    pub library: Library,
    /// What it says of what it did.
    pub log: Log,
}

impl Program {
    /// Its name, short enough for a process's name to hold it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
            Self::Curl => "curl",
            Self::CurlGnutls => "pycurl",
            Self::Wget => "wget",
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
            Self::GoStripped => "gostrip",
            Self::GrpcPython => "grpcio",
            Self::GrpcRust => "tonic",
        }
    }

    /// Why it can't be run here.
    pub fn missing(self) -> Option<String> {
        let needs = |program: &str| {
            let none = find(program).is_none();
            none.then(|| format!("no {program}; `cargo xtask setup` installs it"))
        };
        match self {
            Self::Nginx | Self::Wrk | Self::H2load | Self::Curl | Self::Wget | Self::Node => {
                needs(self.name())
            }
            Self::Go | Self::GoStripped => script::go_missing(),
            Self::Python | Self::GrpcPython => receiver::missing(),
            Self::CurlGnutls => script::pycurl_missing(),
            Self::GrpcRust => match script::tonic() {
                Ok(path) if path.is_file() => None,
                Ok(path) => Some(format!(
                    "no {}; `cargo build --release -p fathom-subject-grpc` makes it",
                    path.display()
                )),
                Err(error) => Some(format!("{error:#}")),
            },
        }
    }

    /// Starts it as the server of `subject`, number `number`.
    pub fn serve(self, ground: &Ground, subject: &Subject, number: usize) -> Result<Server> {
        let service = service(number, self, "s");
        match self {
            Self::Nginx => nginx::serve(ground, subject.protocol, &service),
            Self::Wrk | Self::H2load | Self::Curl | Self::CurlGnutls | Self::Wget => {
                bail!("{} is no server", self.name())
            }
            _ => script::serve(self, ground, subject.protocol, &service),
        }
        .with_context(|| format!("{} does not serve {}", self.name(), subject.protocol))
    }

    /// Has it do `plan` as a client of `server`.
    pub fn ask(
        self,
        ground: &Ground,
        subject: &Subject,
        number: usize,
        server: &Server,
        plan: &Plan,
    ) -> Result<Done> {
        self.do_plan(&Asking {
            ground,
            certificate: subject
                .protocol
                .is_secure()
                .then_some(ground.certificate.as_ref())
                .flatten(),
            http2: subject.protocol.is_http2(),
            server,
            service: service(number, self, "c"),
            plan,
            // One at a time where times are measured.
            streams: if plan.len() > 1 { 10 } else { 1 },
        })
        .with_context(|| format!("{} does not ask {}", self.name(), subject.protocol))
    }

    /// Has it do what it is told.
    pub fn do_plan(self, asking: &Asking<'_>) -> Result<Done> {
        match self {
            Self::Nginx => bail!("nginx is no client"),
            Self::Wrk => wrk::ask(asking),
            Self::H2load => h2load::ask(asking),
            Self::Curl => curl::ask(asking),
            Self::Wget => wget::ask(asking),
            _ => script::ask(self, asking),
        }
    }

    /// The methods that it can be told to use.
    pub fn methods(self) -> &'static [&'static str] {
        match self {
            Self::H2load | Self::Wget => &["GET"],
            // It would wait for the body of an answer to HEAD.
            Self::Wrk => &["GET", "POST"],
            _ => &["GET", "HEAD", "POST"],
        }
    }
}

/// The name under which fathom knows the program: its own for this run, so that another run on this machine is not counted, and of 15 bytes, for the
/// kernel keeps no more.
pub fn service(number: usize, program: Program, role: &str) -> String {
    format!("{}-{role}{number:02}{}", program.name(), of_this_run())
}

/// How all those names end.
pub fn of_this_run() -> String {
    format!("-{:03x}", std::process::id() % 0x1000)
}

/// What a client is told.
pub struct Asking<'a> {
    /// What all share.
    pub ground: &'a Ground,
    /// The server's certificate, with TLS.
    pub certificate: Option<&'a Certificate>,
    /// Whether to speak HTTP/2.
    pub http2: bool,
    /// Who is asked.
    pub server: &'a Server,
    /// The name under which fathom knows the client.
    pub service: String,
    /// What to ask for.
    pub plan: &'a Plan,
    /// How many streams of HTTP/2 may be open at a time, where the client can be told.
    pub streams: usize,
}

impl Asking<'_> {
    /// The server's address, without a path.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://127.0.0.1:{}", self.server.port)
    }

    /// A command for `program` under this client's name, so that fathom finds it even when it is gone.
    pub fn command(&self, program: &str) -> Result<Command> {
        let path = self.ground.dir.join(&self.service);
        if !path.exists() {
            named_copy(program, &self.service, &self.ground.dir)?;
        }
        let mut command = Command::new(path);
        command.stdin(std::process::Stdio::null());
        Ok(command)
    }

    /// A file of this client's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.ground.dir.join(format!("{}-{name}", self.service))
    }

    /// Everything that it is told to ask, by all workers.
    pub fn requests(&self) -> usize {
        self.plan.iter().map(Vec::len).sum()
    }
}

impl Server {
    /// Ends it; it must have been there until now.
    pub fn end(mut self) -> Result<()> {
        match self.running.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself, with {status}", self.service),
        }
    }

    /// What it says that it answered, once that is `count` in all.
    pub fn answered(&self, count: u64) -> Result<Log> {
        let deadline = Instant::now() + ANSWERED;
        loop {
            let log = truth::read(&self.log);
            if Instant::now() >= deadline {
                return log;
            }
            // A last line may be half written.
            if let Ok(log) = log
                && truth::total(&log.answers) >= count
            {
                return Ok(log);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The folder of the programs' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../subjects")
}

#[cfg(test)]
mod tests {
    use super::service;
    use crate::subjects::SUBJECTS;

    #[test]
    fn the_kernel_keeps_the_whole_name() {
        for subject in SUBJECTS {
            for program in [subject.server, subject.client] {
                assert!(service(99, program, "s").len() <= 15, "{}", program.name());
            }
        }
    }
}
