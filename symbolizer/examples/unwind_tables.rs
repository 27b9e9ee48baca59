//! Converts files and says what came out, a line of JSON for each:
//!
//!     find /usr/bin /usr/lib -type f | cargo run --release -p fathom-symbolizer --example unwind_tables
//!
//! Names of files come from the standard input, one on a line. The last line is about all of them: the rule table, and the most
//! memory that the process ever had.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, Write as _},
};

use fathom_symbolizer::{
    Error,
    unwind::{Rules, Table, Unsupported, convert_file},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

/// As much as one section may have.
const LIMIT: usize = 1 << 30;

fn main() -> io::Result<()> {
    let mut rules = Rules::new();
    let mut out = io::stdout().lock();
    for name in io::stdin().lock().lines() {
        writeln!(out, "{}", convert(&name?, &mut rules))?;
    }
    let last = json!({ "rules": rules.all().len(), "peak_memory": peak_memory() });
    writeln!(out, "{last}")
}

fn convert(name: &str, rules: &mut Rules) -> Value {
    let file = match File::open(name) {
        Ok(file) => file,
        // It was there when somebody listed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return json!({ "file": name, "gone": true });
        }
        Err(error) => return json!({ "file": name, "error": error.to_string() }),
    };
    let mut table = Table::default();
    let (before, start) = (rules.all().len(), cpu_ns());
    let outcome = convert_file(&file, name, LIMIT, rules, |page| table.push(page));
    let cpu = cpu_ns() - start;
    match outcome {
        Ok(conversion) => {
            let unsupported: Map<String, Value> = Unsupported::ALL
                .into_iter()
                .map(|kind| (kind.name().to_owned(), conversion.unsupported(kind).into()))
                .collect();
            let most_in_page = table.pages().map(|page| page.rows.len()).max();
            json!({
                "file": name,
                "eh_frame": conversion.eh_frame,
                "debug_frame": conversion.debug_frame,
                "entries": conversion.entries,
                "elsewhere": conversion.elsewhere,
                "overlapping": conversion.overlapping,
                "rows": conversion.rows,
                "kept": conversion.kept,
                "pages": conversion.pages,
                "most_in_page": most_in_page.unwrap_or(0),
                "bytes": table.bytes(),
                "new_rules": rules.all().len() - before,
                "cpu_ns": cpu,
                "unsupported": unsupported,
            })
        }
        Err(Error::NotUnwindable { found, .. }) => json!({ "file": name, "not_unwindable": found }),
        Err(error) => json!({ "file": name, "error": error.to_string() }),
    }
}

/// What this thread has used of a core.
fn cpu_ns() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The most memory that was resident, in bytes.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
