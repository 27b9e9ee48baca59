//! Uprobes on the functions of TLS libraries and of Go's HTTP client, in the files that [`super::tls`] has looked into.

use std::{
    fs::File,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    thread,
};

use aya::{
    Ebpf,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope},
    },
};

use super::{
    Error,
    tls::{Function, Targets},
};

/// All programs that are attached to TLS libraries' functions.
pub(super) const PROGRAMS: [&str; 15] = [
    "tls_called",
    "tls_called_ex",
    "tls_received",
    "tls_sending",
    "tls_sending_ex",
    "tls_sent",
    "tls_shaken",
    "tls_ended",
    "go_called",
    "go_received",
    "go_sending",
    "go_sent",
    "go_asks",
    "go_writes",
    "go_wrote",
];

/// What they go on to, by the places in [`SHARED_ARRAY`].
pub(super) const SHARED: [(&str, u32); 2] = [("tls_take", 0), ("tls_walk", 1)];

/// The array where they look for that.
pub(super) const SHARED_ARRAY: &str = "TLS_PROGRAMS";

/// The programs of a function: at its entry, and at its return.
fn programs(function: Function) -> Option<(&'static str, Option<&'static str>)> {
    Some(match function {
        Function::SslRead | Function::GnutlsRecv | Function::GnutlsRecvSeq => {
            ("tls_called", Some("tls_received"))
        }
        Function::SslReadEx => ("tls_called_ex", Some("tls_received")),
        Function::SslWrite
        | Function::GnutlsSend
        | Function::GnutlsSend2
        | Function::GnutlsSendRange => ("tls_sending", Some("tls_sent")),
        Function::SslWriteEx => ("tls_sending_ex", Some("tls_sent")),
        Function::SslDoHandshake | Function::GnutlsHandshake => ("tls_called", Some("tls_shaken")),
        Function::SslFree | Function::GnutlsDeinit => ("tls_ended", None),
        Function::GoRead => ("go_called", Some("go_received")),
        Function::GoWrite => ("go_sending", Some("go_sent")),
        Function::GoRoundTrip => ("go_asks", None),
        Function::GoWriteLoop => ("go_writes", Some("go_wrote")),
        // Which socket is whose is seen in the calls that move bytes; a file that the kernel encrypts has no plain text here.
        Function::SslSetFd
        | Function::SslSetRfd
        | Function::SslSetWfd
        | Function::GnutlsSetInt2
        | Function::GnutlsSetPtr
        | Function::GnutlsSetPtr2
        | Function::SslSendfile
        | Function::GoClose => return None,
    })
}

/// Probes that are attached.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<UProbeLink>);

/// Threads that detach probes at the same time.
const DETACHERS: usize = 16;

impl Drop for Links {
    /// The kernel waits for each probe that it removes until no CPU can be in it any more, a tenth of a second. It waits for one after the other,
    /// but for the last part of it.
    fn drop(&mut self) {
        let share = self.0.len().div_ceil(DETACHERS).max(1);
        thread::scope(|scope| {
            while !self.0.is_empty() {
                let links = self.0.split_off(self.0.len().saturating_sub(share));
                scope.spawn(move || drop(links));
            }
        });
    }
}

/// Attaches what belongs to the `wanted` ones of the functions of `targets`, in all processes that map the file, now and later. Returns how many probes that
/// are.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    links: &mut Links,
    file: &File,
    targets: &Targets,
    wanted: impl Fn(Function) -> bool,
) -> Result<usize, Error> {
    // Whatever its path is, in whichever mount namespace.
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let before = links.0.len();
    let mut attach = |name, offset| -> Result<(), Error> {
        links.0.push(attach_at(ebpf, name, &path, offset)?);
        Ok(())
    };
    for site in targets.sites.iter().filter(|site| wanted(site.function)) {
        let Some((at_entry, at_return)) = programs(site.function) else {
            continue;
        };
        if let Some(at_return) = at_return {
            // First, or a call that is under way would leave its note for nobody.
            if site.returns.is_empty() {
                attach(at_return, site.entry)?;
            }
            for &offset in &site.returns {
                attach(at_return, offset)?;
            }
        }
        attach(at_entry, site.entry)?;
    }
    Ok(links.0.len() - before)
}

fn attach_at(
    ebpf: &mut Ebpf,
    name: &'static str,
    path: &Path,
    offset: u64,
) -> Result<UProbeLink, Error> {
    let program: &mut UProbe = of(ebpf, name)?;
    let location = UProbeAttachLocation::AbsoluteOffset(offset);
    program
        .attach(location, path, UProbeScope::AllProcesses)
        .and_then(|id| program.take_link(id))
        .map_err(|error| refused(name, error))
}

/// Loads one of the programs.
pub(super) fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), Error> {
    of(ebpf, name)?.load().map_err(|error| refused(name, error))
}

fn of<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut UProbe, Error> {
    let program = ebpf.program_mut(name).ok_or(Error::Foreign {
        object: "net",
        part: name,
    })?;
    program.try_into().map_err(|error| refused(name, error))
}

fn refused(program: &'static str, error: ProgramError) -> Error {
    Error::Program {
        program,
        error: Box::new(error),
    }
}
