//! The symbolizer's rules as the kernel's programs read them, and back.

use fathom_abi::unwind::{self as abi, Place, RuleKind};
use fathom_symbolizer::unwind::{Cfa, Frame, Register, Rule, Saved, Unsupported};

/// DWARF numbers of the stack pointer and the frame pointer.
const STACK_POINTER: u8 = if cfg!(target_arch = "aarch64") { 31 } else { 7 };
const FRAME_POINTER: u8 = if cfg!(target_arch = "aarch64") { 29 } else { 6 };

/// A rule as the programs read it. Nothing gets lost, but a kind that this version of the program does not know: it is as if it could not be expressed.
pub(super) fn encode(rule: Rule) -> abi::Rule {
    let kind = |kind| abi::Rule {
        kind,
        ..abi::Rule::default()
    };
    match rule {
        Rule::None => kind(RuleKind::NONE),
        Rule::End => kind(RuleKind::END),
        Rule::FramePointer => kind(RuleKind::FRAME_POINTER),
        Rule::SignalFrame => kind(RuleKind::SIGNAL_FRAME),
        Rule::Frame(of) => frame(of).unwrap_or_else(|| kind(RuleKind::UNSUPPORTED)),
        Rule::Unsupported(why) => abi::Rule {
            cfa_register: why as u8,
            ..kind(RuleKind::UNSUPPORTED)
        },
        _ => kind(RuleKind::UNSUPPORTED),
    }
}

fn frame(frame: Frame) -> Option<abi::Rule> {
    let cfa = match frame.cfa {
        Cfa::Offset(base, offset) => abi::Rule {
            kind: RuleKind::OFFSET,
            cfa_register: number(base)?,
            cfa_offset: offset,
            ..abi::Rule::default()
        },
        Cfa::Deref { base, at, plus } => abi::Rule {
            kind: RuleKind::DEREF,
            cfa_register: number(base)?,
            cfa_offset: at,
            cfa_plus: plus,
            ..abi::Rule::default()
        },
        Cfa::Plt { pushed_at } => abi::Rule {
            kind: RuleKind::PLT,
            cfa_register: pushed_at,
            ..abi::Rule::default()
        },
        _ => return None,
    };
    let (frame_pointer, frame_pointer_register, frame_pointer_offset) = saved(frame.frame_pointer)?;
    let (return_address, return_address_register, return_address_offset) =
        saved(frame.return_address)?;
    Some(abi::Rule {
        frame_pointer,
        frame_pointer_register,
        frame_pointer_offset,
        return_address,
        return_address_register,
        return_address_offset,
        is_signal: u8::from(frame.is_signal),
        ..cfa
    })
}

fn saved(saved: Saved) -> Option<(Place, u8, i32)> {
    Some(match saved {
        Saved::Same => (Place::SAME, 0, 0),
        Saved::Undefined => (Place::UNDEFINED, 0, 0),
        Saved::AtCfa(offset) => (Place::AT_CFA, 0, offset),
        Saved::At(register, offset) => (Place::AT, number(register)?, offset),
        Saved::In(register) => (Place::IN, number(register)?, 0),
        _ => return None,
    })
}

fn number(register: Register) -> Option<u8> {
    match register {
        Register::StackPointer => Some(STACK_POINTER),
        Register::FramePointer => Some(FRAME_POINTER),
        Register::Other(number) => Some(number),
        _ => None,
    }
}

/// The rule that [`encode`] was given.
pub(super) fn decode(rule: abi::Rule) -> Rule {
    let cfa = match rule.kind {
        RuleKind::NONE => return Rule::None,
        RuleKind::END => return Rule::End,
        RuleKind::FRAME_POINTER => return Rule::FramePointer,
        RuleKind::SIGNAL_FRAME => return Rule::SignalFrame,
        RuleKind::OFFSET => Cfa::Offset(register(rule.cfa_register), rule.cfa_offset),
        RuleKind::DEREF => Cfa::Deref {
            base: register(rule.cfa_register),
            at: rule.cfa_offset,
            plus: rule.cfa_plus,
        },
        RuleKind::PLT => Cfa::Plt {
            pushed_at: rule.cfa_register,
        },
        _ => {
            let kinds = Unsupported::ALL;
            let kind = kinds.get(usize::from(rule.cfa_register));
            return Rule::Unsupported(kind.copied().unwrap_or(Unsupported::Range));
        }
    };
    Rule::Frame(Frame {
        cfa,
        frame_pointer: place(
            rule.frame_pointer,
            rule.frame_pointer_register,
            rule.frame_pointer_offset,
        ),
        return_address: place(
            rule.return_address,
            rule.return_address_register,
            rule.return_address_offset,
        ),
        is_signal: rule.is_signal != 0,
    })
}

fn place(place: Place, number: u8, offset: i32) -> Saved {
    match place {
        Place::SAME => Saved::Same,
        Place::AT_CFA => Saved::AtCfa(offset),
        Place::AT => Saved::At(register(number), offset),
        Place::IN => Saved::In(register(number)),
        _ => Saved::Undefined,
    }
}

fn register(number: u8) -> Register {
    match number {
        STACK_POINTER => Register::StackPointer,
        FRAME_POINTER => Register::FramePointer,
        number => Register::Other(number),
    }
}

#[cfg(test)]
mod tests;
