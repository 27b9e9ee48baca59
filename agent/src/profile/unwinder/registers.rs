//! A frame's registers, as far as they are known.

use fathom_abi::{
    sample::{REGISTERS, UserEnd},
    signal_frame::{aarch64, x86_64},
};
use fathom_symbolizer::unwind::Register;

use super::{Ending, StackCopy};

/// DWARF numbers: System V ABI, AMD64 supplement, figure 3.36; DWARF for the Arm 64-bit Architecture, section 4.1.
const FRAME_POINTER: u8 = if cfg!(target_arch = "aarch64") { 29 } else { 6 };
pub(in crate::profile) const STACK_POINTER: u8 = if cfg!(target_arch = "aarch64") { 31 } else { 7 };
const LINK: u8 = 30;

/// Registers by DWARF number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::profile) struct Registers {
    /// The instruction's address, or the return address.
    pub(in crate::profile) ip: u64,
    /// Bit n: register n is known.
    pub(in crate::profile) known: u32,
    pub(in crate::profile) values: [u64; REGISTERS],
}

impl Registers {
    /// Those of a caller: the registers that its callee may have changed are not known.
    pub(super) fn of_caller(ip: u64, cfa: u64, frame_pointer: Option<u64>) -> Self {
        let mut registers = Self {
            ip,
            known: 0,
            values: [0; REGISTERS],
        };
        registers.set(STACK_POINTER, cfa);
        if let Some(frame_pointer) = frame_pointer {
            registers.set(FRAME_POINTER, frame_pointer);
        }
        registers
    }

    /// Those of what a signal interrupted, from within the code that its handler returns to.
    pub(super) fn interrupted(&self, stack: &StackCopy<'_>) -> Result<Self, Ending> {
        let base = self.stack_pointer()?;
        let read = |at: u64, word: usize| {
            let offset = at.wrapping_add(8 * word as u64);
            stack.read(base.wrapping_add(offset))
        };
        let mut registers = Self {
            ip: 0,
            known: 0,
            values: [0; REGISTERS],
        };
        if cfg!(target_arch = "aarch64") {
            for number in 0..REGISTERS as u8 {
                registers.set(number, read(aarch64::AT, usize::from(number))?);
            }
            registers.ip = read(aarch64::AT, REGISTERS)?;
        } else {
            for (word, number) in x86_64::REGISTERS.into_iter().enumerate() {
                registers.set(number, read(x86_64::AT, word)?);
            }
            registers.ip = read(x86_64::AT, x86_64::REGISTERS.len())?;
        }
        Ok(registers)
    }

    pub(super) fn get(&self, register: Register) -> Result<u64, Ending> {
        match register {
            Register::StackPointer => self.number(STACK_POINTER),
            Register::FramePointer => self.number(FRAME_POINTER),
            Register::Other(number) => self.number(number),
            _ => Err(Ending::As(UserEnd::UnsupportedRule)),
        }
    }

    pub(super) fn stack_pointer(&self) -> Result<u64, Ending> {
        self.number(STACK_POINTER)
    }

    pub(super) fn frame_pointer(&self) -> Result<u64, Ending> {
        self.number(FRAME_POINTER)
    }

    /// The return address that a call has left in a register.
    pub(super) fn link(&self) -> Result<u64, Ending> {
        if cfg!(target_arch = "aarch64") {
            self.number(LINK)
        } else {
            Err(Ending::As(UserEnd::UnsupportedRule))
        }
    }

    fn number(&self, number: u8) -> Result<u64, Ending> {
        let bit = 1_u32.checked_shl(u32::from(number)).unwrap_or(0);
        if self.known & bit == 0 {
            return Err(Ending::As(UserEnd::LostRegister));
        }
        Ok(self.values[usize::from(number)])
    }

    pub(super) fn set(&mut self, number: u8, value: u64) {
        self.known |= 1 << number;
        self.values[usize::from(number)] = value;
    }
}
