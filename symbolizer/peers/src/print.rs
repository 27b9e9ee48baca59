//! Addresses from standard input, answers to standard output in llvm-symbolizer's default form.

use std::io::{self, BufRead as _, BufReader, BufWriter, Write};

use anyhow::{Context as _, Result};

use crate::{Frame, Library, Sink};

/// The most addresses that are asked for at once: as many as a profiler has in a few seconds.
const BATCH: usize = 1 << 14;
/// How much input is taken at once, in bytes: so many addresses.
const INPUT: usize = BATCH * 20;

struct Printer<W> {
    out: W,
    /// Writing failed: told after the batch, for a sink has no errors.
    failed: Option<io::Error>,
}

impl<W: Write> Sink for Printer<W> {
    fn frame(&mut self, frame: &Frame<'_>) {
        let Frame {
            function,
            file,
            line,
            column,
        } = frame;
        if let Err(error) = writeln!(self.out, "{function}\n{file}:{line}:{column}") {
            self.failed = Some(error);
        }
    }

    fn end(&mut self) {
        if let Err(error) = writeln!(self.out) {
            self.failed = Some(error);
        }
    }
}

/// Answers as long as addresses come; what is ready is written out before the next address is waited for.
pub fn answers(library: &mut dyn Library) -> Result<()> {
    let mut input = BufReader::with_capacity(INPUT, io::stdin().lock());
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        failed: None,
    };
    let mut batch = Vec::with_capacity(BATCH);
    let mut line = String::new();
    loop {
        line.clear();
        let is_end = input.read_line(&mut line)? == 0;
        if !is_end {
            batch.push(parse(line.trim())?);
        }
        if batch.len() == BATCH || is_end || !input.buffer().contains(&b'\n') {
            library.answer(&batch, &mut printer)?;
            batch.clear();
        }
        if is_end || !input.buffer().contains(&b'\n') {
            printer.out.flush()?;
        }
        if let Some(error) = printer.failed.take() {
            return Err(error).context("standard output");
        }
        if is_end {
            return Ok(());
        }
    }
}

/// An address as llvm-symbolizer reads it, with `0x`.
pub fn parse(text: &str) -> Result<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).with_context(|| format!("{text}: no address"))
}
