//! gimli's rows to rules.

use gimli::{CfaRule, Operation, RegisterRule, UnwindExpression, UnwindSection, UnwindTableRow};

use super::{
    frames::{Bytes, Storage},
    rule::{Cfa, Frame, Machine, Register, Rule, Saved, Unsupported},
};

/// A row's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) rule: Rule,
    /// A rule for the frame pointer was left out ([`Unsupported::FramePointer`]).
    pub(super) lost_frame_pointer: bool,
}

impl From<Rule> for Translated {
    fn from(rule: Rule) -> Self {
        Self {
            rule,
            lost_frame_pointer: false,
        }
    }
}

/// Translates the rows of one FDE.
pub(super) struct Translator<'a, Section> {
    machine: Machine,
    section: &'a Section,
    encoding: gimli::Encoding,
    return_address: gimli::Register,
    is_signal: bool,
}

/// `struct rt_sigframe` and `struct ucontext` of arch/x86/include/uapi/asm/sigcontext.h, as the C library describes them.
const X86_64_SIGNAL_FRAME: Frame = Frame {
    cfa: Cfa::Deref {
        base: Register::StackPointer,
        at: 160,
        plus: 0,
    },
    frame_pointer: Saved::At(Register::StackPointer, 120),
    return_address: Saved::At(Register::StackPointer, 168),
    is_signal: true,
};

impl<'a, 'b, Section: UnwindSection<Bytes<'b>>> Translator<'a, Section> {
    pub(super) fn new(
        machine: Machine,
        section: &'a Section,
        cie: &gimli::CommonInformationEntry<Bytes<'b>>,
    ) -> Self {
        Self {
            machine,
            section,
            encoding: cie.encoding(),
            return_address: cie.return_address_register(),
            is_signal: cie.is_signal_trampoline(),
        }
    }

    pub(super) fn rule(&self, row: &UnwindTableRow<usize, Storage>) -> Translated {
        let return_address = match row.register(self.return_address) {
            Some(RegisterRule::Undefined) => return Rule::End.into(),
            None | Some(RegisterRule::SameValue) if self.keeps_return_address() => Ok(Saved::Same),
            None | Some(RegisterRule::SameValue) => Err(Unsupported::ReturnAddress),
            Some(rule) => self.saved(&rule, Unsupported::ReturnAddress),
        };
        let frame_pointer = match row.register(self.machine.frame_pointer()) {
            // Called functions preserve the register.
            None | Some(RegisterRule::SameValue) => Ok(Saved::Same),
            Some(RegisterRule::Undefined) => Ok(Saved::Undefined),
            Some(rule) => self.saved(&rule, Unsupported::FramePointer),
        };
        match (self.cfa(row.cfa()), return_address) {
            (Ok(cfa), Ok(return_address)) => {
                let frame = Frame {
                    cfa,
                    frame_pointer: frame_pointer.unwrap_or(Saved::Undefined),
                    return_address,
                    is_signal: self.is_signal,
                };
                let is_known = self.machine == Machine::X86_64 && frame == X86_64_SIGNAL_FRAME;
                Translated {
                    rule: if is_known {
                        Rule::SignalFrame
                    } else {
                        Rule::Frame(frame)
                    },
                    lost_frame_pointer: frame_pointer.is_err(),
                }
            }
            (Err(kind), _) | (_, Err(kind)) => Rule::Unsupported(kind).into(),
        }
    }

    /// Whether the return address may be in the register that has its column.
    fn keeps_return_address(&self) -> bool {
        self.machine == Machine::Aarch64 && self.return_address == gimli::AArch64::X30
    }

    fn cfa(&self, rule: &CfaRule<usize>) -> Result<Cfa, Unsupported> {
        match *rule {
            CfaRule::RegisterAndOffset { register, offset } => {
                Ok(Cfa::Offset(self.register(register)?, narrow(offset)?))
            }
            CfaRule::Expression(expression) => self.cfa_expression(
                &self
                    .operations(expression)
                    .ok_or(Unsupported::CfaExpression)?,
            ),
        }
    }

    fn cfa_expression(&self, operations: &[Operation<Bytes<'b>>]) -> Result<Cfa, Unsupported> {
        use Operation::{And, Deref, Ge, Plus, PlusConstant, Shl, UnsignedConstant};
        let Some((first, rest)) = operations.split_first() else {
            return Err(Unsupported::CfaExpression);
        };
        let (base, at) = self.register_offset(first, Unsupported::CfaExpression)?;
        let deref = |plus| Cfa::Deref { base, at, plus };
        match rest {
            [] => Ok(Cfa::Offset(base, at)),
            [
                Deref {
                    size: 8,
                    space: false,
                    ..
                },
            ] => Ok(deref(0)),
            [
                Deref {
                    size: 8,
                    space: false,
                    ..
                },
                PlusConstant { value },
            ] => i32::try_from(*value)
                .map(deref)
                .map_err(|_| Unsupported::Range),
            // What GNU ld writes for lazy stubs: elfxx-x86.c, elf_x86_64_lazy_plt.
            [
                Operation::RegisterOffset {
                    register: gimli::X86_64::RA,
                    offset: 0,
                    ..
                },
                UnsignedConstant { value: 15 },
                And,
                UnsignedConstant {
                    value: pushed_at @ 1..=15,
                },
                Ge,
                UnsignedConstant { value: 3 },
                Shl,
                Plus,
            ] if self.machine == Machine::X86_64 && (base, at) == (Register::StackPointer, 8) => {
                Ok(Cfa::Plt {
                    pushed_at: *pushed_at as u8,
                })
            }
            _ => Err(Unsupported::CfaExpression),
        }
    }

    fn saved(&self, rule: &RegisterRule<usize>, kind: Unsupported) -> Result<Saved, Unsupported> {
        match *rule {
            RegisterRule::Offset(offset) => Ok(Saved::AtCfa(narrow(offset)?)),
            RegisterRule::Register(register) => Ok(Saved::In(self.register(register)?)),
            RegisterRule::Expression(expression) => match self.operations(expression).as_deref() {
                Some([only]) => {
                    let (base, offset) = self.register_offset(only, kind)?;
                    Ok(Saved::At(base, offset))
                }
                _ => Err(kind),
            },
            _ => Err(kind),
        }
    }

    fn register_offset(
        &self,
        operation: &Operation<Bytes<'b>>,
        kind: Unsupported,
    ) -> Result<(Register, i32), Unsupported> {
        match *operation {
            Operation::RegisterOffset {
                register,
                offset,
                base_type,
            } if base_type.0 == 0 => Ok((self.register(register)?, narrow(offset)?)),
            _ => Err(kind),
        }
    }

    fn register(&self, register: gimli::Register) -> Result<Register, Unsupported> {
        self.machine.register(register).ok_or(Unsupported::Range)
    }

    /// The operations of an expression; `None` if it has more than any known form, or can't be read.
    fn operations(&self, expression: UnwindExpression<usize>) -> Option<Vec<Operation<Bytes<'b>>>> {
        let mut iterator = expression.get(self.section).ok()?.operations(self.encoding);
        let mut operations = Vec::new();
        while let Some(operation) = iterator.next().ok()? {
            if operations.len() == MAX_OPERATIONS {
                return None;
            }
            operations.push(operation);
        }
        Some(operations)
    }
}

/// Those of the longest known form.
const MAX_OPERATIONS: usize = 9;

fn narrow(offset: i64) -> Result<i32, Unsupported> {
    i32::try_from(offset).map_err(|_| Unsupported::Range)
}
