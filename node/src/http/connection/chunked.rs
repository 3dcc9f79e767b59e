//! Follows a body in the chunked transfer coding (RFC 9112, section 7.1), to know
//! where it ends, and finds at once what is none.
//!
//! It takes no more than the grammar gives, spaces behind a size apart: where two
//! readers of one body differ, one of them sees a request that the other does not.

use crate::http::request::head::is_token;

/// The longest line of a chunk's size, its extensions included.
const LINE_BYTES: usize = 16 * 1024;

/// A chunked body, followed up to some byte of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of the present line of a size.
    line: usize,
    /// The size that this line gives, as far as it is read.
    size: u64,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A size; whether it has a digit yet.
    Size {
        begun: bool,
    },
    /// Spaces before the name of an extension.
    NameBegin,
    Name,
    /// Spaces behind a name.
    NameEnd,
    /// Spaces before a value.
    ValueBegin,
    Value,
    Quoted,
    /// Behind a backslash in quotes.
    Escaped,
    /// Spaces behind a size or an extension.
    Pause,
    /// The LF of the line of a size.
    SizeLf,
    /// A chunk, of which so much is left.
    Data(u64),
    DataCr,
    DataLf,
    /// A line of the trailer; whether it is empty till now.
    Trailer {
        empty: bool,
    },
    TrailerLf {
        empty: bool,
    },
    End,
}

/// Why some bytes are no chunked body, and which of them is the first that fits nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) at: usize,
    pub(super) why: &'static str,
}

impl Chunks {
    /// At the first byte of a body.
    pub(super) fn new() -> Chunks {
        Chunks {
            at: At::Size { begun: false },
            line: 0,
            size: 0,
        }
    }

    /// Whether all of it has been followed.
    pub(super) fn ended(&self) -> bool {
        self.at == At::End
    }

    /// Goes on over these bytes and says how many of them belong to the body: all,
    /// unless it ends among them.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        while used < bytes.len() && !self.ended() {
            if let At::Data(left) = &mut self.at {
                let here = bytes.len() - used;
                let now = here.min(usize::try_from(*left).unwrap_or(usize::MAX));
                used += now;
                *left -= now as u64;
                if *left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            match self.step(bytes[used]) {
                Ok(next) => self.at = next,
                Err(why) => return Err(Malformed { at: used, why }),
            }
            used += 1;
        }
        Ok(used)
    }

    fn step(&mut self, byte: u8) -> Result<At, &'static str> {
        match self.at {
            At::Size { .. }
            | At::NameBegin
            | At::Name
            | At::NameEnd
            | At::ValueBegin
            | At::Value
            | At::Quoted
            | At::Escaped
            | At::Pause => {
                self.line += 1;
                if self.line > LINE_BYTES {
                    return Err("the line of a chunk's size is too long");
                }
                self.size_line(byte)
            }
            At::SizeLf => {
                lf(byte)?;
                let size = std::mem::take(&mut self.size);
                self.line = 0;
                Ok(match size {
                    0 => At::Trailer { empty: true },
                    size => At::Data(size),
                })
            }
            At::DataCr if byte == b'\r' => Ok(At::DataLf),
            At::DataCr => Err("a chunk is not followed by CRLF: it has not the size that it gives"),
            At::DataLf => lf(byte).map(|()| At::Size { begun: false }),
            At::Trailer { empty } => match byte {
                b'\r' => Ok(At::TrailerLf { empty }),
                b'\n' => Err(BARE_LF),
                _ => Ok(At::Trailer { empty: false }),
            },
            At::TrailerLf { empty } => lf(byte).map(|()| match empty {
                true => At::End,
                false => At::Trailer { empty: true },
            }),
            At::Data(_) | At::End => Err("there is more than the body"),
        }
    }

    /// In the line of a size: the size, and extensions, of which none is known here.
    fn size_line(&mut self, byte: u8) -> Result<At, &'static str> {
        match (self.at, byte) {
            (At::Quoted, b'"') => Ok(At::Pause),
            (At::Quoted, b'\\') => Ok(At::Escaped),
            (At::Quoted | At::Escaped, b'\t' | 0x20..=0x7e | 0x80..) => Ok(At::Quoted),
            (_, b'\n') => Err(BARE_LF),
            (At::Size { .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self.size.checked_mul(16);
                self.size = size
                    .and_then(|size| size.checked_add(u64::from(digit)))
                    .ok_or("the size of a chunk is a greater number than any body has bytes")?;
                Ok(At::Size { begun: true })
            }
            (At::Size { begun: false }, _) => {
                Err("a chunk begins with its size in hexadecimal digits")
            }
            (At::NameBegin, b' ' | b'\t') => Ok(At::NameBegin),
            (At::ValueBegin, b' ' | b'\t') => Ok(At::ValueBegin),
            (At::ValueBegin, b'"') => Ok(At::Quoted),
            (At::Name | At::NameEnd, b' ' | b'\t') => Ok(At::NameEnd),
            (At::Name | At::NameEnd, b'=') => Ok(At::ValueBegin),
            (At::NameBegin | At::Name, byte) if is_token(byte) => Ok(At::Name),
            (At::ValueBegin | At::Value, byte) if is_token(byte) => Ok(At::Value),
            (At::Size { .. } | At::Value | At::Pause, b' ' | b'\t') => Ok(At::Pause),
            (At::Size { .. } | At::Name | At::NameEnd | At::Value | At::Pause, b';') => {
                Ok(At::NameBegin)
            }
            (At::Size { .. } | At::Name | At::NameEnd | At::Value | At::Pause, b'\r') => {
                Ok(At::SizeLf)
            }
            _ => Err(
                "the line of a chunk's size cannot be read: it is hexadecimal digits, and perhaps extensions behind a semicolon",
            ),
        }
    }
}

