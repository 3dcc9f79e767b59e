//! A body as it comes, cut into chunks of exact size.

use bytes::Bytes;
use chord_api::problem::Problem;
use futures::StreamExt;

use super::Body;

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

    /// Up to `size` bytes, fewer only at the end.
    pub async fn take(&mut self, size: usize) -> Result<Vec<Bytes>, Problem> {
        let mut pieces = Vec::new();
        let mut taken = 0;
        while taken < size {
            let Some(mut piece) = self.next().await? else {
                break;
            };
            if piece.len() > size - taken {
                self.left = Some(piece.split_off(size - taken));
            }
            taken += piece.len();
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Whether nothing more comes; an error of the body shows here too.
    pub async fn at_end(&mut self) -> Result<bool, Problem> {
        match self.next().await? {
            Some(piece) => {
                self.left = Some(piece);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
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
    use chord_api::problem::Kind;

    use super::*;

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
            let parts: Vec<Result<Bytes, Problem>> = sizes
                .iter()
                .map(|n| Ok(Bytes::from(vec![7u8; *n])))
                .collect();
            let mut body: Body = Box::pin(futures::stream::iter(parts));
            let mut reader = Pieces::new(&mut body);
            let mut got = Vec::new();
            loop {
                let piece: usize = reader.take(10).await.unwrap().iter().map(Bytes::len).sum();
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
            Err(Problem::new(Kind::InvalidRequest, "broken")),
        ];
        let mut body: Body = Box::pin(futures::stream::iter(parts));
        let mut reader = Pieces::new(&mut body);
        assert!(reader.take(10).await.is_err());
    }
}
