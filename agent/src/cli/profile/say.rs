//! What is said on standard error, which may be gone.

/// As `eprintln!`, which ends the process where nobody can read it any more (EIO of a terminal that has hung up, EPIPE): the profile is to be written nevertheless.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

pub(super) use say;
