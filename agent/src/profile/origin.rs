//! What kind of code a frame is.

use fathom_symbolizer::Frames;

/// Where the code of a frame comes from. Exporters colour and name frames by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The kernel, its modules, BPF programs.
    Kernel,
    /// Code of a file, and the vDSO.
    Native,
    /// What a compiler made while the program ran, in memory without a file: JavaScript, Java, .NET.
    Jit,
    /// A function that an interpreter runs, other than Python's, or the interpreter where it is not known which function: JavaScript's and Java's say so by
    /// what they call their code.
    Interpreted,
    /// A function of Python.
    Python,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Kernel,
        Self::Native,
        Self::Jit,
        Self::Interpreted,
        Self::Python,
    ];

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Native => "native",
            Self::Jit => "jit",
            Self::Interpreted => "interpreted",
            Self::Python => "python",
        }
    }

    /// The value of `profile.frame.type`, whose well-known ones are `kernel`, `native`, `cpython` and one for each managed runtime
    /// (OpenTelemetry semantic conventions 1.44, "Profiles attributes"). Which runtime compiled a frame is not known here, and a made-up
    /// one would be wrong: such frames are `jit`, which the conventions allow as a value of one's own.
    pub fn frame_type(self) -> &'static str {
        match self {
            Self::Python => "cpython",
            other => other.name(),
        }
    }

    /// Of code in memory without a file, by what its compilers call it.
    pub(super) fn of_compiled(frames: &Frames) -> Self {
        if is(frames, is_interpreted) {
            Self::Interpreted
        } else {
            Self::Jit
        }
    }

    /// Of a file's code.
    pub(super) fn of_file(frames: &Frames) -> Self {
        if is(frames, |name| name == V8_TRAMPOLINE) {
            Self::Interpreted
        } else {
            Self::Native
        }
    }
}

/// What stands in a stack for each function that V8's interpreter runs, in the files of programs that hold V8 (`src/builtins/x64/builtins-x64.cc`).
const V8_TRAMPOLINE: &str = "Builtins_InterpreterEntryTrampoline";

fn is(frames: &Frames, named: impl Fn(&str) -> bool) -> bool {
    let name = frames.outermost().and_then(|frame| frame.name.as_ref());
    name.is_some_and(|name| named(name.linkage()))
}

/// V8 puts a sign before a function's name that says what runs it, `~` for its interpreter, behind a word for what it is and a colon
/// (`src/objects/code-kind.cc`, `src/logging/log.cc`); HotSpot calls all of its interpreter one thing (`CodeCache::write_perf_map`).
fn is_interpreted(name: &str) -> bool {
    let function = match name.split_once(':') {
        Some((kind, function)) if kind.bytes().all(|byte| byte.is_ascii_alphabetic()) => function,
        _ => name,
    };
    function.starts_with('~') || matches!(function, "Interpreter" | "InterpreterEntryTrampoline")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_by_what_they_are_called() {
        for name in [
            "JS:~inner /srv/app.js:3:5",
            "LazyCompile:~ /srv/app.js:1",
            "~inner app.js:1",
            "Interpreter",
            "Builtin:InterpreterEntryTrampoline",
        ] {
            assert!(is_interpreted(name), "{name}");
        }
        for name in [
            "JS:*inner /srv/app.js:3:5",
            "JS:^inner /srv/app.js:3:5",
            "JS:+inner /srv/app.js:3:5",
            "void Interpreter.run()",
            "Lapp/Main;::~odd",
            "std::~string",
            "RegExp:a:~b",
        ] {
            assert!(!is_interpreted(name), "{name}");
        }
    }
}
