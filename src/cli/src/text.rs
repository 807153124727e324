//! Bytes and numbers as people and JSON see them.

use persist_engine::base::clock::{Clock, SystemClock};
use serde_json::{Value, json};

/// A number of bytes, short.
pub fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

/// Now, unix ms.
pub fn now_ms() -> u64 {
    SystemClock::new().now_ms()
}

/// A moment, unix ms, as `2026-11-21T19:30:00.000Z`.
pub fn time(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    // Days of a civil calendar whose years begin in March, so that the day
    // that comes and goes is the last.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * of_year + 2) / 153;
    let day = of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (s, ms) = (of_day / 1000, of_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        s / 3600,
        s / 60 % 60,
        s % 60
    )
}

/// Unix ms of `2026-11-21T19:30:00Z`, with or without a fraction and the `Z`;
/// a blank does for the `T`, and the time of day may be missing. UTC.
pub fn parse_time(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "0:0:0"));
    let numbers = |text: &str, by| {
        text.split(by)
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()
    };
    let [year, month, day] = numbers(date, '-').ok()?.try_into().ok()?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let clock = numbers(clock, ':').ok()?;
    let (hour, minute) = (*clock.first()?, *clock.get(1)?);
    let second = clock.get(2).copied().unwrap_or(0);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [
        31,
        28 + u64::from(leap),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let length = days.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let sound = (1970..=9999).contains(&year) && (1..=*length).contains(&day);
    if !sound || clock.len() > 3 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // See `time`: years that begin in March.
    let (y, m) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + milliseconds(fraction)?)
}

/// The ms in the digits behind a point.
pub fn milliseconds(fraction: &str) -> Option<u64> {
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<3}").get(..3)?.parse().ok()
}

/// Bytes in a JSON document: text where they are UTF-8, else an object that
/// says so.
pub fn json_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": base64(bytes) }),
    }
}

/// Bytes as text, with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let word = part
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= part.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(1_795_289_450_123), "2026-11-21T19:30:50.123Z");
        for ms in (0..4_000_000_000_000u64).step_by(86_400_000 * 9 + 12_345_678) {
            assert_eq!(parse_time(&time(ms)), Some(ms));
        }
        assert_eq!(parse_time("2000-02-29 12:00"), Some(951_825_600_000));
        assert_eq!(parse_time("2000-02-29"), Some(951_782_400_000));
        assert_eq!(parse_time("1970-01-01T00:00:00.5"), Some(500));
        for bad in [
            "",
            "2001-02-29",
            "2000-13-01",
            "2000-01-01T24:00:00",
            "2000-1",
            "x",
            "2000-01-01T1",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn base_64() {
        // The examples of RFC 4648, section 10.
        let all = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (n, want) in all.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..n]), *want);
        }
    }
}
