//! Unwinding from a copy, as plainly as it can be said: a second opinion on the kernel's program, by the same rows and rules.

use fathom::{probes::profile::tables::Tables, profile::Stopped};
use fathom_symbolizer::unwind::{Cfa, Register, Rule, Saved};

use crate::tables::Loaded;

/// DWARF numbers.
const STACK_POINTER: u8 = if cfg!(target_arch = "aarch64") { 31 } else { 7 };
const FRAME_POINTER: u8 = if cfg!(target_arch = "aarch64") { 29 } else { 6 };

/// The frames from the one on at which the program stopped, as the records have them; panics where one can't be unwound.
pub fn unwind(stopped: &Stopped, loaded: &Loaded, tables: &Tables) -> Vec<u64> {
    let stack_pointer = stopped.register(STACK_POINTER).expect("always known");
    let word = |address: u64| {
        let at = usize::try_from(address - stack_pointer).expect("above the stack pointer");
        let bytes = stopped.stack.get(at..at + 8).expect("within the copy");
        u64::from_ne_bytes(bytes.try_into().expect("eight"))
    };
    let mut frames = vec![stopped.ip];
    let mut registers = stopped.registers;
    let mut lookup = stopped.ip - u64::from(!stopped.is_exact);
    loop {
        let number = loaded.find(tables, lookup).expect("an address in a file");
        let frame = match tables.rule(number) {
            Rule::End => return frames,
            Rule::Frame(frame) => frame,
            other => panic!("{other:?} at {lookup:#x}"),
        };
        let value = |register| match register {
            Register::StackPointer => registers[usize::from(STACK_POINTER)],
            Register::FramePointer => registers[usize::from(FRAME_POINTER)],
            Register::Other(number) => registers[usize::from(number)],
            other => panic!("{other:?}"),
        };
        let add = |value: u64, offset: i32| value.wrapping_add_signed(i64::from(offset));
        let cfa = match frame.cfa {
            Cfa::Offset(register, offset) => add(value(register), offset),
            Cfa::Deref { base, at, plus } => add(word(add(value(base), at)), plus),
            other => panic!("{other:?}"),
        };
        let saved = |saved, same| match saved {
            Saved::Same => same,
            Saved::Undefined => 0,
            Saved::AtCfa(offset) => word(add(cfa, offset)),
            Saved::At(register, offset) => word(add(value(register), offset)),
            Saved::In(register) => value(register),
            other => panic!("{other:?}"),
        };
        let ip = saved(frame.return_address, registers[30]);
        let frame_pointer = saved(frame.frame_pointer, value(Register::FramePointer));
        registers = [0; _];
        registers[usize::from(STACK_POINTER)] = cfa;
        registers[usize::from(FRAME_POINTER)] = frame_pointer;
        frames.push(ip);
        lookup = ip - 1;
    }
}
