//! Commands as RESP arrays of bulk strings: `*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n`.
//!
//! The same bytes clients send and stock Redis keeps in its log. A line that
//! starts with `#` where a command could start is an annotation: skipped.
//! The reader never copies: arguments are slices of the log's bytes.

use super::error::{FormatError, glance};

/// No command of one argument, the empty one, is shorter than this.
const MIN_ARG: usize = b"$0\r\n\r\n".len();
/// More digits than any length or count that fits the file has.
const MAX_DIGITS: usize = 18;

/// Appends a command to `out`. At most one allocation: `out` growing.
pub fn push_command(out: &mut Vec<u8>, argv: &[&[u8]]) {
    const FRAME: usize = "$\r\n\r\n".len() + 10;
    out.reserve(argv.iter().map(|arg| arg.len() + FRAME).sum::<usize>() + FRAME);
    push_array(out, argv.len());
    for arg in argv {
        push_bulk(out, arg);
    }
}

/// Appends the head of a command of `count` arguments, each of which must
/// follow by [`push_bulk`].
#[inline]
pub fn push_array(out: &mut Vec<u8>, count: usize) {
    push_head(out, b'*', count);
}

/// Appends one argument.
#[inline]
pub fn push_bulk(out: &mut Vec<u8>, arg: &[u8]) {
    push_head(out, b'$', arg.len());
    out.extend_from_slice(arg);
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn push_head(out: &mut Vec<u8>, kind: u8, mut number: usize) {
    // Filled from the back: kind, up to 20 digits, CR, LF.
    let mut buf = [b'\r'; 24];
    let mut at = buf.len() - 2;
    if let Some(last) = buf.last_mut() {
        *last = b'\n';
    }
    for slot in buf.iter_mut().rev().skip(2) {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    at -= 1;
    if let Some(slot) = buf.get_mut(at) {
        *slot = kind;
    }
    out.extend_from_slice(buf.get(at..).unwrap_or_default());
}

/// Reads commands one after the other from a slice.
#[derive(Clone, Debug)]
pub struct CommandReader<'a> {
    bytes: &'a [u8],
    at: usize,
    base: u64,
}

impl<'a> CommandReader<'a> {
    /// `base` is where `bytes` starts in its file: only offsets in errors and
    /// answers depend on it.
    pub fn new(bytes: &'a [u8], base: u64) -> Self {
        Self { bytes, at: 0, base }
    }

    /// Where in the file the next command starts, or an annotation before it.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Puts the next command's arguments, at least one, into `argv` (cleared
    /// first) and says where in the file it starts; `None` at the end.
    ///
    /// # Errors
    /// Anything but a whole well-formed command. The reader then stays where
    /// it was, at the command's start; what `argv` holds means nothing.
    #[inline]
    pub fn next(&mut self, argv: &mut Vec<&'a [u8]>) -> Result<Option<u64>, FormatError> {
        argv.clear();
        while self.bytes.get(self.at) == Some(&b'#') {
            self.skip_line()?;
        }
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let start = self.at;
        let (count, mut at) = self.number(start, b'*', "'*' and a number of arguments")?;
        // Not reserved but for the usual: a large count may be a lie.
        if count == 0 || count > (self.bytes.len() - at) / MIN_ARG {
            return Err(self.error(
                start,
                "an argument count from 1 to what the bytes left can hold",
            ));
        }
        argv.reserve(count.min(64));
        for _ in 0..count {
            let (len, from) = self.number(at, b'$', "'$' and the length of an argument")?;
            let arg = from
                .checked_add(len)
                .and_then(|to| self.bytes.get(from..to));
            let Some(arg) = arg else {
                return Err(self.error(at, "an argument no longer than the bytes left"));
            };
            let to = from + len;
            if self.bytes.get(to..to + 2) != Some(b"\r\n") {
                return Err(self.error(to, "CR LF after an argument"));
            }
            argv.push(arg);
            at = to + 2;
        }
        self.at = at;
        Ok(Some(self.base + start as u64))
    }

    /// The number in `<kind><digits>\r\n` at `at`, and where the line ends.
    #[inline]
    fn number(
        &self,
        at: usize,
        kind: u8,
        expected: &'static str,
    ) -> Result<(usize, usize), FormatError> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        if rest.first() == Some(&kind) {
            let mut value = 0usize;
            for (i, &byte) in rest.iter().enumerate().skip(1).take(MAX_DIGITS + 1) {
                if byte.is_ascii_digit() {
                    value = value
                        .wrapping_mul(10)
                        .wrapping_add(usize::from(byte - b'0'));
                } else if byte == b'\r' && i > 1 && rest.get(i + 1) == Some(&b'\n') {
                    return Ok((value, at + i + 2));
                } else {
                    break;
                }
            }
        }
        Err(self.error(at, expected))
    }

    #[cold]
    fn skip_line(&mut self) -> Result<(), FormatError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|&b| b == b'\n') else {
            return Err(self.error(self.at, "an annotation line that ends"));
        };
        self.at += end + 1;
        Ok(())
    }

    #[cold]
    fn error(&self, at: usize, expected: &'static str) -> FormatError {
        let found = glance(self.bytes.get(at..).unwrap_or_default());
        FormatError::new(self.base + at as u64, expected, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, FormatError> {
        let (mut reader, mut argv, mut all) =
            (CommandReader::new(bytes, 0), Vec::new(), Vec::new());
        while reader.next(&mut argv)?.is_some() {
            all.push(argv.iter().map(|a| a.to_vec()).collect());
        }
        Ok(all)
    }

    #[test]
    fn as_redis_writes_it() {
        let mut out = Vec::new();
        push_command(&mut out, &[b"SET", b"key", b"0123456789", b""]);
        assert_eq!(
            out,
            b"*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$10\r\n0123456789\r\n$0\r\n\r\n"
        );
        let mut head = Vec::new();
        push_array(&mut head, usize::MAX);
        assert_eq!(head, b"*18446744073709551615\r\n");
    }

    #[test]
    fn offsets_and_annotations() {
        let bytes = b"#TS:1\r\n*1\r\n$1\r\na\r\n#x\r\n#y\r\n*1\r\n$1\r\nb\r\n#end\r\n";
        let (mut reader, mut argv) = (CommandReader::new(bytes, 100), Vec::new());
        assert_eq!(reader.next(&mut argv).unwrap(), Some(107));
        assert_eq!(reader.offset(), 118);
        assert_eq!(reader.next(&mut argv).unwrap(), Some(126));
        assert_eq!(argv, [b"b"]);
        assert_eq!(reader.next(&mut argv).unwrap(), None);
        assert_eq!(reader.next(&mut argv).unwrap(), None);
    }

    #[test]
    fn refused() {
        for bad in [
            "*0\r\n",
            "*-1\r\n",
            "*1\r\n",
            "*\r\n",
            "*1\n$1\na\n",
            "*1\r\n$-1\r\n",
            "PING\r\n",
            "*1\r\n$1\r\nab\r\n",
            "*1\r\n$2\r\na\r\n",
            "*1\r\n:1\r\n",
            "*99999999999\r\n$1\r\na\r\n",
            "*1\r\n$99999999999999999999999999999\r\na\r\n",
            "*+1\r\n$1\r\na\r\n",
            "#no end",
            "*1\r\n$18446744073709551615\r\na\r\n",
            "*1\r\n$999999999999999999\r\na\r\n",
            "\0\0\0",
            "\r\n",
        ] {
            assert!(read_all(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let err = read_all(b"*1\r\n$1\r\na\r\n*1\r\n$5\r\nab\r\n").unwrap_err();
        assert_eq!(err.offset, 15);
    }

    #[test]
    fn a_large_count_reserves_nothing() {
        let bytes = [&b"*1000000\r\n"[..], &vec![b'x'; 6_000_000]].concat();
        let mut argv = Vec::new();
        assert!(CommandReader::new(&bytes, 0).next(&mut argv).is_err());
        assert!(argv.capacity() <= 64);
    }

    proptest! {
        #[test]
        fn roundtrip_and_every_truncation(
            commands in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5), 0..5),
        ) {
            let (mut out, mut ends) = (Vec::new(), vec![0]);
            for command in &commands {
                push_command(&mut out, &command.iter().map(Vec::as_slice).collect::<Vec<_>>());
                ends.push(out.len());
            }
            prop_assert_eq!(&read_all(&out).unwrap(), &commands);
            for cut in 0..out.len() {
                match ends.iter().position(|&end| end == cut) {
                    Some(n) => prop_assert_eq!(&read_all(&out[..cut]).unwrap()[..], &commands[..n]),
                    None => prop_assert!(read_all(&out[..cut]).is_err()),
                }
            }
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(
            prop::sample::select(&b"*$#019\r\nab\0"[..]), 0..60)) {
            let _ = read_all(&bytes);
        }
    }
}
