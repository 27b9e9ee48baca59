//! A user stack, one frame after the other.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_probe_read_user,
    generated::{bpf_probe_read_kernel, bpf_probe_read_user as bpf_probe_read_user_bytes},
};
use fathom_abi::{
    sample::{MAX_FRAMES, REGISTERS, UserEnd},
    unwind::{PART_BITS, PARTS, Place, Rule, RuleKind, Segment, SegmentKind},
};

use crate::{
    find::{find_rule, find_segment},
    kernel::copy,
    machine::{self, FRAME_POINTER, LEAST_FRAME, LINK_REGISTER, STACK_POINTER},
    maps::{FRAMES, PAGES, RULES, Record, SEGMENTS, SPACES, scratch},
    task,
};

/// Where unwinding stands.
#[repr(C)]
pub struct Walk {
    /// The frame's address.
    pub ip: u64,
    /// 1 where that is an instruction's, 0 where it is a return address.
    pub is_exact: u64,
    /// Which registers are known, bit by bit.
    pub known: u64,
    /// The registers by DWARF number.
    pub registers: [u64; REGISTERS],
    /// The mapping that the last address was in: the next one mostly is, too.
    pub segment: Segment,
    /// The process's entries of `SEGMENTS`.
    pub first: u32,
    /// How many there are.
    pub count: u32,
    /// Registers as they were read.
    pub raw: [u64; 34],
}

const _: () = assert!(
    machine::PT_REGS <= 34 && machine::SIGNAL_WORDS <= 34,
    "both fit"
);

/// What [`step`] returns to go on; else the code of an end, and one more.
const ON: u32 = 0;

#[inline(always)]
fn end(end: UserEnd) -> u32 {
    1 + u32::from(end.code())
}

/// Unwinds the current task's user stack into the record, and says in its header why it ends.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn user_stack() -> u32 {
    let mut ended = begin();
    // One more than there is room for, to see that there is more.
    for _ in 0..=MAX_FRAMES {
        if ended != ON {
            break;
        }
        ended = step();
    }
    if let Some(scratch) = scratch() {
        // SAFETY: this CPU's own.
        let header = unsafe { &mut (*scratch).record.header };
        header.user_end = ended.wrapping_sub(1) as u8;
    }
    0
}

/// Takes the registers that the task has in user mode, and finds its mappings.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begin() -> u32 {
    let Some(scratch) = scratch() else {
        return end(UserEnd::BadMemory);
    };
    // SAFETY: this CPU's own.
    let (record, walk) = unsafe { (&mut (*scratch).record, &mut (*scratch).walk) };
    // Where user code was interrupted its registers are saved in the same place.
    let registers = task::registers().address() as *const c_void;
    let raw = (&raw mut walk.raw).cast();
    // SAFETY: `raw` has room for them; the helper checks the address.
    unsafe { bpf_probe_read_kernel(raw, (machine::PT_REGS * 8) as u32, registers) };
    if !machine::from_pt_regs(walk) {
        return end(UserEnd::Compat);
    }
    walk.is_exact = 1;
    walk.segment.start = u64::MAX;
    let known = SPACES.get_ptr(record.header.tgid).is_some_and(|space| {
        // SAFETY: a map's value stays readable for as long as a program runs.
        let space = unsafe { &*space };
        walk.first = space.first;
        walk.count = space.count;
        // Last: an entry that is given up is used for another process at once.
        let is_same = space.id == 0 || space.id == record.header.space;
        is_same && space.tgid == record.header.tgid
    });
    if !known {
        push(record, walk);
        return end(UserEnd::UnknownProcess);
    }
    ON
}

/// Takes one frame into the record and goes on to its caller.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn step() -> u32 {
    let Some(scratch) = scratch() else {
        return end(UserEnd::BadMemory);
    };
    // SAFETY: this CPU's own.
    let (record, walk) = unsafe { (&mut (*scratch).record, &mut (*scratch).walk) };
    if !push(record, walk) {
        return end(UserEnd::Limit);
    }
    // A return address may be another function's first: its call is before it.
    let address = walk.ip.wrapping_sub(walk.is_exact ^ 1);
    if address < walk.segment.start || address >= walk.segment.end {
        let found = find_segment(walk.first, walk.count, address);
        let Some(segment) = SEGMENTS.get_ptr(found as u32) else {
            return end(UserEnd::NoMapping);
        };
        // SAFETY: a map's value stays readable for as long as a program runs.
        unsafe { copy(segment, &raw mut walk.segment) };
        if address < walk.segment.start || address >= walk.segment.end {
            walk.segment.start = u64::MAX;
            return end(UserEnd::NoMapping);
        }
    }
    match walk.segment.kind {
        SegmentKind::TABLE => by_table(walk, address),
        SegmentKind::FRAME_POINTERS => by_frame_pointer(walk),
        SegmentKind::WANTED => end(UserEnd::WantedTable),
        _ => end(UserEnd::Opaque),
    }
}

