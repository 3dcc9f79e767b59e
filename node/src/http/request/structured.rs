//! Dictionaries of structured fields (RFC 9651), as far as the digest fields of
//! RFC 9530 need them. The crate `sfv` checks the whole grammar; byte sequences are kept.

use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// A member of a dictionary: its key, and its value where that is a byte sequence.
pub(super) type Member = (String, Option<Vec<u8>>);

/// Reads a dictionary; `None` if it is malformed. A later member replaces an
/// earlier one of the same key.
pub(super) fn dictionary(text: &str) -> Option<Vec<Member>> {
    let read: Dictionary = Parser::new(text).parse().ok()?;
    let members = read.into_iter().map(|(key, entry)| {
        let bytes = match entry {
            ListEntry::Item(item) => match item.bare_item {
                BareItem::ByteSequence(bytes) => Some(bytes),
                _ => None,
            },
            ListEntry::InnerList(_) => None,
        };
        (key.as_str().to_string(), bytes)
    });
    Some(members.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
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
        // Padding may be left out, and the bits behind the last byte be anything.
        assert_eq!(bytes("a=:aGk:"), bytes("a=:aGl=:"));
        assert_eq!(bytes(""), Some(vec![]));
    }

    #[test]
    fn other_values_are_read_over() {
        let text = r#"a, b;x, c=?1, d=-12.5, e="q\"\\", f=(1 "x";y *t), g=tok/en:x, h=@17, i=%"f%c3%bc", j=()"#;
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
            "a=@1.5",
            "a=%\"f%c3\"",
            "a=%\"f%C3%BC\"",
            "a=1000000000000000",
            "a=:aGk=:,",
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
            let text = list.iter().map(|(k, v)| format!("{k}=:{}:", STANDARD.encode(v))).collect::<Vec<_>>().join(", ");
            let back = dictionary(&text).unwrap();
            prop_assert_eq!(back, list.into_iter().map(|(k, v)| (k, Some(v))).collect::<Vec<_>>());
        }
    }
}
