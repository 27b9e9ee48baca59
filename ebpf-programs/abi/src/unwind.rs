//! What the sampler unwinds user stacks with: the address spaces of processes, and the unwind tables of the files that they map.
//!
//! From a process and an address to the way to the caller:
//!
//! 1. `SPACES` (hash, by tgid) says which entries of `SEGMENTS` are the process's ([`Space`]);
//! 2. `SEGMENTS` (array) holds its executable mappings in the order of their addresses ([`Segment`]); the one with the address says the
//!    load bias, and which entries of `PAGES` are its file's;
//! 3. `PAGES` (array) holds 64 KiB of a file's own addresses each ([`Page`]), and says where their rows are, and those of each 4 KiB among them;
//! 4. `ROWS` (array) holds the rows in chunks of [`CHUNK_ROWS`] ([`Chunk`]): the last one that is not above the address's lowest 16 bits
//!    names a rule;
//! 5. `RULES` (array) holds the rules ([`Rule`]), which all files share.
//!
//! User space writes all of it and maps the arrays into its memory; the programs only read, but for [`Space::copied_ns`] and [`Space::copies`]. An entry that a
//! program may still be reading is not used for anything else: not before all programs have ended that were running when it was given up. So what a
//! program finds belongs together, whenever it looks.

/// Rows of one [`Chunk`]: as many as make a value large enough that its own cost does not matter (an array's value takes a multiple of eight
/// bytes).
pub const CHUNK_ROWS: usize = 64;

/// The most rows of a page: one for each of its addresses.
pub const MAX_PAGE_ROWS: u32 = 1 << 16;

/// Parts of a page whose rows can be found without a search: of 4 KiB, some dozens of rows.
pub const PARTS: usize = 16;

/// The bits of an address that are its place in a part.
pub const PART_BITS: u32 = 12;

/// The most executable mappings of a process that are searched.
pub const MAX_SEGMENTS: u32 = 1 << 16;

/// A value of `SPACES`: the address space of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Space {
    /// Its first entry of `SEGMENTS`.
    pub first: u32,
    /// How many there are, at most [`MAX_SEGMENTS`].
    pub count: u32,
    /// The kernel's name of the address space that this describes ([`crate::sample::SampleEvent::space`]): the process has another one once it
    /// executed another program. 0 for any.
    pub id: u64,
    /// When a program last copied the stack because an address is in none of the segments; user space writes 0.
    pub copied_ns: u64,
    /// The process: the entry's own key. A program that finds an entry just when it is used for another process sees that.
    pub tgid: u32,
    /// How often programs did so since the entry is there; user space writes 0.
    pub copies: u32,
}

/// A value of `SEGMENTS`: an executable mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Its first address.
    pub start: u64,
    /// The address behind its last.
    pub end: u64,
    /// What an address is more than in the file's own address space, modulo 2^64.
    pub bias: u64,
    /// The first entry of `PAGES` that is the file's.
    pub first_page: u32,
    /// The number of that page: its address in the file's own address space divided by 65,536.
    pub page_number: u32,
    /// How many there are.
    pub pages: u32,
    /// The file: [`Page::file`] of its pages.
    pub file: u32,
    /// What is known of its code.
    pub kind: SegmentKind,
    /// Zero.
    pub reserved: u32,
}

/// What is known of a mapping's code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct SegmentKind(pub u32);

impl SegmentKind {
    /// Nothing helps: no file, or one that can't be read. Unwinding ends here.
    pub const OPAQUE: Self = Self(0);
    /// Its file's table is in the maps. Where it was taken out since, that is as [`SegmentKind::WANTED`].
    pub const TABLE: Self = Self(1);
    /// No file, or one without a table, and frame pointers are the best guess: code that was made at run time.
    pub const FRAME_POINTERS: Self = Self(2);
    /// The file is known and its table could be here, but is not yet.
    pub const WANTED: Self = Self(3);
}

