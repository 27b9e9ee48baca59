//! Runs a line number program (DWARF 5, sections 6.2.2 and 6.2.5).

use gimli::constants as dw;

use super::{Row, header::Header, rows::Rows};
use crate::dwarf::cursor::Cursor;

/// The registers of the machine that makes rows, as far as they are asked for.
#[derive(Clone, Copy)]
struct State {
    address: u64,
    operation: u64,
    row: Row,
}

/// What the standard opcodes depend on.
struct Machine<'a> {
    header: &'a Header,
    /// What each special opcode adds to the address, in operations, and to the line.
    special: [(u8, i16); 256],
}

const START: State = State {
    address: 0,
    operation: 0,
    row: Row {
        line: 1,
        file: 1,
        column: 0,
    },
};
const CUT: &str = "its program is cut short";

/// Runs the program that begins where the header says, up to the end of the bytes.
pub(super) fn run(
    header: &Header,
    mut cursor: Cursor<'_>,
    rows: &mut Rows,
) -> Result<(), &'static str> {
    let machine = Machine::new(header);
    let mut state = START;
    cursor.seek(header.program);
    while let Some(opcode) = cursor.u8() {
        if opcode >= header.opcode_base {
            let (operations, lines) = machine.special[usize::from(opcode)];
            machine.advance(&mut state, u64::from(operations));
            state.row.line = state.row.line.wrapping_add_signed(i32::from(lines));
            rows.push(state.address, state.row);
        } else if opcode == 0 {
            extended(&mut cursor, &mut state, rows).ok_or(CUT)?;
        } else {
            machine
                .standard(opcode, &mut cursor, &mut state, rows)
                .ok_or(CUT)?;
        }
    }
    Ok(())
}

impl<'a> Machine<'a> {
    fn new(header: &'a Header) -> Self {
        let mut special = [(0, 0); 256];
        for opcode in header.opcode_base..=255 {
            let adjusted = opcode - header.opcode_base;
            let (operations, lines) = match adjusted.checked_div(header.line_range) {
                Some(operations) => (operations, adjusted % header.line_range),
                None => (0, 0),
            };
            special[usize::from(opcode)] =
                (operations, i16::from(header.line_base) + i16::from(lines));
        }
        Self { header, special }
    }

    #[inline]
    fn standard(
        &self,
        opcode: u8,
        cursor: &mut Cursor<'_>,
        state: &mut State,
        rows: &mut Rows,
    ) -> Option<()> {
        match gimli::DwLns(opcode) {
            dw::DW_LNS_copy => rows.push(state.address, state.row),
            dw::DW_LNS_advance_pc => self.advance(state, cursor.uleb()?),
            dw::DW_LNS_advance_line => {
                // As wide as a line is.
                let lines = cursor.sleb()? as i32;
                state.row.line = state.row.line.wrapping_add_signed(lines);
            }
            dw::DW_LNS_set_file => {
                state.row.file = u16::try_from(cursor.uleb()?).unwrap_or(u16::MAX);
            }
            dw::DW_LNS_set_column => {
                state.row.column = u16::try_from(cursor.uleb()?).unwrap_or(0);
            }
            dw::DW_LNS_negate_stmt
            | dw::DW_LNS_set_basic_block
            | dw::DW_LNS_set_prologue_end
            | dw::DW_LNS_set_epilogue_begin => {}
            dw::DW_LNS_const_add_pc => {
                let (operations, _) = self.special[255];
                self.advance(state, u64::from(operations));
            }
            dw::DW_LNS_fixed_advance_pc => {
                let bytes = cursor.u16()?;
                state.address = state.address.wrapping_add(u64::from(bytes));
                state.operation = 0;
            }
            dw::DW_LNS_set_isa => cursor.skip_leb()?,
            _ => {
                let operands = self.header.operands.get(usize::from(opcode) - 1)?;
                for _ in 0..*operands {
                    cursor.skip_leb()?;
                }
            }
        }
        Some(())
    }

    #[inline]
    fn advance(&self, state: &mut State, operations: u64) {
        let instruction = u64::from(self.header.minimum_instruction);
        let maximum = u64::from(self.header.maximum_operations);
        let instructions = if maximum <= 1 {
            operations
        } else {
            let all = state.operation.wrapping_add(operations);
            state.operation = all % maximum;
            all / maximum
        };
        state.address = state
            .address
            .wrapping_add(instruction.wrapping_mul(instructions));
    }
}

fn extended(cursor: &mut Cursor<'_>, state: &mut State, rows: &mut Rows) -> Option<()> {
    let length = cursor.uleb()?;
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(cursor.at()))
        .filter(|&end| end <= cursor.end())?;
    if length == 0 {
        return Some(());
    }
    match gimli::DwLne(cursor.u8()?) {
        dw::DW_LNE_end_sequence => {
            rows.end_sequence(state.address);
            *state = START;
        }
        dw::DW_LNE_set_address => {
            // The length says more surely than the header how long an address is.
            state.address = cursor.number((length - 1).min(9) as u8)?;
            state.operation = 0;
        }
        _ => {}
    }
    cursor.seek(end);
    Some(())
}
