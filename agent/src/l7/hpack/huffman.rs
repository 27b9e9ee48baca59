//! The Huffman code of RFC 7541, appendix B.
//!
//! The code is canonical: within one length, codes rise with the symbols, and each length goes on where the shorter one
//! stopped. So the lengths alone say everything, and the tables are made from them when this is compiled.

/// How many bits each symbol takes; the last is the end of the string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, // 0x00
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, // 0x10
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, // 0x20
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, // 0x30
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, // 0x40
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, // 0x50
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, // 0x60
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, // 0x70
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, // 0x80
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, // 0x90
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, // 0xa0
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, // 0xb0
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, // 0xc0
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, // 0xd0
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, // 0xe0
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, // 0xf0
    30,
];

/// The symbol that may not be in a string.
const END: u16 = 256;
/// The longest code.
const LONGEST: usize = 30;
/// Codes up to this length are looked up at once. Nearly all of what HTTP sends has one.
const SHORT: usize = 8;

struct Code {
    /// Symbol and length by the next eight bits; length zero where the code is longer.
    short: [(u8, u8); 1 << SHORT],
    /// Codes of this length or a shorter one are below this, when their first bit is put at bit 31.
    limits: [u64; LONGEST + 1],
    /// The first code of each length.
    firsts: [u32; LONGEST + 1],
    /// Where the symbols of each length start.
    offsets: [u16; LONGEST + 1],
    /// All symbols in the order of their codes.
    symbols: [u16; LENGTHS.len()],
}

static CODE: Code = build();

const fn build() -> Code {
    let mut code = Code {
        short: [(0, 0); 1 << SHORT],
        limits: [0; LONGEST + 1],
        firsts: [0; LONGEST + 1],
        offsets: [0; LONGEST + 1],
        symbols: [0; LENGTHS.len()],
    };
    let mut next = 0_u32;
    let mut placed = 0;
    let mut length = 1;
    while length <= LONGEST {
        code.firsts[length] = next;
        code.offsets[length] = placed as u16;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[placed] = symbol as u16;
                placed += 1;
                if length <= SHORT {
                    let first = (next as usize) << (SHORT - length);
                    let mut at = first;
                    while at < first + (1 << (SHORT - length)) {
                        code.short[at] = (symbol as u8, length as u8);
                        at += 1;
                    }
                }
                next += 1;
            }
            symbol += 1;
        }
        code.limits[length] = (next as u64) << (32 - length);
        next <<= 1;
        length += 1;
    }
    assert!(
        code.limits[LONGEST] == 1 << 32,
        "the lengths are those of a whole code"
    );
    code
}

/// The bytes are no string in this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// Gives the symbols of `bytes` to `push`, one by one. Where `whole` is false, `bytes` are only the start of the string, and may
/// end within a symbol.
pub(super) fn decode(bytes: &[u8], whole: bool, mut push: impl FnMut(u8)) -> Result<(), Invalid> {
    // The next bits, first one at bit 63, and how many there are.
    let mut window = 0_u64;
    let mut have = 0_u32;
    let mut rest = bytes.iter();
    loop {
        while have <= 56
            && let Some(&byte) = rest.next()
        {
            window |= u64::from(byte) << (56 - have);
            have += 8;
        }
        // Section 5.2: what is left in the last byte is filled with ones.
        if have < 8 && window == !(u64::MAX >> have) {
            return Ok(());
        }
        let (mut symbol, mut length) = CODE.short[(window >> 56) as usize];
        if length == 0 {
            (symbol, length) = match long(window) {
                Some(found) => found,
                None if u32::try_from(LONGEST).is_ok_and(|longest| have >= longest) || whole => {
                    return Err(Invalid);
                }
                None => return Ok(()),
            };
        }
        let length = u32::from(length);
        if length > have {
            return if whole { Err(Invalid) } else { Ok(()) };
        }
        push(symbol);
        window <<= length;
        have -= length;
    }
}

/// A symbol with a code of more than [`SHORT`] bits; none for the end of the string.
#[cold]
fn long(window: u64) -> Option<(u8, u8)> {
    let top = window >> 32;
    let length = (SHORT + 1..=LONGEST).find(|&length| top < CODE.limits[length])?;
    let code = u32::try_from(top).ok()? >> (32 - length);
    let at = usize::from(CODE.offsets[length])
        + usize::try_from(code.wrapping_sub(CODE.firsts[length])).ok()?;
    match CODE.symbols.get(at) {
        None | Some(&END) => None,
        Some(&symbol) => Some((u8::try_from(symbol).ok()?, u8::try_from(length).ok()?)),
    }
}
