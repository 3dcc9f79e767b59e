//! How a chunk is checked: in blocks, so that a range of it verifies alone.
//! The one place that hashes blocks.

use crate::hexadecimal::in_hexadecimal;

/// Bytes of one block of a chunk: the unit in which checksums verify, so that a
/// range of a chunk can be checked without reading all of it.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// The BLAKE3 hash over a chunk's block hashes (BLAKE3 of each
/// [`BLOCK_BYTES`]), in order: whoever holds this can verify any range.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Root(pub [u8; 32]);

impl Root {
    /// The root of a whole chunk, and its block hashes.
    pub fn of(payload: &[u8]) -> (Root, Vec<[u8; 32]>) {
        let blocks: Vec<[u8; 32]> = payload.chunks(BLOCK_BYTES).map(hash_block).collect();
        (Root::of_blocks(&blocks), blocks)
    }
    /// The root of a payload in pieces of any length, without copying them together.
    pub fn of_pieces<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> Root {
        let mut blocks = BlockHasher::default();
        for piece in pieces {
            blocks.update(piece.as_ref());
        }
        Root::of_blocks(&blocks.finish())
    }
    /// The root over block hashes.
    pub fn of_blocks(blocks: &[[u8; 32]]) -> Root {
        let mut hash = blake3::Hasher::new();
        for block in blocks {
            hash.update(block);
        }
        Root(*hash.finalize().as_bytes())
    }
}

/// The hash of one block; of the last one of a chunk, which may be shorter, too.
pub fn hash_block(block: &[u8]) -> [u8; 32] {
    *blake3::hash(block).as_bytes()
}

/// Whether bytes are the blocks that these hashes are of, all of them.
pub fn are_blocks(bytes: &[u8], hashes: &[[u8; 32]]) -> bool {
    let mut blocks = bytes.chunks(BLOCK_BYTES).map(hash_block);
    hashes.iter().all(|hash| blocks.next() == Some(*hash)) && blocks.next().is_none()
}

/// Hashes blocks as the bytes of a chunk go by, in pieces of any size.
#[derive(Default)]
pub struct BlockHasher {
    hashes: Vec<[u8; 32]>,
    /// The block that is not full yet.
    open: blake3::Hasher,
    filled: usize,
}

impl BlockHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.open.update(now);
            self.filled += now.len();
            if self.filled == BLOCK_BYTES {
                self.close();
            }
            bytes = rest;
        }
    }

    fn close(&mut self) {
        self.hashes.push(*self.open.finalize().as_bytes());
        self.open.reset();
        self.filled = 0;
    }

    /// The hashes of all blocks, the last of which may be shorter.
    pub fn finish(mut self) -> Vec<[u8; 32]> {
        if self.filled > 0 {
            self.close();
        }
        self.hashes
    }
}

/// Why blocks are not those that a [`Root`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The block hashes are not those of the root.
    #[error("its block hashes do not match the manifest")]
    Hashes,
    /// This block is not there, or is not what its hash says.
    #[error("block {0} does not match its hash")]
    Block(u32),
    /// There is more behind the blocks.
    #[error("it sent more than was asked")]
    TooLong,
}

/// Whether `data` is the blocks `range` of the chunk that `root` stands for, of
/// which `hashes` are said to be the block hashes.
pub fn verify(
    root: Root,
    hashes: &[[u8; 32]],
    range: std::ops::Range<u32>,
    data: &[u8],
) -> Result<(), Mismatch> {
    if Root::of_blocks(hashes) != root {
        return Err(Mismatch::Hashes);
    }
    let mut got = data.chunks(BLOCK_BYTES);
    for index in range {
        let wanted = hashes.get(index as usize).ok_or(Mismatch::Block(index))?;
        match got.next() {
            Some(block) if hash_block(block) == *wanted => {}
            _ => return Err(Mismatch::Block(index)),
        }
    }
    match got.next() {
        Some(_) => Err(Mismatch::TooLong),
        None => Ok(()),
    }
}

in_hexadecimal!(Root, 32, short: "Root", what: "a root");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_hashes_of_the_whole() {
        for len in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 5] {
            let payload: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
            let (_, hashes) = Root::of(&payload);
            for piece in [1000, BLOCK_BYTES, 100_000] {
                let mut hasher = BlockHasher::default();
                payload.chunks(piece).for_each(|bytes| hasher.update(bytes));
                assert_eq!(hasher.finish(), hashes, "{len} bytes in pieces of {piece}");
            }
            assert!(are_blocks(&payload, &hashes));
            let mut wrong = payload.clone();
            wrong.push(0);
            assert!(!are_blocks(&wrong, &hashes), "one byte more");
            wrong.truncate(len);
            if let Some(last) = wrong.last_mut() {
                *last ^= 1;
                assert!(!are_blocks(&wrong, &hashes), "one bit");
                assert!(!are_blocks(&payload[..len - 1], &hashes), "one byte less");
            }
        }
    }

    fn payload() -> Vec<u8> {
        (0..200_000u32).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn a_root_does_not_depend_on_how_the_payload_is_cut() {
        let payload = payload();
        let whole = Root::of(&payload).0;
        for cut in [1usize, 7, 65_536, 65_537, 131_072, 199_999] {
            let pieces = [&payload[..cut], &payload[cut..]];
            assert_eq!(Root::of_pieces(pieces), whole, "cut at {cut}");
        }
        assert_eq!(Root::of_pieces::<&[u8]>([]), Root::of(&[]).0);
    }

    #[test]
    fn only_the_blocks_that_were_asked_for_pass() {
        let payload = payload();
        let (root, hashes) = Root::of(&payload);
        let block = |n: usize| &payload[n * BLOCK_BYTES..((n + 1) * BLOCK_BYTES).min(200_000)];
        assert_eq!(verify(root, &hashes, 1..2, block(1)), Ok(()));
        assert_eq!(verify(root, &hashes, 3..4, block(3)), Ok(()));
        assert_eq!(verify(root, &hashes, 0..4, &payload), Ok(()));
        let wrong = Err(Mismatch::Block(1));
        assert_eq!(verify(root, &hashes, 1..2, block(0)), wrong);
        assert_eq!(verify(root, &hashes, 1..2, &[]), wrong);
        assert_eq!(
            verify(root, &hashes, 3..5, block(3)),
            Err(Mismatch::Block(4))
        );
        assert_eq!(
            verify(root, &hashes, 0..1, &payload),
            Err(Mismatch::TooLong)
        );
        assert_eq!(
            verify(root, &hashes[1..], 0..1, block(1)),
            Err(Mismatch::Hashes)
        );
    }
}
