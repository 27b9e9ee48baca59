//! A program that ends with its test.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// The program. Dropping it ends it.
pub struct Running(pub Child);

impl Running {
    /// Starts it, and waits for the line that it prints when it is ready.
    pub fn start(command: &mut Command) -> (Self, String) {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = child.stdout.take().expect("piped");
        let running = Self(child);
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it prints a line when it is ready");
        (running, line.trim().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
