//! Stacks from where the kernel's program stopped: the same steps by the same rules, over a copy of the stack.
//!
//! The program stops where it lacks a process or a table, and says which registers it had there. [`Unwinding::run`] goes on
//! from that frame as soon as what was missing is known, and stops again at the next file whose table is not there.

use fathom_abi::sample::{MAX_FRAMES, UserEnd};
use fathom_symbolizer::unwind::{Cfa, Frame, Rule, Saved};

pub(super) use self::{
    registers::{Registers, STACK_POINTER},
    stack::StackCopy,
};

mod registers;
mod stack;

/// What an address says of how its frame is unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By this rule.
    Rule(Rule),
    /// By the table of a file that is not there yet: its number.
    Wanted(u32),
    /// Not at all, for a reason.
    End(Ending),
}

/// Why there are no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As the kernel's program says it.
    As(UserEnd),
    /// The stack goes on behind what was copied of it.
    CopyEnds,
}

/// What came of going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// There are no more frames.
    End(Ending),
    /// The table of this file is wanted.
    Wanted(u32),
}

/// A stack that is being unwound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unwinding {
    /// Addresses of user code as `SampleEvent::user_frames` has them, leaf first; the last one is that of the frame that is to be unwound.
    pub(super) frames: Vec<u64>,
    /// Its registers.
    pub(super) registers: Registers,
    /// Whether its address is that of an instruction; else it is a return address, and the call lies before it.
    pub(super) is_exact: bool,
}

impl Unwinding {
    /// Goes on to the outermost frame, or as far as what is known leads. `way` says how an address is unwound.
    pub(super) fn run(&mut self, stack: &StackCopy<'_>, mut way: impl FnMut(u64) -> Way) -> Stop {
        loop {
            let rule = match way(self.address()) {
                Way::Rule(rule) => rule,
                Way::Wanted(file) => return Stop::Wanted(file),
                Way::End(end) => return Stop::End(end),
            };
            match self.step(rule, stack) {
                Ok(()) => {}
                Err(end) => return Stop::End(end),
            }
        }
    }

    /// The address that a rule is looked up by: a call's lies before the address that it returns to.
    fn address(&self) -> u64 {
        self.registers.ip - u64::from(!self.is_exact && self.registers.ip > 0)
    }

    /// Goes to the caller.
    fn step(&mut self, rule: Rule, stack: &StackCopy<'_>) -> Result<(), Ending> {
        let end = |end| Err(Ending::As(end));
        let (caller, is_exact) = match rule {
            Rule::None => return end(UserEnd::NoRule),
            Rule::End => return end(UserEnd::Root),
            Rule::FramePointer => (self.by_frame_pointer(stack)?, false),
            Rule::SignalFrame => (self.registers.interrupted(stack)?, true),
            Rule::Frame(frame) => (self.by_frame(&frame, stack)?, frame.is_signal),
            _ => return end(UserEnd::UnsupportedRule),
        };
        if caller.ip == 0 {
            return end(UserEnd::NullReturn);
        }
        if self.frames.len() >= MAX_FRAMES {
            return end(UserEnd::Limit);
        }
        // Who names the frames takes one off each but the leaf, as the program does it.
        self.frames
            .push(caller.ip.wrapping_add(u64::from(is_exact)));
        self.registers = caller;
        self.is_exact = is_exact;
        Ok(())
    }

    fn by_frame_pointer(&self, stack: &StackCopy<'_>) -> Result<Registers, Ending> {
        let frame_pointer = self.registers.frame_pointer()?;
        if frame_pointer == 0 {
            return Err(Ending::As(UserEnd::NullReturn));
        }
        let cfa = frame_pointer.wrapping_add(16);
        self.check_order(cfa)?;
        let ip = stack.read(frame_pointer.wrapping_add(8))?;
        let saved = stack.read(frame_pointer)?;
        Ok(Registers::of_caller(ip, cfa, Some(saved)))
    }

    fn by_frame(&self, frame: &Frame, stack: &StackCopy<'_>) -> Result<Registers, Ending> {
        let registers = &self.registers;
        let cfa = match frame.cfa {
            Cfa::Offset(register, offset) => add(registers.get(register)?, offset),
            Cfa::Deref { base, at, plus } => add(stack.read(add(registers.get(base)?, at))?, plus),
            // Stubs have 16 bytes: elf_x86_64_lazy_plt of binutils' elf64-x86-64.c.
            Cfa::Plt { pushed_at } => {
                let has_pushed = registers.ip & 15 >= u64::from(pushed_at);
                registers
                    .stack_pointer()?
                    .wrapping_add(8 + 8 * u64::from(has_pushed))
            }
            _ => return Err(Ending::As(UserEnd::UnsupportedRule)),
        };
        if !frame.is_signal {
            self.check_order(cfa)?;
        }
        let ip = match frame.return_address {
            Saved::Same => registers.link()?,
            saved => self
                .saved(saved, cfa, stack)?
                .ok_or(Ending::As(UserEnd::UnsupportedRule))?,
        };
        let frame_pointer = match frame.frame_pointer {
            Saved::Same => registers.frame_pointer().ok(),
            // The stack goes on without it: most callers don't need it.
            saved => self.saved(saved, cfa, stack).ok().flatten(),
        };
        Ok(Registers::of_caller(ip, cfa, frame_pointer))
    }

    fn saved(&self, saved: Saved, cfa: u64, stack: &StackCopy<'_>) -> Result<Option<u64>, Ending> {
        match saved {
            Saved::AtCfa(offset) => stack.read(add(cfa, offset)).map(Some),
            Saved::At(register, offset) => {
                let base = self.registers.get(register)?;
                stack.read(add(base, offset)).map(Some)
            }
            Saved::In(register) => self.registers.get(register).map(Some),
            _ => Ok(None),
        }
    }

    /// A caller's frame lies above: else the stack contradicts the rules, and could be gone round for ever. Only what was running may have no frame
    /// at all: vfork(3) keeps its return address in a register.
    fn check_order(&self, cfa: u64) -> Result<(), Ending> {
        let stack_pointer = self.registers.stack_pointer()?;
        if cfa > stack_pointer || self.is_exact && cfa == stack_pointer {
            Ok(())
        } else {
            Err(Ending::As(UserEnd::StackOrder))
        }
    }
}

fn add(base: u64, offset: i32) -> u64 {
    base.wrapping_add_signed(i64::from(offset))
}

#[cfg(test)]
mod tests;
