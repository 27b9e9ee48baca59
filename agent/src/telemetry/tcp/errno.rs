//! Names of errors.

use std::borrow::Cow;

/// The name of the errors that a connect ends with (connect(2), tcp(7)); others are numbers.
pub fn errno_name(errno: u32) -> Cow<'static, str> {
    let names = [
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::ECONNRESET, "ECONNRESET"),
        (libc::ECONNABORTED, "ECONNABORTED"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::EACCES, "EACCES"),
        (libc::EPIPE, "EPIPE"),
    ];
    if errno == 0 {
        // Nobody waited for it: the socket was closed first.
        return "abandoned".into();
    }
    let known = names
        .iter()
        .find(|(number, _)| u32::try_from(*number) == Ok(errno));
    known.map_or_else(|| errno.to_string().into(), |(_, name)| (*name).into())
}
