//! A body as it comes, cut into chunks of exact size.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::memory::Lease;
use super::{Body, Error};

/// Pieces below this are put together: a piece keeps the whole buffer alive that
/// it was read into, and a body may come byte by byte.
const SMALL: usize = 32 * 1024;

/// A body cut into chunks.
pub struct Pieces<'a> {
    body: &'a mut Body,
    /// What is left of the piece that the last chunk ended in.
    left: Option<Bytes>,
    /// The body has ended: it must not be asked again.
    ended: bool,
}

impl<'a> Pieces<'a> {
    /// The pieces of a body that nothing was read of.
    pub fn new(body: &'a mut Body) -> Pieces<'a> {
        Pieces {
            body,
            left: None,
            ended: false,
        }
    }

    /// Up to `size` bytes, fewer only at the end. There is room in `memory` for
    /// each before it is asked for.
    pub async fn take(&mut self, size: usize, memory: &mut Lease) -> Result<Vec<Bytes>, Error> {
        let mut pieces = Vec::new();
        let mut small = BytesMut::new();
        let mut taken = 0;
        while taken < size {
            memory.cover(taken + 1).await?;
            let Some(mut piece) = self.next().await? else {
                break;
            };
            if piece.len() > size - taken {
                self.left = Some(piece.split_off(size - taken));
            }
            taken += piece.len();
            memory.cover(taken).await?;
            if piece.len() < SMALL {
                small.extend_from_slice(&piece);
            }
            if small.len() >= SMALL || piece.len() >= SMALL && !small.is_empty() {
                pieces.push(small.split().freeze());
            }
            if piece.len() >= SMALL {
                pieces.push(piece);
            }
        }
        if !small.is_empty() {
            pieces.push(small.freeze());
        }
        Ok(pieces)
    }

    /// Whether nothing more comes; an error of the body shows here too.
    pub async fn at_end(&mut self) -> Result<bool, Error> {
        match self.next().await? {
            Some(piece) => {
                self.left = Some(piece);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(piece) = self.left.take() {
            return Ok(Some(piece));
        }
        while !self.ended {
            match self.body.next().await {
                Some(piece) => {
                    let piece = piece?;
                    if !piece.is_empty() {
                        return Ok(Some(piece));
                    }
                }
                None => self.ended = true,
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::files::memory::UploadMemory;

    fn memory() -> Lease {
        UploadMemory::new(1 << 20, 1 << 18).lease()
    }

    #[tokio::test]
    async fn small_pieces_are_put_together_in_their_order() {
        let sizes = [1, 1, SMALL, 5, SMALL - 1, 2, SMALL * 2, 3];
        let whole: Vec<u8> = (0..sizes.iter().sum()).map(|n| (n % 251) as u8).collect();
        let mut rest = Bytes::from(whole.clone());
        let parts: Vec<Result<Bytes, Error>> =
            sizes.iter().map(|n| Ok(rest.split_to(*n))).collect();
        let mut body: Body = Box::pin(futures::stream::iter(parts));
        let mut reader = Pieces::new(&mut body);
        let pieces = reader.take(1 << 20, &mut memory()).await.unwrap();
        assert_eq!(pieces.concat(), whole);
        let short = pieces.iter().filter(|p| p.len() < SMALL).count();
        assert!(short <= 3, "{short} before a large one or the end");
        let bytes = (0..100_000).map(|_| Ok(Bytes::from_static(b"x")));
        let mut body: Body = Box::pin(futures::stream::iter(bytes));
        let mut reader = Pieces::new(&mut body);
        let pieces = reader.take(1 << 20, &mut memory()).await.unwrap();
        assert!(pieces.len() <= 4, "{}", pieces.len());
    }

    #[tokio::test]
    async fn bodies_are_cut_exactly() {
        for sizes in [
            vec![],
            vec![10],
            vec![3, 3, 4],
            vec![11],
            vec![25],
            vec![0, 10, 0, 10],
        ] {
            let total: usize = sizes.iter().sum();
            let parts: Vec<Result<Bytes, Error>> = sizes
                .iter()
                .map(|n| Ok(Bytes::from(vec![7u8; *n])))
                .collect();
            let mut body: Body = Box::pin(futures::stream::iter(parts));
            let mut reader = Pieces::new(&mut body);
            let mut got = Vec::new();
            loop {
                let piece: usize = reader
                    .take(10, &mut memory())
                    .await
                    .unwrap()
                    .iter()
                    .map(Bytes::len)
                    .sum();
                got.push(piece);
                if reader.at_end().await.unwrap() {
                    break;
                }
            }
            assert_eq!(got.iter().sum::<usize>(), total);
            assert!(got[..got.len() - 1].iter().all(|n| *n == 10), "{got:?}");
            assert!(total == 0 || *got.last().unwrap() > 0);
        }
    }

    #[tokio::test]
    async fn a_broken_body_is_an_error_and_not_an_end() {
        let parts = vec![
            Ok(Bytes::from_static(b"abc")),
            Err(Error::body(std::io::Error::from(ErrorKind::BrokenPipe))),
        ];
        let mut body: Body = Box::pin(futures::stream::iter(parts));
        let mut reader = Pieces::new(&mut body);
        assert!(reader.take(10, &mut memory()).await.is_err());
    }
}
