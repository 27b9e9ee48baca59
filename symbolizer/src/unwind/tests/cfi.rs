//! Call frame information made by hand.

/// A common information entry of `.eh_frame` for x86-64: code factor 1, data factor -8, and at first CFA = rsp+8, rip at CFA-8.
/// Addresses are absolute, unless the augmentation says otherwise.
pub(super) fn cie(augmentation: &str, data: &[u8], more: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 1];
    bytes.extend_from_slice(augmentation.as_bytes());
    bytes.extend_from_slice(&[0, 1, 0x78, 16]);
    if augmentation.starts_with('z') {
        bytes.push(data.len() as u8);
        bytes.extend_from_slice(data);
    }
    bytes.extend_from_slice(&[0x0c, 7, 8, 0x90, 1]);
    bytes.extend_from_slice(more);
    entry(bytes)
}

/// A frame description entry at an offset of its section, whose CIE is at another.
pub(super) fn fde(at: usize, cie: usize, start: u64, length: u64, instructions: &[u8]) -> Vec<u8> {
    let pointer = (at + 4 - cie) as u32;
    let mut bytes = pointer.to_le_bytes().to_vec();
    bytes.extend_from_slice(&start.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(instructions);
    entry(bytes)
}

/// A section of one CIE and entries for so many addresses each, one behind the other.
pub(in crate::unwind) fn section(entries: &[(u64, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = cie("", &[], &[]);
    for &(start, length, instructions) in entries {
        let entry = fde(bytes.len(), 0, start, length, instructions);
        bytes.extend(entry);
    }
    bytes
}

fn entry(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut entry = (bytes.len() as u32).to_le_bytes().to_vec();
    entry.extend(bytes);
    entry
}

/// Further in the code, by so many bytes.
pub(super) fn advance(bytes: u32) -> Vec<u8> {
    let mut instruction = vec![4];
    instruction.extend_from_slice(&bytes.to_le_bytes());
    instruction
}
