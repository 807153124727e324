//! How long things would be in Redis's listpacks. Redis begins a new node of
//! a stream by that length, and approximate trimming removes whole nodes: to
//! remove the same entries, our blocks end where its nodes end.

/// Bytes of a listpack without elements: its head and its end.
pub const EMPTY: u64 = 7;

/// Bytes of an element, its own length behind it included.
fn with_back_length(len: u64) -> u64 {
    len + match len {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2097150 => 3,
        2097151..=268435454 => 4,
        _ => 5,
    }
}

/// Bytes of an integer.
pub fn int(n: i64) -> u64 {
    with_back_length(match n {
        0..=127 => 1,
        -4096..=4095 => 2,
        -32768..=32767 => 3,
        -8388608..=8388607 => 4,
        -2147483648..=2147483647 => 5,
        _ => 9,
    })
}

/// Bytes of a string, which is kept as an integer if it is the text of one.
pub fn string(text: &[u8]) -> u64 {
    // The longest text of an integer has 20 bytes.
    if text.len() <= 20
        && let Some(n) = crate::base::number::parse_i64(text)
    {
        return int(n);
    }
    let len = text.len() as u64;
    with_back_length(match len {
        0..=63 => 1 + len,
        64..=4095 => 2 + len,
        _ => 5 + len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!((int(0), int(127), int(128), int(-1)), (2, 2, 3, 3));
        assert_eq!((int(-4097), int(70000), int(1 << 30)), (4, 5, 6));
        assert_eq!(int(i64::MIN), 10);
        assert_eq!((string(b""), string(b"12"), string(b"012")), (2, 2, 5));
        assert_eq!((string(&[b'x'; 63]), string(&[b'x'; 64])), (65, 67));
        assert_eq!(string(&[b'x'; 125]), 127 + 1);
        assert_eq!(string(&[b'x'; 126]), 128 + 2);
        assert_eq!(string(&[b'x'; 4096]), 4101 + 2);
    }
}
