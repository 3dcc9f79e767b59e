//! Contents of files that can be made again from a seed, piece by piece: nothing
//! of a big file has to be kept to tell whether it came back right.

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::Stream;

const BLOCK: u64 = 64 * 1024;

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub seed: u64,
    pub size: u64,
}

impl Content {
    pub fn new(seed: u64, size: u64) -> Content {
        Content { seed, size }
    }

    /// Made from words, so that every file has contents of its own.
    pub fn of(seed: u64, words: &str, size: u64) -> Content {
        Content {
            seed: mix(words
                .bytes()
                .fold(seed, |state, byte| mix(state ^ u64::from(byte)))),
            size,
        }
    }

    fn block(&self, index: u64) -> Vec<u8> {
        let from = index * BLOCK;
        let length = self.size.saturating_sub(from).min(BLOCK) as usize;
        let mut bytes = Vec::with_capacity(length + 8);
        let mut state = mix(self.seed ^ mix(index));
        while bytes.len() < length {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            bytes.extend_from_slice(&mix(state).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Bytes from `from`, up to (not with) `to`.
    pub fn range(&self, from: u64, to: u64) -> Vec<u8> {
        let to = to.min(self.size);
        let mut bytes = Vec::new();
        let mut at = from;
        while at < to {
            let block = self.block(at / BLOCK);
            let first = (at % BLOCK) as usize;
            let last = (first as u64 + (to - at)).min(block.len() as u64) as usize;
            bytes.extend_from_slice(&block[first..last]);
            at += (last - first) as u64;
        }
        bytes
    }

    /// All of it.
    pub fn bytes(&self) -> Bytes {
        self.range(0, self.size).into()
    }

    /// All of it, as it is needed.
    pub fn stream(&self) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        let content = *self;
        futures::stream::iter(
            (0..self.size.div_ceil(BLOCK)).map(move |i| Ok(content.block(i).into())),
        )
    }

    /// Checks bytes as they come.
    pub fn check(&self) -> Check {
        Check {
            content: *self,
            at: 0,
        }
    }
}

/// SplitMix64's finish: every bit of the answer hangs on every bit of the input.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Compares what comes with what must come.
#[derive(Debug)]
pub struct Check {
    content: Content,
    at: u64,
}

impl Check {
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            ensure!(
                self.at < self.content.size,
                "more than its {} bytes came",
                self.content.size
            );
            let block = self.content.block(self.at / BLOCK);
            let wanted = &block[(self.at % BLOCK) as usize..];
            let n = wanted.len().min(bytes.len());
            if let Some(wrong) = wanted[..n]
                .iter()
                .zip(&bytes[..n])
                .position(|(a, b)| a != b)
            {
                anyhow::bail!(
                    "byte {} is wrong: {:#04x} came",
                    self.at + wrong as u64,
                    bytes[wrong]
                );
            }
            bytes = &bytes[n..];
            self.at += n as u64;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<()> {
        ensure!(
            self.at == self.content.size,
            "{} of {} bytes came",
            self.at,
            self.content.size
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_those_of_the_whole() {
        let content = Content::new(7, 3 * BLOCK + 5);
        let whole = content.bytes();
        assert_eq!(whole.len() as u64, content.size);
        for (from, to) in [(0, 1), (BLOCK - 1, BLOCK + 1), (5, 3 * BLOCK + 5), (9, 9)] {
            assert_eq!(
                content.range(from, to),
                whole[from as usize..to as usize],
                "{from}..{to}"
            );
        }
        assert_ne!(whole, Content::new(8, content.size).bytes());
    }

    #[test]
    fn a_wrong_a_missing_and_a_superfluous_byte_are_found() {
        let content = Content::new(7, BLOCK + 5);
        let whole = content.bytes();
        let tried = |bytes: &[u8]| {
            let mut check = content.check();
            for piece in bytes.chunks(1000) {
                check.feed(piece)?;
            }
            check.finish()
        };
        assert!(tried(&whole).is_ok());
        assert!(tried(&whole[..whole.len() - 1]).is_err());
        assert!(tried(&[&whole[..], b"x"].concat()).is_err());
        let mut wrong = whole.to_vec();
        wrong[BLOCK as usize] ^= 1;
        assert!(tried(&wrong).unwrap_err().to_string().contains("65536"));
    }
}
