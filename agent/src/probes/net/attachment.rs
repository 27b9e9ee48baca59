//! Programs of the object, and where each goes: to an event, or to where others look for it.

use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{BtfTracePoint, FExit, KProbe, Program, ProgramError, RawTracePoint, TracePoint},
};

use super::OBJECT;
use crate::probes::{Error, maps::map_error};

/// A program and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attachment {
    FExit(&'static str, &'static str),
    BtfTracepoint(&'static str, &'static str),
    RawTracepoint(&'static str, &'static str),
    KProbe(&'static str, &'static [&'static str]),
    Tracepoint(&'static str, &'static [&'static str]),
}

impl Attachment {
    pub(super) const fn name(self) -> &'static str {
        let (Self::FExit(name, _)
        | Self::BtfTracepoint(name, _)
        | Self::RawTracepoint(name, _)
        | Self::KProbe(name, _)
        | Self::Tracepoint(name, _)) = self;
        name
    }
}

/// A program that others go on to with a tail call; it is loaded like them, and not attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walker {
    pub(super) program: Attachment,
    pub(super) array: &'static str,
    pub(super) entry: u32,
}

pub(super) fn load(
    ebpf: &mut Ebpf,
    attachment: Attachment,
    kernel: &aya::Btf,
) -> Result<(), Error> {
    with_program(ebpf, attachment, |program| {
        // One program may serve two functions.
        if program.fd().is_ok() {
            return Ok(());
        }
        match attachment {
            Attachment::FExit(_, function) => {
                <&mut FExit>::try_from(program)?.load(function, kernel)
            }
            Attachment::BtfTracepoint(_, event) => {
                <&mut BtfTracePoint>::try_from(program)?.load(event, kernel)
            }
            Attachment::RawTracepoint(..) => <&mut RawTracePoint>::try_from(program)?.load(),
            Attachment::KProbe(..) => <&mut KProbe>::try_from(program)?.load(),
            Attachment::Tracepoint(..) => <&mut TracePoint>::try_from(program)?.load(),
        }
    })
}

pub(super) fn attach(ebpf: &mut Ebpf, attachment: Attachment) -> Result<(), Error> {
    with_program(ebpf, attachment, |program| {
        match attachment {
            Attachment::FExit(..) => {
                <&mut FExit>::try_from(program)?.attach()?;
            }
            Attachment::BtfTracepoint(..) => {
                <&mut BtfTracePoint>::try_from(program)?.attach()?;
            }
            Attachment::RawTracepoint(_, event) => {
                <&mut RawTracePoint>::try_from(program)?.attach(event)?;
            }
            Attachment::KProbe(_, functions) => {
                let program: &mut KProbe = program.try_into()?;
                for function in functions {
                    program.attach(function, 0)?;
                }
            }
            Attachment::Tracepoint(_, events) => {
                let program: &mut TracePoint = program.try_into()?;
                for event in events {
                    program.attach("syscalls", event)?;
                }
            }
        }
        Ok(())
    })
}

/// The kernel's type information, as aya wants it.
pub(super) fn kernel_btf() -> Result<aya::Btf, Error> {
    aya::Btf::from_sys_fs().map_err(|error| Error::Load {
        object: OBJECT,
        error: Box::new(error.into()),
    })
}

/// Loads a program that others go on to, and puts it where they look for it.
pub(super) fn load_walker(ebpf: &mut Ebpf, walker: Walker, kernel: &aya::Btf) -> Result<(), Error> {
    load(ebpf, walker.program, kernel)?;
    put(ebpf, walker.program.name(), walker.array, walker.entry)
}

/// Puts a program where others look for it. It stays there as long as the object holds the array.
pub(super) fn put(
    ebpf: &mut Ebpf,
    name: &'static str,
    array: &'static str,
    entry: u32,
) -> Result<(), Error> {
    let program = ebpf.program(name).and_then(|program| program.fd().ok());
    let fd = program
        .and_then(|fd| fd.try_clone().ok())
        .ok_or(Error::Foreign {
            object: OBJECT,
            part: name,
        })?;
    let map = ebpf.map_mut(array).ok_or(Error::Foreign {
        object: OBJECT,
        part: array,
    })?;
    let mut programs = ProgramArray::try_from(map).map_err(map_error(array))?;
    programs.set(entry, &fd, 0).map_err(map_error(array))
}

pub(super) fn with_program(
    ebpf: &mut Ebpf,
    attachment: Attachment,
    act: impl FnOnce(&mut Program) -> Result<(), ProgramError>,
) -> Result<(), Error> {
    let name = attachment.name();
    let program = ebpf.program_mut(name).ok_or(Error::Foreign {
        object: OBJECT,
        part: name,
    })?;
    act(program).map_err(|error| Error::Program {
        program: name,
        error: Box::new(error),
    })
}
