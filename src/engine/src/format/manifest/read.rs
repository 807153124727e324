//! From a manifest's lines to what they say.

use super::words::{plain_name, quoted, split};
use super::{
    BaseFile, CHECKSUM, IncrEnd, IncrFile, IncrStart, MAX_FILE_SEQ, MAX_LINE, Manifest, Problem,
    ReplacedFile, VERSION_LINE, VERSION_WORDS,
};
use crate::base::checksum::crc64;
use crate::base::hash::Seed;
use crate::format::error::{FormatError, excerpt};
use crate::format::{HistoryId, decimal, hex};

/// The lines before the checksum's, if it is there and right.
pub(super) fn covered(bytes: &[u8]) -> Result<&[u8], FormatError> {
    if bytes.is_empty() {
        return Err(FormatError::new(0, "a manifest", "an empty file"));
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let start = text
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let (body, line) = text.split_at_checked(start).unwrap_or((text, b""));
    let number = body.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let error = |found: String| {
        let expected = "the checksum of the manifest in its last line";
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Err(FormatError::new(start as u64, expected, found).on_line(number))
    };
    let Some(digits) = line.strip_prefix(CHECKSUM) else {
        let why = "the manifest was written by a stock server, edited by hand, or cut off";
        return error(format!("{} ({why})", excerpt(line)));
    };
    if digits.len() != 16 || text.len() == bytes.len() {
        return error(excerpt(line));
    }
    let crc = crc64(body);
    if hex(digits) != Some(crc) {
        let why = "the manifest was edited by hand or is damaged";
        return error(format!(
            "{}, while {crc:016x} is right ({why})",
            excerpt(line)
        ));
    }
    Ok(body)
}

/// Refuses a manifest whose first line says another version: of that one's
/// other lines, and of its checksum, nothing is known. One of ours in which
/// only that number is damaged passes, for its checksum to be missed.
pub(super) fn of_this_version(bytes: &[u8]) -> Result<(), FormatError> {
    let first = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let version = first.strip_prefix(VERSION_WORDS).and_then(decimal);
    let Some(version) = version.filter(|_| first != VERSION_LINE) else {
        return Ok(());
    };
    let rest = bytes.get(first.len()..).unwrap_or_default();
    if covered(&[VERSION_LINE, rest].concat()).is_ok() {
        return Ok(());
    }
    let error = FormatError::new(0, "manifest version 1", format!("version {version}"));
    Err(error.on_line(1).intact())
}

/// What the lines so far said.
#[derive(Default)]
pub(super) struct Found {
    version: bool,
    state: Option<Manifest>,
    base: Option<BaseFile>,
    incrs: Vec<IncrFile>,
    replaced: Vec<ReplacedFile>,
}

impl Found {
    /// All of it, unchecked.
    pub(super) fn finish(self) -> Result<Manifest, FormatError> {
        let Self {
            version,
            state,
            base,
            incrs,
            replaced,
        } = self;
        match state {
            Some(state) if version => Ok(Manifest {
                base,
                incrs,
                replaced,
                ..state
            }),
            _ => Err(FormatError::new(
                0,
                "a version line and a #state line",
                "none",
            )),
        }
    }

    /// Takes one more line.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        if line.len() > MAX_LINE {
            return Err((
                "a line of at most 1000 bytes",
                format!("one of {}", line.len()),
            ));
        }
        if !self.version {
            if line != VERSION_LINE {
                return Err(("the line \"#persist-manifest version 1\"", excerpt(line)));
            }
            self.version = true;
        } else if let Some(words) = line.strip_prefix(b"#state ") {
            let state = state(words).ok_or_else(|| ("a valid #state line", excerpt(line)))?;
            if self.state.replace(state).is_some() {
                return Err(("one #state line", "another".into()));
            }
        } else if line.starts_with(b"#") {
            if !line.starts_with(b"# ") {
                return Err(("a line this version knows", excerpt(line)));
            }
        } else {
            self.file(&Pairs::new(line)?)?;
        }
        Ok(())
    }

    fn file(&mut self, pairs: &Pairs) -> Result<(), Problem> {
        let (name, seq) = (pairs.name()?, pairs.need("seq", decimal)?);
        if seq == 0 || seq > MAX_FILE_SEQ {
            return Err(("a file number from 1 on", seq.to_string()));
        }
        let history = || pairs.need("history", HistoryId::from_hex);
        match pairs.need("type", |kind| Some(kind.to_vec()))?.as_slice() {
            b"b" => {
                pairs.only(&["history", "covers", "len", "crc", "hash-seed"])?;
                let covers = pairs.need("covers", decimal)?;
                let end = match pairs.any(&["len", "crc"]) {
                    true => Some((pairs.need("len", decimal)?, pairs.need("crc", hex16)?)),
                    false => None,
                };
                let seed = match pairs.any(&["hash-seed"]) {
                    true => Some(Seed(pairs.need("hash-seed", sixteen)?)),
                    false => None,
                };
                let base = BaseFile {
                    name,
                    seq,
                    history: history()?,
                    covers,
                    end,
                    seed,
                };
                if self.base.replace(base).is_some() {
                    return Err(("one base file", "another".into()));
                }
            }
            b"h" => {
                pairs.only(&[])?;
                self.replaced.push(ReplacedFile { name, seq });
            }
            b"i" => {
                pairs.only(&["history", "first", "prev", "last", "len", "crc"])?;
                let (mut start, mut end) = (None, None);
                if pairs.any(&["first", "prev"]) {
                    let first = pairs.need("first", decimal)?;
                    start = Some(IncrStart {
                        first,
                        prev_crc: pairs.need("prev", hex16)?,
                    });
                }
                if pairs.any(&["last", "len", "crc"]) {
                    let (last, len) = (pairs.need("last", decimal)?, pairs.need("len", decimal)?);
                    end = Some(IncrEnd {
                        last,
                        len,
                        crc: pairs.need("crc", hex16)?,
                    });
                }
                self.incrs.push(IncrFile {
                    name,
                    seq,
                    history: history()?,
                    start,
                    end,
                });
            }
            other => return Err(("type b, i or h", excerpt(other))),
        }
        Ok(())
    }
}