const BARE_LF: &str = "a line ends in LF alone: it has to be CRLF";

fn lf(byte: u8) -> Result<(), &'static str> {
    match byte {
        b'\n' => Ok(()),
        _ => Err("a CR is not followed by LF"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        #[test]
        fn bodies_are_followed_however_they_come(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            extension in "(;[a-z]{1,3}(=([a-z]{1,3}|\"[ -!#-Z]{0,4}\"))?){0,2}",
            trailer in "([a-z]{1,3}: [a-z#]{0,3}\r\n){0,2}",
            cut in 1usize..30,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(format!("0{extension}\r\n{trailer}\r\n").as_bytes());
            let end = body.len();
            body.extend_from_slice(b"GET /");
            let (mut state, mut used) = (Chunks::new(), 0);
            for piece in body.chunks(cut) {
                used += state.follow(piece).unwrap();
            }
            prop_assert_eq!((used, state.ended()), (end, true));
        }

        #[test]
        fn where_bytes_are_cut_makes_no_difference(
            bytes in prop::collection::vec(prop::sample::select(b"05a;=\" \\x\r\n\r\n".to_vec()), 0..40),
            cut in 1usize..10,
        ) {
            let mut whole = Chunks::new();
            let all = whole.follow(&bytes);
            let (mut state, mut used) = (Chunks::new(), 0);
            let pieces = bytes.chunks(cut).try_for_each(|piece| {
                used += state.follow(piece).map_err(|m| Malformed { at: used + m.at, ..m })?;
                Ok(())
            });
            prop_assert_eq!(pieces.map(|()| used), all);
            prop_assert_eq!(state.ended(), whole.ended());
        }
    }

    #[test]
    fn a_line_has_a_bound() {
        let digits = vec![b'0'; LINE_BYTES];
        let mut chunks = Chunks::new();
        assert_eq!(chunks.follow(&digits), Ok(LINE_BYTES));
        let over = chunks.follow(b"5\r\n").unwrap_err();
        assert!(over.at == 0 && over.why.contains("too long"));
    }
}
