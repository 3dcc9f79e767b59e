//! Dictionaries of structured fields (RFC 9651), as far as the digest fields of
//! RFC 9530 need them: the whole grammar is checked, byte sequences are kept.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 as lenient as the RFC asks of a reader.
pub(in crate::http) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A member of a dictionary: its key, and its value where that is a byte sequence.
pub(in crate::http) type Member = (String, Option<Vec<u8>>);

/// Reads a dictionary; `None` if it is malformed. A later member replaces an
/// earlier one of the same key.
pub(in crate::http) fn dictionary(text: &str) -> Option<Vec<Member>> {
    let mut reader = Reader(text.trim_matches(' ').as_bytes());
    let mut members: Vec<Member> = Vec::new();
    while !reader.0.is_empty() {
        let key = reader.key()?;
        let bytes = if reader.take(b'=') {
            if reader.peek() == Some(b'(') {
                reader.inner_list()?
            } else {
                reader.bare_item()?
            }
        } else {
            None
        };
        reader.parameters()?;
        members.retain(|(other, _)| *other != key);
        members.push((key, bytes));
        reader.skip(b" \t");
        if reader.0.is_empty() {
            break;
        }
        if !reader.take(b',') {
            return None;
        }
        reader.skip(b" \t");
        if reader.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.0 = &self.0[1..];
        }
        there
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.run(|b| bytes.contains(&b));
    }

    /// Takes all leading bytes of a kind.
    fn run(&mut self, of: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.0.iter().position(|b| !of(*b)).unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at(length);
        self.0 = rest;
        run
    }

    fn key(&mut self) -> Option<String> {
        self.peek()
            .filter(|b| b.is_ascii_lowercase() || *b == b'*')?;
        let key =
            self.run(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
        String::from_utf8(key.to_vec()).ok()
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn inner_list(&mut self) -> Option<Option<Vec<u8>>> {
        self.take(b'(');
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(None);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    /// Reads an item: the outer `None` if it is malformed, the inner one if it is
    /// something else than bytes.
    fn bare_item(&mut self) -> Option<Option<Vec<u8>>> {
        match self.peek()? {
            b':' => {
                self.take(b':');
                let coded = self.run(|b| b != b':');
                if !self.take(b':') {
                    return None;
                }
                return BASE64.decode(coded).ok().map(Some);
            }
            b'"' => self.string()?,
            b'?' => {
                self.take(b'?');
                if !(self.take(b'0') || self.take(b'1')) {
                    return None;
                }
            }
            b'@' => {
                self.take(b'@');
                self.number()?;
            }
            b'%' => {
                self.take(b'%');
                if !self.take(b'"') {
                    return None;
                }
                self.run(|b| b != b'"' && (0x20..0x7f).contains(&b));
                if !self.take(b'"') {
                    return None;
                }
            }
            b'-' | b'0'..=b'9' => self.number()?,
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.run(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b));
            }
            _ => return None,
        }
        Some(None)
    }

    fn number(&mut self) -> Option<()> {
        self.take(b'-');
        let whole = self.run(|b| b.is_ascii_digit()).len();
        let fraction = if self.take(b'.') {
            Some(self.run(|b| b.is_ascii_digit()).len())
        } else {
            None
        };
        match fraction {
            None => (1..=15).contains(&whole),
            Some(fraction) => (1..=12).contains(&whole) && (1..=3).contains(&fraction),
        }
        .then_some(())
    }

    fn string(&mut self) -> Option<()> {
        self.take(b'"');
        loop {
            self.run(|b| b != b'"' && b != b'\\' && (0x20..0x7f).contains(&b));
            if self.take(b'"') {
                return Some(());
            }
            if !(self.take(b'\\') && (self.take(b'"') || self.take(b'\\'))) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(text: &str) -> Option<Vec<(String, Option<Vec<u8>>)>> {
        dictionary(text)
    }

    #[test]
    fn byte_sequences_are_kept() {
        let one = |key: &str, value: &[u8]| (key.to_string(), Some(value.to_vec()));
        assert_eq!(bytes("a=:aGk=:"), Some(vec![one("a", b"hi")]));
        assert_eq!(
            bytes(" a=:aGk:;x=1;y ,\tb=::"),
            Some(vec![one("a", b"hi"), one("b", b"")])
        );
        assert_eq!(bytes("a=:aGk=:, a=:aG8=:"), Some(vec![one("a", b"ho")]));
        assert_eq!(bytes(""), Some(vec![]));
    }

    #[test]
    fn other_values_are_read_over() {
        let text = r#"a, b;x, c=?1, d=-12.5, e="q\"\\", f=(1 "x";y *t), g=tok/en:x, h=@17, i=%"f%c3", j=()"#;
        let members = bytes(text).unwrap();
        assert_eq!(members.len(), 10);
        assert!(members.iter().all(|(_, value)| value.is_none()));
    }

    #[test]
    fn malformed_dictionaries_are_refused() {
        for bad in [
            "A=:aGk=:",
            "a=",
            "a=:aGk=",
            "a=:a b:",
            "a=:a:",
            "a,",
            ",a",
            "a b",
            "a=1 b",
            "a==",
            "a=\"x",
            "a=(1",
            "a=(1\"x\")",
            "a=?2",
            "a=1.",
            "a=-",
            "a=:aGk=:x",
            "=:aGk=:",
            "a;",
            "a=\u{fc}",
            "a;X",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    proptest! {
        #![proptest_config(chord_testing::cases(256))]

        #[test]
        fn no_input_breaks_it(text in ".{0,60}") {
            let _ = dictionary(&text);
        }
        #[test]
        fn bytes_come_back(list in prop::collection::btree_map("[a-z][a-z0-9_.*-]{0,5}", prop::collection::vec(any::<u8>(), 0..40), 0..5)) {
            let text = list.iter().map(|(k, v)| format!("{k}=:{}:", BASE64.encode(v))).collect::<Vec<_>>().join(", ");
            let back = dictionary(&text).unwrap();
            prop_assert_eq!(back, list.into_iter().map(|(k, v)| (k, Some(v))).collect::<Vec<_>>());
        }
    }
}