/// Adds a frame to the record; returns whether there was room.
#[inline(always)]
fn push(record: &mut Record, walk: &Walk) -> bool {
    let kernel = usize::from(record.header.kernel_frames);
    let user = usize::from(record.header.user_frames);
    if user >= MAX_FRAMES {
        return false;
    }
    // Who names the frames takes one off each but the first.
    let behind = if user == 0 { 0 } else { walk.is_exact };
    record.frames[(kernel + user) & (FRAMES - 1)] = walk.ip.wrapping_add(behind);
    record.header.user_frames = (user + 1) as u16;
    true
}

#[inline(always)]
fn by_table(walk: &mut Walk, address: u64) -> u32 {
    let segment = &walk.segment;
    let address = address.wrapping_sub(segment.bias);
    let place = (address >> 16).wrapping_sub(u64::from(segment.page_number));
    if place >= u64::from(segment.pages) {
        return end(UserEnd::NoRule);
    }
    let Some(page) = PAGES.get_ptr(segment.first_page.wrapping_add(place as u32)) else {
        return end(UserEnd::WantedTable);
    };
    // SAFETY: a map's value stays readable for as long as a program runs.
    let page = unsafe { &*page };
    if page.file != segment.file {
        return end(UserEnd::WantedTable);
    }
    if page.rows == 0 {
        return end(UserEnd::NoRule);
    }
    let part = (address >> PART_BITS) as usize & (PARTS - 1);
    let number = find_rule(
        page.first_chunk,
        u32::from(page.starts[part]),
        u32::from(page.starts[part + 1]),
        (address & 0xffff) as u32,
    );
    let Some(rule) = RULES.get_ptr(number) else {
        return end(UserEnd::UnsupportedRule);
    };
    // SAFETY: as above.
    let rule = unsafe { &*rule };
    match rule.kind {
        RuleKind::NONE => end(UserEnd::NoRule),
        RuleKind::END => end(UserEnd::Root),
        RuleKind::FRAME_POINTER => by_frame_pointer(walk),
        RuleKind::SIGNAL_FRAME => by_signal_frame(walk),
        RuleKind::OFFSET | RuleKind::DEREF | RuleKind::PLT => by_rule(walk, rule),
        _ => end(UserEnd::UnsupportedRule),
    }
}

/// The frame pointer points at the caller's, and the return address is behind it.
#[inline(always)]
fn by_frame_pointer(walk: &mut Walk) -> u32 {
    let Some(at) = register(walk, FRAME_POINTER as u8) else {
        return end(UserEnd::LostRegister);
    };
    if at == 0 {
        return end(UserEnd::NullReturn);
    }
    // SAFETY: the helper checks the user address.
    let Ok([frame_pointer, ip]) = (unsafe { bpf_probe_read_user(at as *const [u64; 2]) }) else {
        return end(UserEnd::BadMemory);
    };
    let caller = Caller {
        ip,
        cfa: at.wrapping_add(16),
        frame_pointer: Some(frame_pointer),
        is_exact: false,
    };
    caller.enter(walk)
}

/// The kernel has put all registers on the stack.
#[inline(always)]
fn by_signal_frame(walk: &mut Walk) -> u32 {
    const BYTES: u32 = (machine::SIGNAL_WORDS * 8) as u32;
    let Some(at) = register(walk, STACK_POINTER as u8) else {
        return end(UserEnd::LostRegister);
    };
    let at = at.wrapping_add(machine::SIGNAL_REGISTERS) as *const c_void;
    let raw = (&raw mut walk.raw).cast();
    // SAFETY: `raw` has room for them; the helper checks the user address.
    if unsafe { bpf_probe_read_user_bytes(raw, BYTES, at) } != 0 {
        return end(UserEnd::BadMemory);
    }
    machine::from_signal(walk);
    walk.is_exact = 1;
    if walk.ip == 0 {
        // It was interrupted by calling nothing.
        return end(UserEnd::NullReturn);
    }
    ON
}

