//! The 160-bit circle of identifiers, and what lies on it: keys and tokens.
//!
//! Ids are SHA-1, as in the Chord paper (Stoica et al., SIGCOMM 2001, section
//! 4.2). Keys of different kinds are hashed with their kind, so that a file
//! called `x-part1` and part 1 of `x` never meet.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::hexadecimal::in_hexadecimal;
use crate::name::FileName;
use crate::upload::UploadId;

/// A point on the circle modulo 2^160, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 20]);

impl Id {
    /// The key of a file: SHA-1 of its name, as clients compute it too.
    pub fn of_file(name: &FileName) -> Id {
        Id(Sha1::digest(name.as_str().as_bytes()).into())
    }

    /// The key of part `part` (from 1) of one upload of a file.
    pub fn of_part(name: &FileName, part: u32, upload: &UploadId) -> Id {
        let mut hash = Sha1::new();
        hash.update(b"part\0");
        hash.update((name.as_str().len() as u32).to_be_bytes());
        hash.update(name.as_str().as_bytes());
        hash.update(part.to_be_bytes());
        hash.update(upload.as_bytes());
        Id(hash.finalize().into())
    }

    /// SHA-1 of arbitrary bytes.
    pub fn hash(bytes: &[u8]) -> Id {
        Id(Sha1::digest(bytes).into())
    }

    /// Whether `self` lies strictly between `a` and `b` going clockwise.
    ///
    /// As in Zave, "How to make Chord correct": when `a == b` everything but
    /// `a` lies between.
    pub fn between(&self, a: &Id, b: &Id) -> bool {
        if a < b {
            a < self && self < b
        } else {
            a < self || self < b
        }
    }

    /// `self + 2^bit` on the circle: where finger `bit` (0 to 159) starts.
    pub fn plus_power_of_two(&self, bit: usize) -> Id {
        let mut out = self.0;
        let byte = 19 - bit / 8;
        let mut carry = 1u16 << (bit % 8);
        for position in (0..=byte).rev() {
            let sum = u16::from(out[position]) + carry;
            out[position] = sum as u8;
            carry = sum >> 8;
            if carry == 0 {
                break;
            }
        }
        Id(out)
    }

    /// The id one past this one, on the circle.
    pub fn next(&self) -> Id {
        self.plus_power_of_two(0)
    }

    /// The first 64 bits, for figures such as a share of the circle.
    pub fn prefix(&self) -> u64 {
        let mut head = [0u8; 8];
        head.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(head)
    }
}

in_hexadecimal!(Id, 20, short: "Id", what: "an id");

/// The id of a virtual node, kept as its first 64 bits (the rest are zero).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

impl Token {
    /// The point of the circle where this virtual node stands.
    pub fn id(&self) -> Id {
        let mut bytes = [0u8; 20];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        Id(bytes)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:016x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_wraps_around_and_is_open_at_both_ends() {
        let id = |n: u64| Token(n).id();
        assert!(id(5).between(&id(3), &id(9)));
        assert!(!id(3).between(&id(3), &id(9)));
        assert!(!id(9).between(&id(3), &id(9)));
        assert!(id(1).between(&id(9), &id(3)));
        assert!(id(10).between(&id(9), &id(3)));
        assert!(
            id(4).between(&id(7), &id(7)),
            "the whole circle but the point itself"
        );
        assert!(!id(7).between(&id(7), &id(7)));
    }

    #[test]
    fn powers_of_two_carry_and_wrap() {
        let zero = Id([0; 20]);
        let max = Id([0xff; 20]);
        assert_eq!(max.next(), zero);
        assert_eq!(zero.plus_power_of_two(159).0[0], 0x80);
        assert_eq!(zero.plus_power_of_two(8).0[18], 1);
    }

    #[test]
    fn a_file_named_like_a_part_has_another_key() {
        let upload = UploadId::from_bytes([7; 16]);
        let whole: FileName = "x".parse().unwrap();
        let lookalike: FileName = "x-part1".parse().unwrap();
        assert_ne!(Id::of_part(&whole, 1, &upload), Id::of_file(&lookalike));
        assert_ne!(
            Id::of_part(&whole, 1, &upload),
            Id::of_part(&whole, 2, &upload)
        );
        assert_eq!(
            Id::of_file(&whole).to_string(),
            "11f6ad8ec52a2984abaafd7c3b516503785c2072"
        );
    }
}
