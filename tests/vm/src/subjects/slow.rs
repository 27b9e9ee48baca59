//! Something slow for nginx to ask, so that its own clock, which knows milliseconds, is close enough to compare with.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// How long each answer takes: 5 % of it are two of nginx's milliseconds.
const DELAY: Duration = Duration::from_millis(40);

const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nslow";

/// Answers at the Unix socket `path` for as long as this process runs.
pub fn serve(path: &Path) -> Result<()> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One that goes away in the middle is nginx's to report.
            thread::spawn(move || answer(stream));
        }
    });
    Ok(())
}

fn answer(mut stream: UnixStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    thread::sleep(DELAY);
    stream.write_all(ANSWER)
}