fn hex16(digits: &[u8]) -> Option<u64> {
    if digits.len() == 16 {
        hex(digits)
    } else {
        None
    }
}

fn sixteen(digits: &[u8]) -> Option<[u8; 16]> {
    let (high, low) = digits.split_at_checked(16)?;
    let value = u128::from(hex16(high)?) << 64 | u128::from(hex16(low)?);
    Some(value.to_be_bytes())
}

fn state(words: &[u8]) -> Option<Manifest> {
    let words: Vec<&[u8]> = words.split(|&byte| byte == b' ').collect();
    let [
        b"history",
        history,
        b"next-base",
        next_base,
        b"next-incr",
        next_incr,
        b"log",
        rest @ ..,
    ] = words.as_slice()
    else {
        return None;
    };
    let (closed_at, rest) = match rest {
        [b"open", rest @ ..] => (None, rest),
        [b"closed", b"at", seq, rest @ ..] => (Some(decimal(seq)?), rest),
        _ => return None,
    };
    let after = match rest {
        [] => None,
        [b"after", before] => Some(HistoryId::from_hex(before)?),
        _ => return None,
    };
    let mut manifest = Manifest::new(HistoryId::from_hex(history)?);
    manifest.next_base_seq = decimal(next_base)?;
    manifest.next_incr_seq = decimal(next_incr)?;
    (manifest.closed_at, manifest.after) = (closed_at, after);
    Some(manifest)
}

/// A `file` line in pairs of word and value.
struct Pairs(Vec<(Vec<u8>, Vec<u8>)>);

impl Pairs {
    fn new(line: &[u8]) -> Result<Self, Problem> {
        let expected = "pairs of word and value, with file, seq and type";
        let words = split(line).ok_or_else(|| (expected, excerpt(line)))?;
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(value) = words.next() else {
                return Err((expected, format!("{} without a value", excerpt(&word))));
            };
            if pairs.iter().any(|(other, _)| *other == word) {
                return Err(("each word once", format!("{} again", excerpt(&word))));
            }
            pairs.push((word, value));
        }
        if pairs.len() < 3 {
            return Err((expected, excerpt(line)));
        }
        Ok(Self(pairs))
    }

    fn get(&self, word: &str) -> Option<&[u8]> {
        let pair = self.0.iter().find(|(found, _)| found == word.as_bytes())?;
        Some(&pair.1)
    }

    fn any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.get(word).is_some())
    }

    fn need<T>(&self, word: &str, read: impl Fn(&[u8]) -> Option<T>) -> Result<T, Problem> {
        let Some(value) = self.get(word) else {
            return Err(("all the words of such a file", format!("no {word}")));
        };
        read(value).ok_or_else(|| ("a valid value", format!("{word} {}", excerpt(value))))
    }

    fn name(&self) -> Result<String, Problem> {
        let name = self.need("file", |name| String::from_utf8(name.to_vec()).ok())?;
        if !plain_name(&name) {
            return Err(("a plain file name, not a path", quoted(&name)));
        }
        Ok(name)
    }

    /// Refuses words that mean nothing for this type: dropping them at the
    /// next write would lose what somebody meant.
    fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let redis = ["file", "seq", "type"];
        let is_known = |word: &[u8]| {
            redis
                .iter()
                .chain(known)
                .any(|known| known.as_bytes() == word)
        };
        match self.0.iter().find(|(word, _)| !is_known(word)) {
            Some((word, _)) => Err(("a word that fits the file's type", excerpt(word))),
            None => Ok(()),
        }
    }
}
