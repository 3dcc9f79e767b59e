//! Sizes, spans of time and points in time as people read them: the one place that says
//! how each is written, in the status, in listings, in messages and on the terminal.

use std::time::{Duration, SystemTime};

/// A size in bytes for people: `512 B`, `1.25 GiB`. Three digits that count, four just
/// below the next unit.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (number, unit) = scaled(bytes);
    format!("{number} {}", UNITS[unit])
}

/// The same as Kubernetes writes quantities: `512`, `1.25Gi`.
pub fn quantity(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let (number, unit) = scaled(bytes);
    format!("{number}{}", UNITS[unit])
}

/// A number of bytes in the largest unit of which there is a whole one, rounded, and
/// which unit that is: 0 for bytes, 6 for EiB.
fn scaled(bytes: u64) -> (String, usize) {
    let mut unit = bytes.checked_ilog2().unwrap_or(0) as usize / 10;
    loop {
        let one = 1u128 << (10 * unit);
        // Whole numbers all the way: a float would round what it cannot hold.
        let step: u128 = match u128::from(bytes) / one {
            _ if unit == 0 => 1,
            0..10 => 100,
            10..100 => 10,
            _ => 1,
        };
        let steps = (u128::from(bytes) * step + one / 2) / one;
        if steps == 1024 * step {
            // It rounds up to one of the next unit.
            unit += 1;
            continue;
        }
        let (whole, part) = (steps / step, steps % step);
        let number = match step {
            100 => format!("{whole}.{part:02}"),
            10 => format!("{whole}.{part}"),
            _ => return (whole.to_string(), unit),
        };
        let number = number.trim_end_matches('0').trim_end_matches('.');
        return (number.to_string(), unit);
    }
}

/// A span of time for people: `250 ms`, `1.5 s`, `2 min 5 s`, `3 h 20 min`, `2 d 4 h`.
pub fn span(span: Duration) -> String {
    let ms = span.as_millis();
    if ms < 1000 {
        return format!("{ms} ms");
    }
    // Tenths of a second, rounded.
    let tenths = (ms + 50) / 100;
    if tenths < 600 {
        let (whole, part) = (tenths / 10, tenths % 10);
        return match part {
            0 => format!("{whole} s"),
            _ => format!("{whole}.{part} s"),
        };
    }
    let seconds = (ms + 500) / 1000;
    let (large, small) = match seconds {
        0..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds / 60 % 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds / 3600 % 24, "h")),
    };
    match small {
        (0, _) => format!("{} {}", large.0, large.1),
        (few, unit) => format!("{} {} {few} {unit}", large.0, large.1),
    }
}

/// A point in time, as RFC 3339 in UTC with whole seconds: `2026-11-22T00:00:00Z`. What
/// no calendar has comes as the beginning of 1970.
pub fn instant(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    format!("{at:.0}")
}

/// The same with milliseconds, of milliseconds since the beginning of 1970.
pub fn instant_ms(unix_ms: u64) -> String {
    let at = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", at.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_the_unit_that_fits() {
        for (bytes, people, kubernetes) in [
            (0, "0 B", "0"),
            (1, "1 B", "1"),
            (1_000, "1000 B", "1000"),
            (1_023, "1023 B", "1023"),
            (1_024, "1 KiB", "1Ki"),
            (1_536, "1.5 KiB", "1.5Ki"),
            (1_023 * 1_024, "1023 KiB", "1023Ki"),
            ((1 << 20) - 1, "1 MiB", "1Mi"),
            (100 << 20, "100 MiB", "100Mi"),
            (512 << 20, "512 MiB", "512Mi"),
            (1_610_612_736, "1.5 GiB", "1.5Gi"),
            (1_342_177_280, "1.25 GiB", "1.25Gi"),
            ((10 << 30) - 1, "10 GiB", "10Gi"),
            ((10 << 30) + (1 << 29), "10.5 GiB", "10.5Gi"),
            (30 << 30, "30 GiB", "30Gi"),
            (u64::MAX, "16 EiB", "16Ei"),
        ] {
            assert_eq!(size(bytes), people);
            assert_eq!(quantity(bytes), kubernetes);
        }
    }

    #[test]
    fn spans_have_one_unit_or_two() {
        for (ms, text) in [
            (0, "0 ms"),
            (250, "250 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_450, "1.5 s"),
            (59_949, "59.9 s"),
            (59_950, "1 min"),
            (180_000, "3 min"),
            (125_400, "2 min 5 s"),
            (3_600_000, "1 h"),
            (12_000_000, "3 h 20 min"),
            (187_200_000, "2 d 4 h"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), text, "{ms} ms");
        }
    }

    #[test]
    fn points_in_time_are_those_of_the_calendar() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_millis(s);
        assert_eq!(instant(at(784_111_777_000)), "1994-11-06T08:49:37Z");
        assert_eq!(instant_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(instant_ms(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(instant_ms(1_795_305_600_000), "2026-11-22T00:00:00.000Z");
        assert_eq!(instant_ms(u64::MAX), "1970-01-01T00:00:00.000Z");
    }
}
