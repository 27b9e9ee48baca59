//! What gimli's own evaluator makes of a table, and what a rule makes of it, with the same values in all registers and in memory:
//! made up from their numbers and addresses, so that no two are alike.

use fathom_symbolizer::unwind::{Cfa, Machine, Register, Rule, Saved};
use gimli::{
    CfaRule, EvaluationResult, Expression, Location, RegisterRule, UnwindSection, UnwindTableRow,
    Value,
};

pub type Bytes<'a> = gimli::EndianSlice<'a, gimli::LittleEndian>;

/// The caller of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// There is none.
    End,
    /// Its registers.
    Frame {
        cfa: u64,
        frame_pointer: Option<u64>,
        return_address: u64,
    },
}

/// The registers of a frame at an address, and all memory.
#[derive(Clone, Copy, Debug)]
pub struct State {
    pub machine: Machine,
    pub address: u64,
}

impl State {
    fn register(self, number: u16) -> u64 {
        match (self.machine, number) {
            (Machine::X86_64, 16) => self.address,
            _ => scramble(u64::from(number)) & 0x0000_7fff_ffff_fff8,
        }
    }

    fn memory(address: u64) -> u64 {
        scramble(address ^ 0x5555_5555)
    }

    fn named(self, register: Register) -> u64 {
        self.register(match (register, self.machine) {
            (Register::StackPointer, Machine::X86_64) => 7,
            (Register::StackPointer, _) => 31,
            (Register::FramePointer, _) => self.frame_pointer(),
            (Register::Other(number), _) => u16::from(number),
            _ => panic!("{register:?}"),
        })
    }

    fn frame_pointer(self) -> u16 {
        match self.machine {
            Machine::X86_64 => 6,
            _ => 29,
        }
    }

    /// What a rule says; `None` if it says nothing.
    pub fn by_rule(self, rule: Rule) -> Option<Caller> {
        let sp = self.named(Register::StackPointer);
        let fp = self.named(Register::FramePointer);
        let at = |base: u64, offset: u64| Self::memory(base.wrapping_add(offset));
        match rule {
            Rule::End => Some(Caller::End),
            Rule::FramePointer => Some(Caller::Frame {
                cfa: fp.wrapping_add(16),
                frame_pointer: Some(at(fp, 0)),
                return_address: at(fp, 8),
            }),
            Rule::SignalFrame => {
                let (cfa, frame_pointer, return_address) = match self.machine {
                    Machine::X86_64 => (160, 120, 168),
                    _ => (560, 544, 568),
                };
                Some(Caller::Frame {
                    cfa: at(sp, cfa),
                    frame_pointer: Some(at(sp, frame_pointer)),
                    return_address: at(sp, return_address),
                })
            }
            Rule::Frame(frame) => {
                let cfa = match frame.cfa {
                    Cfa::Offset(base, offset) => add(self.named(base), offset),
                    Cfa::Deref { base, at, plus } => {
                        add(Self::memory(add(self.named(base), at)), plus)
                    }
                    Cfa::Plt { pushed_at } => {
                        let pushed = self.address & 15 >= u64::from(pushed_at);
                        sp + 8 + 8 * u64::from(pushed)
                    }
                    other => panic!("{other:?}"),
                };
                let saved = |saved, same| match saved {
                    Saved::Same => Some(same),
                    Saved::Undefined => None,
                    Saved::AtCfa(offset) => Some(Self::memory(add(cfa, offset))),
                    Saved::At(base, offset) => Some(Self::memory(add(self.named(base), offset))),
                    Saved::In(register) => Some(self.named(register)),
                    other => panic!("{other:?}"),
                };
                Some(Caller::Frame {
                    cfa,
                    frame_pointer: saved(frame.frame_pointer, fp),
                    return_address: saved(frame.return_address, self.register(30))
                        .expect("it is never lost"),
                })
            }
            _ => None,
        }
    }

    /// What a row of gimli's says; `None` where the machine has no meaning for it.
    pub fn by_row<'a, Section, Storage>(
        self,
        section: &Section,
        cie: &gimli::CommonInformationEntry<Bytes<'a>>,
        row: &UnwindTableRow<usize, Storage>,
    ) -> Option<Caller>
    where
        Section: UnwindSection<Bytes<'a>>,
        Storage: gimli::UnwindContextStorage<usize>,
    {
        let encoding = cie.encoding();
        let column = cie.return_address_register();
        let run = |expression: &gimli::UnwindExpression<usize>, first| {
            self.evaluate(expression.get(section).ok()?, encoding, first)
        };
        let rule = row.register(column);
        if rule == Some(RegisterRule::Undefined) {
            return Some(Caller::End);
        }
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.register(register.0).wrapping_add(*offset as u64)
            }
            CfaRule::Expression(expression) => run(expression, None)?,
        };
        let saved = |rule, same| match rule {
            None | Some(RegisterRule::SameValue) => same,
            Some(RegisterRule::Undefined) => None,
            Some(RegisterRule::Offset(offset)) => {
                Some(Self::memory(cfa.wrapping_add(offset as u64)))
            }
            Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add(offset as u64)),
            Some(RegisterRule::Register(register)) => Some(self.register(register.0)),
            Some(RegisterRule::Expression(expression)) => {
                run(&expression, Some(cfa)).map(Self::memory)
            }
            Some(RegisterRule::ValExpression(expression)) => run(&expression, Some(cfa)),
            Some(_) => None,
        };
        let fp = self.frame_pointer();
        let link = (self.machine == Machine::Aarch64 && column.0 == 30).then(|| self.register(30));
        Some(Caller::Frame {
            cfa,
            frame_pointer: saved(row.register(gimli::Register(fp)), Some(self.register(fp))),
            return_address: saved(rule, link)?,
        })
    }

    fn evaluate(
        self,
        expression: Expression<Bytes<'_>>,
        encoding: gimli::Encoding,
        first: Option<u64>,
    ) -> Option<u64> {
        let mut evaluation = expression.evaluation(encoding);
        evaluation.set_max_iterations(1000);
        if let Some(first) = first {
            evaluation.set_initial_value(first);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => evaluation
                    .resume_with_register(Value::Generic(self.register(register.0)))
                    .ok()?,
                EvaluationResult::RequiresMemory {
                    address, size: 8, ..
                } => evaluation
                    .resume_with_memory(Value::Generic(Self::memory(address)))
                    .ok()?,
                _ => return None,
            };
        }
        match evaluation.as_result() {
            [only] => match only.location {
                Location::Address { address } => Some(address),
                _ => None,
            },
            _ => None,
        }
    }
}

fn add(value: u64, offset: i32) -> u64 {
    value.wrapping_add(i64::from(offset) as u64)
}

/// SplitMix64's last step.
fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
