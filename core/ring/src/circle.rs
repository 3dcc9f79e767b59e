//! Distances on the circle of identifiers, for fingers and routing.

use chord_types::Id;

/// How far `to` lies clockwise of `from`, modulo 2^160, big-endian. Arrays
/// compare as numbers.
pub fn distance(from: &Id, to: &Id) -> [u8; 20] {
    let mut out = [0u8; 20];
    let mut borrow = 0i16;
    for i in (0..20).rev() {
        let mut digit = i16::from(to.0[i]) - i16::from(from.0[i]) - borrow;
        borrow = i16::from(digit < 0);
        if digit < 0 {
            digit += 256;
        }
        out[i] = digit as u8;
    }
    out
}

/// The octave of `to` as seen from `from`: the largest `k` with
/// 2^k ≤ distance. None when both are the same point.
pub fn octave(from: &Id, to: &Id) -> Option<u8> {
    let far = distance(from, to);
    let first = far.iter().position(|byte| *byte != 0)?;
    Some((19 - first as u8) * 8 + 7 - far[first].leading_zeros() as u8)
}

/// Whether `id` lies in the arc from `after` (without it) to `upto` (with it).
pub fn within(after: &Id, id: &Id, upto: &Id) -> bool {
    id == upto || id.between(after, upto)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_types::Token;

    #[test]
    fn distance_wraps_and_octaves_are_powers_of_two() {
        let id = |n: u64| Token(n).id();
        assert_eq!(Id(distance(&id(3), &id(10))), id(7));
        assert_eq!(Id(distance(&id(10), &id(3))), id(7u64.wrapping_neg()));
        assert_eq!(octave(&id(1), &id(1)), None);
        for bit in 0..160usize {
            let me = Id::hash(b"somewhere");
            assert_eq!(octave(&me, &me.plus_power_of_two(bit)), Some(bit as u8));
        }
    }
}
