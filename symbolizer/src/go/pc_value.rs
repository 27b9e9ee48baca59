//! Tables of values by address: pairs of a change of the value and of how far it holds, both as varints
//! ("Go 1.2 Runtime Symbol Table", "pc-value encoding").

/// The value at an offset into a function: none where the table ends before. `Err` when the table's bytes do.
pub(super) fn pc_value(table: &[u8], quantum: u8, wanted: u64) -> Result<Option<i32>, ()> {
    let mut bytes = table.iter();
    let (mut value, mut at) = (-1_i32, 0_u64);
    let mut is_first = true;
    loop {
        let change = varint(&mut bytes)?;
        if change == 0 && !is_first {
            return Ok(None);
        }
        is_first = false;
        // Zigzag: the lowest bit is the sign.
        let change = (change >> 1) as i32 ^ -((change & 1) as i32);
        value = value.wrapping_add(change);
        let length = u64::from(varint(&mut bytes)?) * u64::from(quantum);
        at += length;
        if wanted < at {
            return Ok(Some(value));
        }
    }
}

fn varint(bytes: &mut std::slice::Iter<'_, u8>) -> Result<u32, ()> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.next().ok_or(())?;
        number |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    // A number of more than 32 bits is none of Go's: the table ends here.
    Ok(0)
}
