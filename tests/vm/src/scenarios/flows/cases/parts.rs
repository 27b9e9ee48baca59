//! The programs that a case starts besides itself.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::super::end::{End, listener};

/// Bytes that a victim sends on each of its connections.
pub const SENT: u64 = 700;
/// Bytes that it waits for.
pub const RECEIVED: u64 = 900;

/// What a part does.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Part {
    /// Connects to an address and accepts one connection, says something on both, and waits for its death.
    Victim,
    /// Speaks on the socket that is its standard input, and closes it.
    Heir,
    /// Accepts one connection from the listener that is its standard input.
    Acceptor,
}

/// A part that runs, and does not outlive this.
pub struct Running {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Starts it.
    pub fn start(part: &str, address: SocketAddr, input: Stdio) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["flow", "part", part, &address.to_string()])
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the {part}"))?;
        let said = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, said })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says.
    pub fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(!line.is_empty(), "it ended");
        Ok(line.trim().to_owned())
    }

    /// Waits for its end.
    pub fn end(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// Kills it.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does it, as a program.
pub fn run(part: Part, address: SocketAddr) -> Result<()> {
    match part {
        Part::Victim => victim(address),
        Part::Heir => heir(),
        Part::Acceptor => acceptor(),
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Says where it listens, then the local address of its own connection, then that everything was said and read, and then, where more comes on both connections, that it is there.
fn victim(address: SocketAddr) -> Result<()> {
    let listener = listener()?;
    say(&listener.local_addr()?.to_string())?;
    let mut ends = [
        End::connect("victim", address)?,
        End::accept("victim", &listener)?,
    ];
    say(&ends[0].note.local.to_string())?;
    for end in &mut ends {
        end.write(SENT)?;
        end.read(RECEIVED)?;
    }
    say("ready")?;
    for end in &ends {
        end.stream.peek(&mut [0])?;
    }
    say("unread")?;
    thread::sleep(Duration::from_mins(10));
    bail!("nobody killed it")
}

fn input() -> Result<OwnedFd> {
    rustix::io::dup(io::stdin()).context("no standard input")
}

fn heir() -> Result<()> {
    let mut stream = TcpStream::from(input()?);
    stream.write_all(&[b'.'; SENT as usize])?;
    Ok(())
}

fn acceptor() -> Result<()> {
    let mut end = End::accept("acceptor", &TcpListener::from(input()?))?;
    end.read(RECEIVED)?;
    end.write(SENT)?;
    end.read_end()
}
