//! A copy of a part of a stack.

use fathom_abi::sample::UserEnd;

use super::Ending;

/// The bytes of a stack from an address on.
#[derive(Clone, Copy, Debug)]
pub(in crate::profile) struct StackCopy<'a> {
    /// The address of the first byte: the stack pointer of the frame where the kernel's program stopped.
    pub(in crate::profile) start: u64,
    pub(in crate::profile) bytes: &'a [u8],
}

impl StackCopy<'_> {
    /// The eight bytes at an address.
    pub(super) fn read(&self, address: u64) -> Result<u64, Ending> {
        let offset = address
            .checked_sub(self.start)
            .ok_or(Ending::As(UserEnd::BadMemory))?;
        let word = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.bytes.get(offset..)?.first_chunk().copied());
        // What is just behind the copy is the stack's next part; far away it is another stack, or none.
        const NEAR: u64 = 8 << 20;
        match word {
            Some(word) => Ok(u64::from_ne_bytes(word)),
            None if offset < NEAR => Err(Ending::CopyEnds),
            None => Err(Ending::As(UserEnd::BadMemory)),
        }
    }
}
