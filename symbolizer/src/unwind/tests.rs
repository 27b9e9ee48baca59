use super::*;

/// ELF files made by hand.
#[path = "../../../fuzz/checks/unwind/image.rs"]
pub(super) mod image;

pub(super) mod cfi;
mod hostile;
mod real;
mod sources;
mod v8;

const LIMIT: usize = 1 << 24;

/// A file's conversion, its table and the rules.
fn convert(bytes: &[u8]) -> Result<(Conversion, Table, Rules), Error> {
    let mut rules = Rules::new();
    let mut table = Table::default();
    let conversion = convert_bytes(bytes, "f", LIMIT, &mut rules, |page| table.push(page))?;
    assert_eq!(conversion.pages, table.pages().count() as u64);
    let rows: Vec<_> = table.pages().map(|page| page.rows.len() as u64).collect();
    assert_eq!(conversion.kept, rows.iter().sum::<u64>());
    for page in table.pages() {
        assert_eq!(page.rows[0].low, 0);
        assert!(
            page.rows
                .is_sorted_by(|a, b| a.low < b.low && a.rule != b.rule)
        );
    }
    Ok((conversion, table, rules))
}

/// Where rules begin and which, in the order of their addresses; without those that only begin a page.
fn rows((_, table, rules): &(Conversion, Table, Rules)) -> Vec<(u64, Rule)> {
    let mut all: Vec<(u64, Rule)> = Vec::new();
    for page in table.pages() {
        for row in page.rows {
            let address = page.number << 16 | u64::from(row.low);
            let rule = rules.get(row.rule).expect("a known number");
            assert_eq!(table.find(address), row.rule);
            if all.last().map_or(Rule::None, |last| last.1) != rule {
                all.push((address, rule));
            }
        }
    }
    all
}

fn sp(offset: i32) -> Cfa {
    Cfa::Offset(Register::StackPointer, offset)
}

fn fp(offset: i32) -> Cfa {
    Cfa::Offset(Register::FramePointer, offset)
}

fn frame(cfa: Cfa, frame_pointer: Saved, return_address: Saved) -> Rule {
    Rule::Frame(Frame {
        cfa,
        frame_pointer,
        return_address,
        is_signal: false,
    })
}

/// A frame of x86-64 that has not saved the frame pointer.
fn leaf(cfa: Cfa) -> Rule {
    frame(cfa, Saved::Same, Saved::AtCfa(-8))
}
