//! A RESP client that hides nothing: it sends argument vectors and gives back the reply's bytes, or their parsed tree.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// A reply, RESP2 or RESP3. Encoding what was parsed gives the same bytes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resp {
    /// `+OK`
    Simple(Vec<u8>),
    /// `-ERR ...`
    Error(Vec<u8>),
    /// `:1`
    Int(i64),
    /// `$3`
    Bulk(Vec<u8>),
    /// `$-1`, the RESP2 null of a string
    NullBulk,
    /// `*-1`, the RESP2 null of an array
    NullArray,
    /// `*2`
    Array(Vec<Resp>),
    /// `_`
    Null,
    /// `,1.5`, as printed
    Double(Vec<u8>),
    /// `#t`
    Bool(bool),
    /// `(123`, as printed
    BigNumber(Vec<u8>),
    /// `=15 txt:...`, with its three letters and colon
    Verbatim(Vec<u8>),
    /// `!21 SYNTAX ...`
    BulkError(Vec<u8>),
    /// `%2`
    Map(Vec<(Resp, Resp)>),
    /// `~2`
    Set(Vec<Resp>),
    /// `>2`
    Push(Vec<Resp>),
    /// `|1`, and the value it decorates
    Attribute(Vec<(Resp, Resp)>, Box<Resp>),
}

/// Bytes that are no RESP.
#[derive(Debug)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed reply: {}", self.0)
    }
}

/// The value and how many bytes it took; `None` when more bytes are needed.
type Parsed<T> = std::result::Result<Option<(T, usize)>, Malformed>;

/// `?` for parsers: leaves with `None` when the input ends too early.
macro_rules! more {
    ($parsed:expr) => {
        match $parsed? {
            Some(parsed) => parsed,
            None => return Ok(None),
        }
    };
}

impl Resp {
    /// Parses one reply from the front of `input`.
    pub fn parse(input: &[u8]) -> Parsed<Resp> {
        let Some((&kind, rest)) = input.split_first() else {
            return Ok(None);
        };
        let (line, used) = more!(line(rest));
        let head = 1 + used;
        let body = &input[head..];
        let text = || line.to_vec();
        let simple = match kind {
            b'+' => Resp::Simple(text()),
            b'-' => Resp::Error(text()),
            b':' => Resp::Int(number(line)?),
            b'_' => Resp::Null,
            b',' => Resp::Double(text()),
            b'(' => Resp::BigNumber(text()),
            b'#' => match line {
                b"t" => Resp::Bool(true),
                b"f" => Resp::Bool(false),
                _ => return Err(malformed(line)),
            },
            b'$' if line == b"-1" => Resp::NullBulk,
            b'*' if line == b"-1" => Resp::NullArray,
            b'$' | b'=' | b'!' => {
                let len = usize::try_from(number(line)?).map_err(|_| malformed(line))?;
                if body.len() < len + 2 {
                    return Ok(None);
                }
                if &body[len..len + 2] != b"\r\n" {
                    return Err(malformed(line));
                }
                let data = body[..len].to_vec();
                let value = match kind {
                    b'$' => Resp::Bulk(data),
                    b'=' => Resp::Verbatim(data),
                    _ => Resp::BulkError(data),
                };
                return Ok(Some((value, head + len + 2)));
            }
            b'*' | b'~' | b'>' => {
                let (items, used) = more!(items(body, number(line)?));
                let value = match kind {
                    b'*' => Resp::Array(items),
                    b'~' => Resp::Set(items),
                    _ => Resp::Push(items),
                };
                return Ok(Some((value, head + used)));
            }
            b'%' | b'|' => {
                let count = number(line)?
                    .checked_mul(2)
                    .ok_or_else(|| malformed(line))?;
                let (flat, used) = more!(items(body, count));
                let mut flat = flat.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                    pairs.push((key, value));
                }
                if kind == b'%' {
                    return Ok(Some((Resp::Map(pairs), head + used)));
                }
                let (value, more) = more!(Resp::parse(&body[used..]));
                return Ok(Some((
                    Resp::Attribute(pairs, Box::new(value)),
                    head + used + more,
                )));
            }
            _ => return Err(malformed(&input[..input.len().min(40)])),
        };
        Ok(Some((simple, head)))
    }

    /// The bytes that a server sends for this reply.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_to(&mut out);
        out
    }

    fn encode_to(&self, out: &mut Vec<u8>) {
        fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
            out.push(kind);
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        fn blob(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
            line(out, kind, data.len().to_string().as_bytes());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        fn list(out: &mut Vec<u8>, kind: u8, items: &[Resp]) {
            line(out, kind, items.len().to_string().as_bytes());
            items.iter().for_each(|item| item.encode_to(out));
        }
        fn pairs(out: &mut Vec<u8>, kind: u8, pairs: &[(Resp, Resp)]) {
            line(out, kind, pairs.len().to_string().as_bytes());
            for (key, value) in pairs {
                key.encode_to(out);
                value.encode_to(out);
            }
        }
        match self {
            Resp::Simple(text) => line(out, b'+', text),
            Resp::Error(text) => line(out, b'-', text),
            Resp::Int(n) => line(out, b':', n.to_string().as_bytes()),
            Resp::Bulk(data) => blob(out, b'$', data),
            Resp::NullBulk => line(out, b'$', b"-1"),
            Resp::NullArray => line(out, b'*', b"-1"),
            Resp::Array(items) => list(out, b'*', items),
            Resp::Null => line(out, b'_', b""),
            Resp::Double(text) => line(out, b',', text),
            Resp::Bool(value) => line(out, b'#', if *value { b"t" } else { b"f" }),
            Resp::BigNumber(text) => line(out, b'(', text),
            Resp::Verbatim(data) => blob(out, b'=', data),
            Resp::BulkError(data) => blob(out, b'!', data),
            Resp::Map(items) => pairs(out, b'%', items),
            Resp::Set(items) => list(out, b'~', items),
            Resp::Push(items) => list(out, b'>', items),
            Resp::Attribute(attributes, value) => {
                pairs(out, b'|', attributes);
                value.encode_to(out);
            }
        }
    }

    /// Is it an error reply?
    pub fn is_error(&self) -> bool {
        matches!(self, Resp::Error(_) | Resp::BulkError(_))
    }

    /// The text of a string, status, error, number or double; `None` for nulls and collections.
    pub fn text(&self) -> Option<String> {
        match self {
            Resp::Simple(text)
            | Resp::Error(text)
            | Resp::Bulk(text)
            | Resp::Double(text)
            | Resp::BigNumber(text)
            | Resp::Verbatim(text)
            | Resp::BulkError(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Resp::Int(n) => Some(n.to_string()),
            Resp::Bool(value) => Some(value.to_string()),
            _ => None,
        }
    }

    /// The items of an array, set or push, and a map's keys and values in turn; empty for anything else.
    pub fn into_items(self) -> Vec<Resp> {
        match self {
            Resp::Array(items) | Resp::Set(items) | Resp::Push(items) => items,
            Resp::Map(pairs) => pairs.into_iter().flat_map(|(k, v)| [k, v]).collect(),
            _ => Vec::new(),
        }
    }
}

/// Items as a test's message shows them: like redis-cli, on one line.
impl fmt::Display for Resp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.encode().escape_ascii())
    }
}

