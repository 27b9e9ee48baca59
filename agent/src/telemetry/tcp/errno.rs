//! Names of errors.

use std::borrow::Cow;

use crate::net::Outcome;

/// `error.type` of a connection that ended otherwise than in order: the errno where there is one, else how it ended.
pub fn error_type(outcome: Outcome, errno: u32) -> Cow<'static, str> {
    match errno {
        0 => outcome.name().into(),
        errno => errno_name(errno),
    }
}

/// The name of the errors that a connect ends with (connect(2), tcp(7), and what the kernel makes of ICMP: `icmp_err_convert`); others are numbers.
pub fn errno_name(errno: u32) -> Cow<'static, str> {
    let names = [
        (libc::ECONNREFUSED, "ECONNREFUSED"),
        (libc::ECONNRESET, "ECONNRESET"),
        (libc::ECONNABORTED, "ECONNABORTED"),
        (libc::ETIMEDOUT, "ETIMEDOUT"),
        (libc::EHOSTUNREACH, "EHOSTUNREACH"),
        (libc::EHOSTDOWN, "EHOSTDOWN"),
        (libc::ENETUNREACH, "ENETUNREACH"),
        (libc::ENETDOWN, "ENETDOWN"),
        (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (libc::EADDRINUSE, "EADDRINUSE"),
        (libc::ENOPROTOOPT, "ENOPROTOOPT"),
        (libc::ENOBUFS, "ENOBUFS"),
        (libc::EACCES, "EACCES"),
        (libc::EPERM, "EPERM"),
        (libc::EPIPE, "EPIPE"),
    ];
    let known = names
        .iter()
        .find(|(number, _)| u32::try_from(*number) == Ok(errno));
    known.map_or_else(|| errno.to_string().into(), |(_, name)| (*name).into())
}
