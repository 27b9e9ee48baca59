//! A stored table's bytes, little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `fathomUT` |
//! | 4 | [`VERSION`] |
//! | 4 | CRC-32 of all that follows |
//! | 4 | the build id's length, and its bytes |
//! | 8, 4 | the file's length, the checksum of its first bytes |
//! | 1 | the machine |
//! | 8 each | what was counted ([`Conversion`]) |
//! | 4 | the number of rules, and 27 bytes for each |
//! | 4 | the number of pages, and 12 bytes for each: its number and how many rows it has |
//! | 4 each | the rows of all pages: the address's lowest 16 bits, and the rule's number in this list |

use super::{
    super::{
        Cfa, Conversion, Frame, Machine, Page, Register, Row, Rule, Rules, Saved, Table,
        Unsupported, numbers::Numbers,
    },
    Key,
};

/// To be increased with every change of these bytes, of the rules, or of what a conversion makes of a file; a test holds the
/// last of them against a file made by hand.
pub(super) const VERSION: u32 = 3;

const MAGIC: [u8; 8] = *b"fathomUT";
/// Magic, version and checksum.
const HEADER: usize = 16;
/// Rows of one page at most: one for each address.
const MAX_ROWS: u32 = 1 << 16;

/// A file's CRC-32 (as in gzip: RFC 1952, section 8).
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The bytes of an entry.
pub(super) fn write(key: &Key, conversion: &Conversion, table: &Table, rules: &Rules) -> Vec<u8> {
    let mut numbers = Local::default();
    let rows: Vec<u8> = table
        .pages()
        .flat_map(|page| page.rows)
        .flat_map(|row| {
            let [a, b] = row.low.to_le_bytes();
            let [c, d] = numbers.of(row.rule).to_le_bytes();
            [a, b, c, d]
        })
        .collect();
    let mut out = Vec::with_capacity(rows.len() + 4096);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend([0; 4]);
    out.extend((key.build_id.len() as u32).to_le_bytes());
    out.extend(&key.build_id);
    out.extend(key.length.to_le_bytes());
    out.extend(key.head.to_le_bytes());
    out.push(match conversion.machine {
        Machine::X86_64 => 0,
        Machine::Aarch64 => 1,
    });
    for count in counts(&mut conversion.clone()) {
        out.extend(count.to_le_bytes());
    }
    out.extend((numbers.used.len() as u32).to_le_bytes());
    for &number in &numbers.used {
        write_rule(rules.get(number).unwrap_or(Rule::None), &mut out);
    }
    out.extend((table.pages().count() as u32).to_le_bytes());
    for page in table.pages() {
        out.extend(page.number.to_le_bytes());
        out.extend((page.rows.len() as u32).to_le_bytes());
    }
    out.extend(rows);
    let sum = checksum(&out[HEADER..]);
    out[12..HEADER].copy_from_slice(&sum.to_le_bytes());
    out
}

/// The rules that a table uses, in an order of its own.
#[derive(Default)]
struct Local {
    used: Vec<u16>,
    /// By their numbers in [`Rules`], their places in `used` and one.
    places: Vec<u32>,
}

impl Local {
    fn of(&mut self, number: u16) -> u16 {
        let at = usize::from(number);
        if self.places.len() <= at {
            self.places.resize(at + 1, 0);
        }
        if self.places[at] == 0 {
            self.used.push(number);
            self.places[at] = self.used.len() as u32;
        }
        // As many as a row can name, at most.
        (self.places[at] - 1) as u16
    }
}

