//! Durations (`1m30s`) and quantities (`10Gi`), as text in the resource and as
//! numbers behind it.
//!
//! The text types keep what was written: a resource that holds a bad one must
//! still be readable, so that its status can say what is wrong with it.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a duration looks like.
pub const DURATION_PATTERN: &str = "^([0-9]+(ms|s|m|h))+$";
/// What a quantity looks like, as Kubernetes has it.
pub const QUANTITY_PATTERN: &str =
    r"^\+?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(([KMGTPE]i)|[munkMGTPE]|([eE][+-]?[0-9]+))?$";

/// Why a text is not a duration or a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct BadUnit {
    text: String,
    what: &'static str,
}

/// A duration as text: numbers with `ms`, `s`, `m` or `h`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(pub String);

impl Duration {
    /// From text, unchecked.
    pub fn new(text: &str) -> Duration {
        Duration(text.to_string())
    }

    /// In milliseconds.
    pub fn millis(&self) -> Result<u64, BadUnit> {
        let bad = || BadUnit {
            text: self.0.clone(),
            what: "a duration: write numbers with ms, s, m or h, such as 1m30s",
        };
        let mut rest = self.0.as_str();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| bad())?;
            let (unit, tail) = if let Some(tail) = tail.strip_prefix("ms") {
                (1, tail)
            } else if let Some(tail) = tail.strip_prefix('s') {
                (1_000, tail)
            } else if let Some(tail) = tail.strip_prefix('m') {
                (60_000, tail)
            } else if let Some(tail) = tail.strip_prefix('h') {
                (3_600_000, tail)
            } else {
                return Err(bad());
            };
            total = number
                .checked_mul(unit)
                .and_then(|ms| total.checked_add(ms))
                .ok_or_else(bad)?;
            rest = tail;
        }
        Ok(total)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": DURATION_PATTERN,
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": "!self.matches('^([0-9]+(ms|s|m|h))+$') || (duration(self) >= duration('100ms') && duration(self) <= duration('8760h'))",
                "message": "must lie between 100ms and 8760h (a year)"
            }]
        })
    }
}

/// An amount of bytes as text: `10Gi`, `64Mi`, `1.5G`, `128974848`, `1e3`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl Quantity {
    /// From text, unchecked.
    pub fn new(text: &str) -> Quantity {
        Quantity(text.to_string())
    }

    /// In bytes; a fraction of a byte counts as one, as Kubernetes rounds.
    pub fn bytes(&self) -> Result<u64, BadUnit> {
        parse_bytes(&self.0).ok_or_else(|| BadUnit {
            text: self.0.clone(),
            what: "an amount of bytes: write a number with Ki, Mi, Gi, Ti, k, M, G or T, such as 10Gi",
        })
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": QUANTITY_PATTERN, "maxLength": 64})
    }
}

/// Exact: digits are counted, never held as a floating point number.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 60 {
        return None;
    }
    let (scale, mut ten): (u128, i32) = match suffix {
        "" => (1, 0),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        exponent => (1, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    ten = ten.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let mut value = digits.parse::<u128>().ok()?.checked_mul(scale)?;
    while ten > 0 {
        value = value.checked_mul(10)?;
        ten -= 1;
    }
    let mut rounded_up = false;
    while ten < 0 {
        rounded_up |= value % 10 != 0;
        value /= 10;
        ten += 1;
        if value == 0 {
            break;
        }
    }
    u64::try_from(value + u128::from(rounded_up)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_their_parts() {
        for (text, ms) in [
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1s500ms", 1_500),
            ("0s", 0),
            ("90s", 90_000),
        ] {
            assert_eq!(Duration::new(text).millis(), Ok(ms), "{text}");
        }
        for text in [
            "",
            "1",
            "m",
            "1d",
            "1.5s",
            "-1s",
            " 1s",
            "99999999999999999h",
            "99999999999999999999s",
        ] {
            assert!(Duration::new(text).millis().is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_are_what_kubernetes_takes_them_for() {
        for (text, bytes) in [
            ("10Gi", 10 << 30),
            ("10240Mi", 10 << 30),
            ("64Ki", 65_536),
            ("1.5G", 1_500_000_000),
            ("1.5Gi", 1_610_612_736),
            ("128974848", 128_974_848),
            ("1e3", 1_000),
            ("1E3", 1_000),
            ("12e-1", 2),
            ("129M", 129_000_000),
            ("+5k", 5_000),
            ("100m", 1),
            ("1500m", 2),
            (".5Ki", 512),
            ("5.", 5),
            ("0", 0),
            ("0e400", 0),
            ("7Ei", 7 << 60),
        ] {
            assert_eq!(Quantity::new(text).bytes(), Ok(bytes), "{text}");
        }
        for text in [
            "", ".", "Gi", "1 Gi", "10GB", "ten", "-1Gi", "1..2", "1e", "1e400", "99Ei", "1.2.3",
        ] {
            assert!(Quantity::new(text).bytes().is_err(), "{text}");
        }
    }
}
