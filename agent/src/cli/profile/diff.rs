//! `fathom profile diff`: what changed between two profiles, as shares of each: as a table, as JSON, and as a flame graph in red and blue.

mod changes;
pub mod read;
mod show;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};

use self::{
    changes::changes,
    read::{Content, Stacks},
    show::Compared,
};
use super::output::Target;
use crate::{
    cli::{Failure, Outcome},
    export::{
        calltree::{CallTree, Frame, Side},
        flamegraph::html::{self, About},
        folded,
    },
    profile::Origin,
};

/// Flags of `fathom profile diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The profile before: pprof or folded stacks, gzipped or not, of fathom or of another program
    pub before: PathBuf,
    /// The profile after
    pub after: PathBuf,
    /// Also draw a flame graph of the difference: a file that ends in .html
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// All functions as JSON in place of the table
    #[arg(long)]
    pub json: bool,
    /// How many functions that grew, and how many that shrank, the table has
    #[arg(long, value_name = "COUNT", default_value_t = 15)]
    pub limit: usize,
}

/// Compares the two.
///
/// # Errors
/// Usage: a file for the graph that does not end in `.html`. Otherwise: a file that can't be read, is no profile or has no samples, and one
/// that can't be written.
pub fn run(args: &Args) -> Outcome {
    let graph = match &args.output {
        Some(path) if !is_page(path) => {
            return Err(Failure::Usage(anyhow!(
                "--output {}: the difference is drawn as a page, in a file that ends in .html",
                path.display()
            )));
        }
        Some(path) => Some(Target::open(path)?),
        None => None,
    };
    let before = load(&args.before)?;
    let after = load(&args.after)?;
    if let (Some(one), Some(other)) = (&before.unit, &after.unit)
        && one != other
    {
        eprintln!("fathom: {one} is compared with {other}: these are shares of different things");
    }
    let compared = Compared {
        before: args.before.display().to_string(),
        after: args.after.display().to_string(),
        units: [unit(&before), unit(&after)],
    };
    let tree = together(before, after);
    let changes = changes(&tree);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let shown = if args.json {
        show::json(&compared, &changes, &mut out)
    } else {
        show::table(&compared, &changes, args.limit, &mut out)
    };
    shown
        .and_then(|()| out.flush())
        .context("writing to standard output")?;
    if let Some(graph) = graph {
        let name = graph.name();
        let about = About {
            title: "CPU, difference".to_owned(),
            subtitle: format!("{} → {}", compared.before, compared.after),
            period_ns: 0,
            unit: compared.units[1].clone(),
        };
        graph.write(|out| html::write(&tree, html::Kind::Difference, &about, out))?;
        eprintln!("wrote {name}");
    }
    Ok(())
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "html")
}

fn load(path: &Path) -> anyhow::Result<Stacks> {
    let name = path.display();
    let stacks = read::file(path).with_context(|| format!("{name}"))?;
    if stacks.stacks.iter().all(|(_, count)| *count == 0) {
        bail!(
            "{name}: it has no samples, and nothing can be a share of that; take one of a time in which something ran"
        );
    }
    Ok(stacks)
}

fn unit(stacks: &Stacks) -> String {
    stacks.unit.clone().unwrap_or_else(|| "samples".to_owned())
}

/// One tree of both. What only one of the formats can tell is left out where the formats differ, so that equal functions stay equal.
fn together(before: Stacks, after: Stacks) -> CallTree {
    let is_mixed = before.content != after.content;
    let mut tree = CallTree::default();
    for (stacks, side) in [(before, Side::First), (after, Side::Second)] {
        let Stacks {
            mut frames,
            stacks,
            content,
            ..
        } = stacks;
        if is_mixed {
            for frame in &mut frames {
                *frame = as_both(frame, content);
            }
        }
        for (stack, count) in stacks {
            let stack = stack
                .into_iter()
                .map(|frame| frames[frame as usize].clone());
            tree.add(stack, side, count);
        }
    }
    tree
}

/// A frame with what both formats tell of it: where it is from, other than from the kernel, each tells by its own means.
fn as_both(frame: &Frame, content: Content) -> Frame {
    let mut name = frame.name.clone();
    if content == Content::Pprof {
        let mut pushed = String::new();
        folded::push(&mut pushed, &frame.name);
        name = pushed.into();
    }
    let origin = match frame.origin {
        Some(Origin::Kernel) => Origin::Kernel,
        _ => Origin::Native,
    };
    Frame {
        name,
        origin: Some(origin),
        ..frame.clone()
    }
}

#[cfg(test)]
mod tests;