fn malformed(what: &[u8]) -> Malformed {
    Malformed(what.escape_ascii().to_string())
}

fn line(input: &[u8]) -> Parsed<&[u8]> {
    let Some(end) = input.iter().position(|&b| b == b'\n') else {
        return Ok(None);
    };
    match input[..end].split_last() {
        Some((b'\r', line)) => Ok(Some((line, end + 1))),
        _ => Err(malformed(&input[..=end])),
    }
}

fn number(line: &[u8]) -> std::result::Result<i64, Malformed> {
    std::str::from_utf8(line)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed(line))
}

fn items(input: &[u8], count: i64) -> Parsed<Vec<Resp>> {
    let count = usize::try_from(count).map_err(|_| malformed(input))?;
    let mut items = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let (item, used) = more!(Resp::parse(&input[at..]));
        items.push(item);
        at += used;
    }
    Ok(Some((items, at)))
}

/// Appends one command as an array of bulk strings.
pub fn encode_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, argv: &[A]) {
    encode_header(out, b'*', argv.len());
    for arg in argv {
        encode_bulk(out, arg.as_ref());
    }
}

/// Appends `*len` or `$len`.
pub(crate) fn encode_header(out: &mut Vec<u8>, kind: u8, len: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = len;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Appends one bulk string.
pub(crate) fn encode_bulk(out: &mut Vec<u8>, data: &[u8]) {
    encode_header(out, b'$', data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// One connection.
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
}

impl RawClient {
    /// Connects to 127.0.0.1 with a time limit of 60 s for each read.
    pub fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            start: 0,
        })
    }

    /// Another time limit for each read; `None` waits for ever.
    pub fn set_timeout(&self, limit: Option<Duration>) -> Result<()> {
        Ok(self.stream.set_read_timeout(limit)?)
    }

    /// A second handle of the socket, to write from another thread.
    pub fn writer(&self) -> Result<TcpStream> {
        Ok(self.stream.try_clone()?)
    }

    /// Sends one command without reading its reply.
    pub fn send<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Result<()> {
        let mut out = Vec::new();
        encode_command(&mut out, argv);
        self.send_bytes(&out)
    }

    /// Sends bytes as they are: inline commands, broken protocol, half a command.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Reads one reply: its tree.
    pub fn read(&mut self) -> Result<Resp> {
        Ok(self.read_both()?.0)
    }

    /// Reads one reply if one is there within `limit`; an error when the connection is closed.
    pub fn try_read(&mut self, limit: Duration) -> Result<Option<Resp>> {
        let before = self.stream.read_timeout()?;
        // The system rounds shorter times to none, which it takes for "for ever".
        self.stream
            .set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        let there = self.start < self.buffer.len()
            || match self.stream.peek(&mut [0]) {
                // Nothing is the end: reading says so.
                Ok(_) => true,
                Err(error) if would_block(&error) => false,
                Err(error) => return Err(error.into()),
            };
        self.stream.set_read_timeout(before)?;
        if there {
            self.read().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Reads one reply: its bytes.
    pub fn read_raw(&mut self) -> Result<Vec<u8>> {
        Ok(self.read_both()?.1)
    }

    /// Reads one reply: its tree and its bytes.
    pub fn read_both(&mut self) -> Result<(Resp, Vec<u8>)> {
        let limit = self.stream.read_timeout()?;
        let read = self.read_within(limit);
        self.stream.set_read_timeout(limit)?;
        read
    }

    fn read_within(&mut self, limit: Option<Duration>) -> Result<(Resp, Vec<u8>)> {
        /// A reply of megabytes is parsed again only when much more has come, or nothing for so long.
        const PAUSE: Duration = Duration::from_millis(10);
        const MUCH: usize = 1 << 20;
        let (mut wanted, mut last) = (1, Instant::now());
        loop {
            if self.buffer.len() - self.start >= wanted {
                let input = &self.buffer[self.start..];
                if let Some((value, used)) = Resp::parse(input)? {
                    let bytes = input[..used].to_vec();
                    self.start += used;
                    if self.start == self.buffer.len() {
                        self.buffer.clear();
                        self.start = 0;
                    }
                    return Ok((value, bytes));
                }
                if input.len() > MUCH {
                    wanted = input.len() + MUCH;
                    self.stream.set_read_timeout(Some(PAUSE))?;
                }
            }
            if self.start > MUCH {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let mut chunk = [0; 1 << 16];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::new("the server closed the connection")),
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    last = Instant::now();
                }
                // A socket with a time limit says so after its process was stopped.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // What has come may be whole already, just not yet parsed.
                Err(error)
                    if wanted > 1
                        && would_block(&error)
                        && limit.is_none_or(|limit| last.elapsed() < limit) =>
                {
                    wanted = 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends one command and reads its reply.
    pub fn command<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Result<Resp> {
        self.send(argv)?;
        self.read()
    }

    /// Sends one command, given as words separated by spaces, and reads its reply.
    pub fn words(&mut self, command: &str) -> Result<Resp> {
        let argv: Vec<&str> = command.split_whitespace().collect();
        self.command(&argv)
    }

    /// Sends one command and reads the bytes of its reply.
    pub fn command_raw<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Result<Vec<u8>> {
        self.send(argv)?;
        self.read_raw()
    }

    /// Sends all commands in one write, then reads all replies. Keep it to a few megabytes: it doesn't read while it writes.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Result<Vec<Resp>> {
        let mut out = Vec::new();
        for argv in commands {
            encode_command(&mut out, argv);
        }
        self.send_bytes(&out)?;
        commands.iter().map(|_| self.read()).collect()
    }
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    const SAMPLES: &[&str] = &[
        "+OK\r\n",
        "-ERR wrong\r\n",
        ":-12\r\n",
        "$0\r\n\r\n",
        "$5\r\na\r\nbc\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*3\r\n$1\r\na\r\n*1\r\n:1\r\n$-1\r\n",
        "_\r\n",
        ",inf\r\n",
        ",1.5\r\n",
        "#t\r\n",
        "#f\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "=7\r\ntxt:abc\r\n",
        "!5\r\nERR x\r\n",
        "%2\r\n$1\r\na\r\n:1\r\n+b\r\n*1\r\n_\r\n",
        "~2\r\n:1\r\n:2\r\n",
        ">2\r\n$7\r\nmessage\r\n:2\r\n",
        "|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n",
    ];

    #[test]
    fn samples_come_back_byte_for_byte() {
        for sample in SAMPLES {
            let (value, used) = Resp::parse(sample.as_bytes()).expect(sample).expect(sample);
            assert_eq!(used, sample.len(), "{sample:?}");
            assert_eq!(value.encode(), sample.as_bytes(), "{sample:?}");
        }
    }

    #[test]
    fn every_cut_asks_for_more() {
        for sample in SAMPLES {
            for end in 0..sample.len() {
                let parsed = Resp::parse(&sample.as_bytes()[..end]).expect(sample);
                assert!(parsed.is_none(), "{sample:?} cut at {end}: {parsed:?}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "hello\r\n",
            ":x\r\n",
            "$-2\r\n",
            "*-2\r\n",
            "$1\r\nabc\r\n",
            "#x\r\n",
            "+a\n",
        ] {
            assert!(Resp::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        encode_command(&mut out, &["SET", "k", "0123456789"]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n");
    }
}
