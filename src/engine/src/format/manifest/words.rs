//! Words of a manifest's line, quoted as Redis quotes them.

use crate::format::hex;
use std::fmt::Write as _;

/// Whether it names a file in the log's own folder.
pub(super) fn plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
}

/// A name as Redis prints it: bare if it can be, else quoted.
pub(super) fn quoted(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'\'');
    if !name.is_empty() && name.bytes().all(bare) {
        return name.to_string();
    }
    let mut out = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'\\' | b'"' => out.extend(['\\', char::from(byte)]),
            b'\n' => out += "\\n",
            b'\r' => out += "\\r",
            b'\t' => out += "\\t",
            7 => out += "\\a",
            8 => out += "\\b",
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
    out
}

/// Splits a line at single blanks, undoing [`quoted`]. `None` if quotes don't
/// match up or a word is empty.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut rest) = (Vec::new(), line);
    loop {
        let (word, after) = match rest.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
                let (word, after) = rest.split_at_checked(end)?;
                if word.is_empty() || !word.iter().all(u8::is_ascii_graphic) || word.contains(&b'"')
                {
                    return None;
                }
                (word.to_vec(), after)
            }
        };
        words.push(word);
        match after.split_first() {
            None => return Some(words),
            Some((b' ', next)) => rest = next,
            Some(_) => return None,
        }
    }
}

/// The word up to the closing quote, and what follows that.
fn unquote(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        if byte == b'"' {
            return Some((word, rest));
        }
        if byte != b'\\' {
            word.push(byte);
            continue;
        }
        let (&escaped, after) = rest.split_first()?;
        rest = after;
        word.push(match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::try_from(hex(digits)?).ok()?
            }
            other => other,
        });
    }
}
