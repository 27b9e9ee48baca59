//! ELF files made by hand, around call frame information made by hand.

/// A file: code at an address, and sections.
pub struct Image {
    pub machine: u16,
    pub address: u64,
    pub code: Vec<u8>,
    /// Name, flags, and bytes.
    pub sections: Vec<(&'static str, u64, Vec<u8>)>,
}

pub const X86_64: u16 = 62;
/// The address of the first section.
pub const SECTIONS_AT: u64 = 0x1000_0000;

const HEADER: usize = 64;
const PROGRAM: usize = 56;

impl Image {
    /// x86-64, with so many bytes of code at 0x401000.
    pub fn new(code: usize) -> Self {
        Self {
            machine: X86_64,
            address: 0x40_1000,
            code: vec![0x90; code],
            sections: Vec::new(),
        }
    }

    /// With a section.
    pub fn with(mut self, name: &'static str, flags: u64, bytes: impl Into<Vec<u8>>) -> Self {
        self.sections.push((name, flags, bytes.into()));
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let code_at = HEADER + PROGRAM;
        let mut names = b"\0.shstrtab\0".to_vec();
        let mut file = vec![0; code_at];
        file.extend_from_slice(&self.code);
        let mut headers = vec![[0_u8; 64]];
        for (number, (name, flags, bytes)) in self.sections.iter().enumerate() {
            headers.push(section_header(
                names.len(),
                1,
                *flags,
                SECTIONS_AT * (number as u64 + 1),
                file.len(),
                bytes.len(),
            ));
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            file.extend_from_slice(bytes);
        }
        headers.push(section_header(1, 3, 0, 0, file.len(), names.len()));
        file.extend_from_slice(&names);
        let headers_at = file.len() as u64;
        for header in &headers {
            file.extend_from_slice(header);
        }

        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        file[6] = 1;
        put(&mut file, 16, &3_u16.to_le_bytes());
        put(&mut file, 18, &self.machine.to_le_bytes());
        put(&mut file, 20, &1_u32.to_le_bytes());
        put(&mut file, 24, &self.address.to_le_bytes());
        put(&mut file, 32, &(HEADER as u64).to_le_bytes());
        put(&mut file, 40, &headers_at.to_le_bytes());
        let sizes = [HEADER, PROGRAM, 1, 64, headers.len(), headers.len() - 1];
        for (number, size) in sizes.into_iter().enumerate() {
            put(&mut file, 52 + 2 * number, &(size as u16).to_le_bytes());
        }
        // PT_LOAD, readable and executable.
        put(&mut file, HEADER, &1_u32.to_le_bytes());
        put(&mut file, HEADER + 4, &5_u32.to_le_bytes());
        let size = self.code.len() as u64;
        let words = [code_at as u64, self.address, self.address, size, size, 1];
        for (number, word) in words.into_iter().enumerate() {
            put(&mut file, HEADER + 8 + 8 * number, &word.to_le_bytes());
        }
        file
    }
}

fn section_header(
    name: usize,
    kind: u32,
    flags: u64,
    address: u64,
    offset: usize,
    size: usize,
) -> [u8; 64] {
    let mut header = [0; 64];
    put(&mut header, 0, &(name as u32).to_le_bytes());
    put(&mut header, 4, &kind.to_le_bytes());
    for (number, word) in [flags, address, offset as u64, size as u64]
        .into_iter()
        .enumerate()
    {
        put(&mut header, 8 + 8 * number, &word.to_le_bytes());
    }
    header
}

fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    into[at..at + bytes.len()].copy_from_slice(bytes);
}
