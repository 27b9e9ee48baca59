//! Stacks as a profiler prints them, in one form.

use anyhow::{Context as _, Result};

/// A stack and how often it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The thread's name.
    pub comm: String,
    /// Frames of user code, root first.
    pub user: Vec<String>,
    /// How many frames of the kernel are above them.
    pub kernel: usize,
    /// Samples.
    pub count: u64,
}

impl Stack {
    /// The frames of user code.
    pub fn frames(&self) -> Vec<&str> {
        self.user.iter().map(String::as_str).collect()
    }

    /// The user code, for a message; runs of one function are shortened.
    pub fn shown(&self) -> String {
        let mut text = Vec::new();
        let mut frames = self.user.iter().peekable();
        while let Some(frame) = frames.next() {
            let mut run = 1;
            while frames.next_if_eq(&frame).is_some() {
                run += 1;
            }
            text.push(if run == 1 {
                frame.clone()
            } else {
                format!("{frame}*{run}")
            });
        }
        if self.kernel > 0 {
            text.push("kernel".to_owned());
        }
        text.join(";")
    }
}

/// Reads folded stacks as fathom writes them: the thread's name, then frames from the root on, then a blank and the count. What was
/// inlined (`_[i]`) is left out: a chain is one of calls.
pub fn folded(text: &str) -> Result<Vec<Stack>> {
    text.lines()
        .map(|line| {
            let read = || {
                let (stack, count) = line.rsplit_once(' ')?;
                let mut frames = stack.split(';');
                let comm = frames.next()?.to_owned();
                let frames: Vec<&str> = frames.filter(|frame| !frame.ends_with("_[i]")).collect();
                let is_kernel = |frame: &&&str| frame.ends_with("_[k]");
                Some(Stack {
                    comm,
                    kernel: frames.iter().filter(is_kernel).count(),
                    user: frames
                        .iter()
                        .filter(|frame| !is_kernel(frame))
                        .map(|frame| (*frame).to_owned())
                        .collect(),
                    count: count.parse().ok()?,
                })
            };
            read().with_context(|| format!("not a folded stack: {line}"))
        })
        .collect()
}

/// Reads what `perf script -F comm,ip,sym,dso` prints: the thread's name, then a line for each frame from the leaf on, then an empty one.
pub fn perf_script(text: &str) -> Vec<Stack> {
    let samples = text.split("\n\n").filter_map(|sample| {
        let mut lines = sample.trim_matches('\n').lines();
        let comm = lines.next()?.trim().to_owned();
        let (mut user, mut kernel) = (Vec::new(), 0);
        for line in lines {
            // `ip name (file)`; a name may hold blanks and brackets.
            let (name, file) = line.trim().strip_suffix(')')?.rsplit_once(" (")?;
            let (_, name) = name.split_once(' ')?;
            if file.starts_with("[kernel.") || (file.starts_with('[') && file.ends_with(".ko]")) {
                kernel += 1;
            } else if name == "[unknown]" && file != "[unknown]" {
                user.push(format!("[{}]", file.rsplit('/').next().unwrap_or(file)));
            } else {
                user.push(name.to_owned());
            }
        }
        user.reverse();
        Some(Stack {
            comm,
            user,
            kernel,
            count: 1,
        })
    });
    samples.filter(|stack| !stack.comm.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_stacks_are_read_without_what_was_inlined() {
        let stacks = folded("a b;_start;main;f (x)_[i];f;sys_read_[k] 12\n").expect("a stack");
        assert_eq!(
            stacks,
            [Stack {
                comm: "a b".to_owned(),
                user: ["_start", "main", "f"].map(str::to_owned).to_vec(),
                kernel: 1,
                count: 12,
            }]
        );
        assert_eq!(stacks[0].shown(), "_start;main;f;kernel");
        assert!(folded("no count\n").is_err());
    }

    #[test]
    fn perfs_frames_are_turned_around_and_told_apart() {
        let text = "chain-x\n\tffffffff81 vfs_read ([kernel.kallsyms])\n\t  55d0 f (int) (/tmp/a b)\n\t55d1 [unknown] (/lib/libx.so)\n\t0 [unknown] ([unknown])\n\nchain-y\n\n";
        let stacks = perf_script(text);
        assert_eq!(stacks[0].user, ["[unknown]", "[libx.so]", "f (int)"]);
        assert_eq!((stacks[0].kernel, stacks[1].comm.as_str()), (1, "chain-y"));
    }

    #[test]
    fn runs_of_a_function_are_shortened() {
        let stack = Stack {
            comm: String::new(),
            user: ["main", "f", "f", "f"].map(str::to_owned).to_vec(),
            kernel: 0,
            count: 1,
        };
        assert_eq!(stack.shown(), "main;f*3");
    }
}
