//! Hashes stream ids. A connection's peer chooses the ids, so that the hash has a secret of its own for each connection; and each frame
//! looks one up several times, so that it is a multiplication.

use std::hash::{BuildHasher, Hasher, RandomState};

#[derive(Clone)]
pub(super) struct Ids(u64);

impl Ids {
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(0_u8) | 1)
    }
}

impl BuildHasher for Ids {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher {
            secret: self.0,
            hash: 0,
        }
    }
}

pub(super) struct IdHasher {
    secret: u64,
    hash: u64,
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        let product = u128::from(self.hash ^ u64::from(id) ^ self.secret.rotate_left(32))
            * u128::from(self.secret);
        // Both halves, as the table uses the lowest bits and the highest.
        self.hash = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