#[inline(always)]
fn by_rule(walk: &mut Walk, rule: &Rule) -> u32 {
    let cfa = if rule.kind == RuleKind::PLT {
        let Some(at) = register(walk, STACK_POINTER as u8) else {
            return end(UserEnd::LostRegister);
        };
        let pushed = if walk.ip & 15 >= u64::from(rule.cfa_register) {
            8
        } else {
            0
        };
        at.wrapping_add(8 + pushed)
    } else {
        let Some(base) = register(walk, rule.cfa_register) else {
            return end(UserEnd::LostRegister);
        };
        let at = add(base, rule.cfa_offset);
        if rule.kind == RuleKind::OFFSET {
            at
        } else {
            let Some(found) = word(at) else {
                return end(UserEnd::BadMemory);
            };
            add(found, rule.cfa_plus)
        }
    };
    let ip = match saved(
        walk,
        cfa,
        rule.return_address,
        rule.return_address_register,
        rule.return_address_offset,
        LINK_REGISTER,
    ) {
        Found::Value(ip) => ip,
        Found::Nowhere => return end(UserEnd::LostRegister),
        Found::Unreadable => return end(UserEnd::BadMemory),
    };
    let frame_pointer = match saved(
        walk,
        cfa,
        rule.frame_pointer,
        rule.frame_pointer_register,
        rule.frame_pointer_offset,
        Some(FRAME_POINTER),
    ) {
        Found::Value(value) => Some(value),
        // Most callers don't need it.
        Found::Nowhere => None,
        Found::Unreadable => return end(UserEnd::BadMemory),
    };
    let caller = Caller {
        ip,
        cfa,
        frame_pointer,
        is_exact: rule.is_signal != 0,
    };
    caller.enter(walk)
}

/// What became of looking for a register.
enum Found {
    Value(u64),
    Nowhere,
    Unreadable,
}

/// Where the caller's register is that a rule speaks of; `itself` is where it is if the frame has not changed it.
#[inline(always)]
fn saved(
    walk: &Walk,
    cfa: u64,
    place: Place,
    number: u8,
    offset: i32,
    itself: Option<usize>,
) -> Found {
    let in_register = |value: Option<u64>| value.map_or(Found::Nowhere, Found::Value);
    let in_memory = |at| word(at).map_or(Found::Unreadable, Found::Value);
    match place {
        Place::AT_CFA => in_memory(add(cfa, offset)),
        Place::SAME => match itself {
            Some(itself) => in_register(register(walk, itself as u8)),
            None => Found::Nowhere,
        },
        Place::AT => match register(walk, number) {
            Some(base) => in_memory(add(base, offset)),
            None => Found::Nowhere,
        },
        Place::IN => in_register(register(walk, number)),
        _ => Found::Nowhere,
    }
}

/// What is known of a frame's caller.
struct Caller {
    ip: u64,
    cfa: u64,
    frame_pointer: Option<u64>,
    is_exact: bool,
}

impl Caller {
    /// Goes on to it.
    #[inline(always)]
    fn enter(self, walk: &mut Walk) -> u32 {
        let before = walk.registers[STACK_POINTER];
        // What was running may have no frame at all: vfork(3) keeps its return address in a register.
        let least = if walk.is_exact != 0 { 0 } else { LEAST_FRAME };
        // A signal's frame may lie on a stack of its own.
        if !self.is_exact && self.cfa.wrapping_sub(before).cast_signed() < least.cast_signed() {
            return end(UserEnd::StackOrder);
        }
        let ip = machine::address(self.ip);
        if ip == 0 {
            return end(UserEnd::NullReturn);
        }
        walk.ip = ip;
        walk.is_exact = u64::from(self.is_exact);
        walk.registers[STACK_POINTER] = self.cfa;
        walk.known = 1 << STACK_POINTER;
        if let Some(frame_pointer) = self.frame_pointer {
            walk.registers[FRAME_POINTER] = frame_pointer;
            walk.known |= 1 << FRAME_POINTER;
        }
        ON
    }
}

/// A register's value, where it is known.
#[inline(always)]
fn register(walk: &Walk, number: u8) -> Option<u64> {
    let is_known = number < REGISTERS as u8 && walk.known >> (number & 31) & 1 != 0;
    is_known.then(|| walk.registers[usize::from(number & 31)])
}

#[inline(always)]
fn add(value: u64, offset: i32) -> u64 {
    value.wrapping_add(i64::from(offset).cast_unsigned())
}

/// Eight bytes of user memory.
#[inline(always)]
fn word(at: u64) -> Option<u64> {
    // SAFETY: the helper checks the user address.
    unsafe { bpf_probe_read_user(at as *const u64) }.ok()
}
