//! Bytes that name something, as people read them: in hexadecimal. Programs exchange
//! them so where they exchange text, and as they are where they do not.

/// Why a text names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {digits} hexadecimal digits, not {found:?}")]
pub struct NotHexadecimal {
    what: &'static str,
    digits: usize,
    /// The text, or how it begins.
    found: String,
}

/// Reads bytes from twice as many digits.
pub(crate) fn read<const N: usize>(
    what: &'static str,
    text: &str,
) -> Result<[u8; N], NotHexadecimal> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| NotHexadecimal {
        what,
        digits: 2 * N,
        found: text.chars().take(64).collect(),
    })?;
    Ok(bytes)
}

/// Makes a type of `[u8; N]` be shown, read and exchanged so; `what` it is stands in
/// errors, and `short` with the first digits in logs.
macro_rules! in_hexadecimal {
    ($name:ident, $bytes:literal, short: $short:literal, what: $what:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({}…)", $short, hex::encode(&self.0[..4]))
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::hexadecimal::NotHexadecimal;
            fn from_str(text: &str) -> Result<$name, Self::Err> {
                $crate::hexadecimal::read($what, text).map($name)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.collect_str(self)
                } else {
                    s.serialize_bytes(&self.0)
                }
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                if d.is_human_readable() {
                    let text = String::deserialize(d)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    let bytes = serde_bytes::ByteBuf::deserialize(d)?;
                    let array = <[u8; $bytes]>::try_from(bytes.as_ref()).map_err(|_| {
                        serde::de::Error::custom(concat!($what, " is ", $bytes, " bytes"))
                    })?;
                    Ok($name(array))
                }
            }
        }
    };
}
pub(crate) use in_hexadecimal;

#[cfg(test)]
mod tests {
    use crate::blocks::Root;
    use crate::{Id, UploadId};

    #[test]
    fn what_names_nothing_is_told_with_what_it_should_be() {
        let error = "12".repeat(15).parse::<UploadId>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "an upload id is 32 hexadecimal digits, not {:?}",
                "12".repeat(15)
            )
        );
        let long = "x".repeat(1000).parse::<Root>().unwrap_err().to_string();
        assert!(long.starts_with("a root is 64 hexadecimal digits") && long.len() < 120);
        let json = serde_json::from_str::<Id>("\"zz\"")
            .unwrap_err()
            .to_string();
        assert!(json.starts_with("an id is 40 hexadecimal digits, not \"zz\""));
    }

    #[test]
    fn text_has_digits_and_the_rest_bytes() {
        let id = UploadId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("{id:?}"), "Upload(abababab…)");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{}\"", "ab".repeat(16)));
        assert_eq!(serde_json::from_str::<UploadId>(&json).unwrap(), id);
        let packed = rmp_serde::to_vec(&id).unwrap();
        assert_eq!(packed.len(), 2 + 16);
        assert_eq!(rmp_serde::from_slice::<UploadId>(&packed).unwrap(), id);
        let short = rmp_serde::to_vec(serde_bytes::Bytes::new(&[1, 2])).unwrap();
        let error = rmp_serde::from_slice::<UploadId>(&short).unwrap_err();
        assert!(
            error.to_string().contains("an upload id is 16 bytes"),
            "{error}"
        );
    }
}