/// An entry whose bytes are in order.
pub(super) struct Entry<'a> {
    pub(super) conversion: Conversion,
    rules: Vec<Rule>,
    pages: Vec<(u64, u32)>,
    rows: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry of a file; none where a byte of it is not as it must be.
    pub(super) fn read(bytes: &'a [u8], key: &Key) -> Option<Self> {
        let mut input = Input(bytes);
        if input.bytes(8)? != MAGIC || input.u32()? != VERSION {
            return None;
        }
        let sum = input.u32()?;
        if checksum(input.0) != sum {
            return None;
        }
        let length = input.u32()?;
        let build_id = input.bytes(usize::try_from(length).ok()?)?;
        if build_id != key.build_id || input.u64()? != key.length || input.u32()? != key.head {
            return None;
        }
        let machine = match input.u8()? {
            0 => Machine::X86_64,
            1 => Machine::Aarch64,
            _ => return None,
        };
        let mut conversion = Conversion::of(machine);
        for count in counts(&mut conversion) {
            *count = input.u64()?;
        }
        let count = input.u32()?;
        let mut rules = Vec::new();
        for _ in 0..count {
            rules.push(read_rule(&mut input)?);
        }
        let count = input.u32()?;
        let mut pages: Vec<(u64, u32)> = Vec::new();
        for _ in 0..count {
            let page = (input.u64()?, input.u32()?);
            let follows = pages.last().is_none_or(|last| last.0 < page.0);
            if !follows || page.0 >> 48 != 0 || page.1 == 0 || page.1 > MAX_ROWS {
                return None;
            }
            pages.push(page);
        }
        let entry = Self {
            conversion,
            rules,
            pages,
            rows: input.0,
        };
        entry.is_sound().then_some(entry)
    }

    /// Whether its rows are such as a conversion makes.
    fn is_sound(&self) -> bool {
        let count: u64 = self.pages.iter().map(|page| u64::from(page.1)).sum();
        if count * 4 != self.rows.len() as u64
            || count != self.conversion.kept
            || self.pages.len() as u64 != self.conversion.pages
        {
            return false;
        }
        let mut rows = self.rows.as_chunks::<4>().0.iter().map(row);
        self.pages.iter().all(|&(_, count)| {
            let mut before: Option<Row> = None;
            rows.by_ref().take(count as usize).all(|row| {
                let follows = match before {
                    None => row.low == 0,
                    Some(last) => last.low < row.low && last.rule != row.rule,
                };
                before = Some(row);
                follows && usize::from(row.rule) < self.rules.len()
            })
        })
    }

    /// Its table, in the numbers of `rules`.
    pub(super) fn table(&self, rules: &mut Rules) -> Table {
        let mut shared = Numbers::new(rules);
        let numbers: Vec<u16> = self
            .rules
            .iter()
            .map(|&rule| shared.number(rule).unwrap_or(Rules::RULES_FULL))
            .collect();
        let mut table = Table::default();
        let mut rows = self.rows.as_chunks::<4>().0.iter().map(row);
        let mut page = Vec::new();
        for &(number, count) in &self.pages {
            page.clear();
            page.extend(rows.by_ref().take(count as usize).map(|row| Row {
                rule: numbers[usize::from(row.rule)],
                ..row
            }));
            // Rules for which there is no room any more are one.
            page.dedup_by_key(|row| row.rule);
            table.push(Page {
                number,
                rows: &page,
            });
        }
        table
    }
}

fn row(&[a, b, c, d]: &[u8; 4]) -> Row {
    Row {
        low: u16::from_le_bytes([a, b]),
        rule: u16::from_le_bytes([c, d]),
    }
}

/// Everything that a conversion counts, in the order of its bytes.
fn counts(conversion: &mut Conversion) -> impl Iterator<Item = &mut u64> {
    let Conversion {
        machine: _,
        eh_frame,
        debug_frame,
        entries,
        elsewhere,
        overlapping,
        rows,
        kept,
        pages,
        unsupported,
    } = conversion;
    [
        eh_frame,
        debug_frame,
        entries,
        elsewhere,
        overlapping,
        rows,
        kept,
        pages,
    ]
    .into_iter()
    .chain(unsupported)
}