/// A value of `PAGES`: 64 KiB of a file's own addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Page {
    /// The first of its entries of `ROWS`.
    pub first_chunk: u32,
    /// How many rows there are, in the order of their addresses, [`CHUNK_ROWS`] to an entry. The first is at 0. Without any there is no rule in the
    /// page.
    pub rows: u32,
    /// The file: [`Segment::file`]. 0 where the entry is nobody's: a table that was taken out leaves its pages so, and a segment that still points
    /// here sees that it means another file.
    pub file: u32,
    /// Of each part the row that holds at its first address, by its index among the page's; behind them that of the last row. A search among all of a page's rows
    /// would wait for memory at nearly each of its steps: between two samples a program uses the caches for itself.
    pub starts: [u16; PARTS + 1],
    /// Zero.
    pub reserved: u16,
}

/// From an address on, up to the next row's, a rule holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Row {
    /// The lowest 16 bits of the address.
    pub low: u16,
    /// The rule's index in `RULES`.
    pub rule: u16,
}

/// A value of `ROWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Chunk {
    /// Rows of one page; behind its last one they mean nothing.
    pub rows: [Row; CHUNK_ROWS],
}

/// A value of `RULES`: how a frame is unwound. The meaning is that of `symbolizer::unwind::Rule`; registers have their DWARF numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rule {
    /// What it is.
    pub kind: RuleKind,
    /// The register that the canonical frame address is counted from. Of [`RuleKind::PLT`] the first byte of the stub behind the push. Of
    /// [`RuleKind::UNSUPPORTED`] why, as its index in `symbolizer::unwind::Unsupported::ALL`.
    pub cfa_register: u8,
    /// Where the caller's frame pointer is.
    pub frame_pointer: Place,
    /// The register that `frame_pointer` is counted from, or is.
    pub frame_pointer_register: u8,
    /// Where the return address is.
    pub return_address: Place,
    /// The register that `return_address` is counted from, or is.
    pub return_address_register: u8,
    /// 1 where the return address is one that a signal interrupted.
    pub is_signal: u8,
    /// Zero.
    pub reserved: u8,
    /// What is added to the register.
    pub cfa_offset: i32,
    /// Of [`RuleKind::DEREF`]: what is added to what was read there.
    pub cfa_plus: i32,
    /// The offset of `frame_pointer`.
    pub frame_pointer_offset: i32,
    /// The offset of `return_address`.
    pub return_address_offset: i32,
}

/// What a rule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct RuleKind(pub u8);

impl RuleKind {
    /// No table says anything about this code.
    pub const NONE: Self = Self(0);
    /// The frame has no caller.
    pub const END: Self = Self(1);
    /// By the frame pointer.
    pub const FRAME_POINTER: Self = Self(2);
    /// The code that a signal handler returns to; the registers lie where the kernel put them.
    pub const SIGNAL_FRAME: Self = Self(3);
    /// There is a rule, but not one that can be expressed.
    pub const UNSUPPORTED: Self = Self(4);
    /// An ordinary frame, its CFA a register and an offset.
    pub const OFFSET: Self = Self(5);
    /// An ordinary frame, its CFA what lies at a register and an offset, and something added.
    pub const DEREF: Self = Self(6);
    /// An ordinary frame, its CFA that of a lazy stub of x86-64's procedure linkage table.
    pub const PLT: Self = Self(7);
}

/// Where a register of the caller is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Place(pub u8);

impl Place {
    /// It is lost.
    pub const UNDEFINED: Self = Self(0);
    /// Where it was. For a return address this is aarch64's link register.
    pub const SAME: Self = Self(1);
    /// In the eight bytes at CFA + offset.
    pub const AT_CFA: Self = Self(2);
    /// In the eight bytes at a register + offset.
    pub const AT: Self = Self(3);
    /// In another register.
    pub const IN: Self = Self(4);
}