pub(super) fn write_rule(rule: Rule, out: &mut Vec<u8>) {
    let (kind, frame) = match rule {
        Rule::None => (0, None),
        Rule::End => (1, None),
        Rule::FramePointer => (2, None),
        Rule::SignalFrame => (3, None),
        Rule::Unsupported(kind) => (UNSUPPORTED + kind as u8, None),
        Rule::Frame(frame) => (FRAME + u8::from(frame.is_signal), Some(frame)),
    };
    out.push(kind);
    let Some(frame) = frame else {
        out.extend([0; 26]);
        return;
    };
    let (form, register, first, second) = match frame.cfa {
        Cfa::Offset(register, offset) => (0, Some(register), offset, 0),
        Cfa::Deref { base, at, plus } => (1, Some(base), at, plus),
        Cfa::Plt { pushed_at } => (2, None, i32::from(pushed_at), 0),
    };
    out.push(form);
    out.extend(write_register(register));
    out.extend(first.to_le_bytes());
    out.extend(second.to_le_bytes());
    for saved in [frame.frame_pointer, frame.return_address] {
        let (form, register, offset) = match saved {
            Saved::Same => (0, None, 0),
            Saved::Undefined => (1, None, 0),
            Saved::AtCfa(offset) => (2, None, offset),
            Saved::At(register, offset) => (3, Some(register), offset),
            Saved::In(register) => (4, Some(register), 0),
        };
        out.push(form);
        out.extend(write_register(register));
        out.extend(offset.to_le_bytes());
    }
    out.push(0);
}

/// The first number of those that can't be expressed, and of frames.
const UNSUPPORTED: u8 = 16;
const FRAME: u8 = 64;

pub(super) fn read_rule(input: &mut Input<'_>) -> Option<Rule> {
    let kind = input.u8()?;
    if kind & !1 != FRAME {
        let rule = match kind {
            0 => Rule::None,
            1 => Rule::End,
            2 => Rule::FramePointer,
            3 => Rule::SignalFrame,
            _ => {
                let at = usize::from(kind.checked_sub(UNSUPPORTED)?);
                Rule::Unsupported(*Unsupported::ALL.get(at)?)
            }
        };
        let rest = input.bytes(26)?;
        return rest.iter().all(|&byte| byte == 0).then_some(rule);
    }
    let form = input.u8()?;
    let register = read_register(input)?;
    let (first, second) = (input.i32()?, input.i32()?);
    let cfa = match (form, register, second) {
        (0, Some(register), 0) => Cfa::Offset(register, first),
        (1, Some(base), plus) => Cfa::Deref {
            base,
            at: first,
            plus,
        },
        (2, None, 0) => Cfa::Plt {
            pushed_at: u8::try_from(first).ok().filter(|at| (1..16).contains(at))?,
        },
        _ => return None,
    };
    let mut saved = || -> Option<Saved> {
        let form = input.u8()?;
        let register = read_register(input)?;
        Some(match (form, register, input.i32()?) {
            (0, None, 0) => Saved::Same,
            (1, None, 0) => Saved::Undefined,
            (2, None, offset) => Saved::AtCfa(offset),
            (3, Some(register), offset) => Saved::At(register, offset),
            (4, Some(register), 0) => Saved::In(register),
            _ => return None,
        })
    };
    let frame = Frame {
        cfa,
        frame_pointer: saved()?,
        return_address: saved()?,
        is_signal: kind != FRAME,
    };
    (input.u8()? == 0).then_some(Rule::Frame(frame))
}

fn write_register(register: Option<Register>) -> [u8; 2] {
    match register {
        None => [0, 0],
        Some(Register::StackPointer) => [1, 0],
        Some(Register::FramePointer) => [2, 0],
        Some(Register::Other(number)) => [3, number],
    }
}

fn read_register(input: &mut Input<'_>) -> Option<Option<Register>> {
    Some(match (input.u8()?, input.u8()?) {
        (0, 0) => None,
        (1, 0) => Some(Register::StackPointer),
        (2, 0) => Some(Register::FramePointer),
        (3, number) => Some(Register::Other(number)),
        _ => return None,
    })
}

/// Bytes that are left to read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
