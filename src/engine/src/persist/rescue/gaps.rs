//! Going through a log of which parts are damaged or missing: every group that
//! verifies, in order, and what lies between them.
//!
//! Where a group's line holds, its length says where the next one stands.
//! Where it doesn't, the next line that verifies with its payload, of the same
//! history and with sequence numbers that are due or later, is taken: what is
//! embedded in a value is older.

use std::path::{Path, PathBuf};

use super::lost::Lost;
use crate::format::group::{
    GROUP_HEADER_LEN, GROUP_MAGIC, Group, ScanStart, UnverifiedGroup, group_at,
};
use crate::format::manifest::Manifest;
use crate::format::{FormatError, HistoryId};
use crate::io::{OnPath, read_file};
use crate::persist::loader::{Loader, Progress};
use crate::persist::refusal::{LoadError, RESTORE_ADVICE, damaged};

/// A part of the log that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The file.
    pub path: PathBuf,
    /// From this byte on.
    pub from: u64,
    /// Up to this byte; nothing is between the two if bytes are missing.
    pub to: u64,
    /// Sequence numbers of the first and last effect that are missing, as far
    /// as they are known.
    pub seqs: Option<(u64, u64)>,
    /// What is wrong.
    pub why: FormatError,
}

/// What going through came to.
#[derive(Debug, Default)]
pub struct Walked {
    /// Sequence number of the last effect of a group that verifies.
    pub seq: u64,
    /// Everything up to this sequence number was there once.
    pub known: u64,
    /// Whether a gap is at the end, so that nobody knows how far it went.
    pub open_end: bool,
    /// Groups that verify.
    pub groups: u64,
    /// Effects in groups behind the first gap.
    pub doubtful: u64,
    /// What can't be used, in order.
    pub gaps: Vec<Gap>,
    /// What damaged groups whose line holds seem to say.
    pub lost: Lost,
}

impl Walked {
    /// Gaps in which effects are missing, or may be.
    pub fn lost_groups(&self) -> u64 {
        let certain = self.gaps.iter().filter(|gap| gap.seqs.is_some()).count();
        let end = self.gaps.last().is_some_and(|gap| gap.seqs.is_none());
        certain as u64 + u64::from(self.open_end && end)
    }

    /// How many effects are missing, as far as that is known.
    pub fn lost_effects(&self) -> u64 {
        let seqs = self.gaps.iter().filter_map(|gap| gap.seqs);
        seqs.map(|(first, last)| last - first + 1).sum()
    }

    /// Sequence numbers of the first and the last effect that is missing.
    pub fn lost_seqs(&self) -> Option<(u64, u64)> {
        let seqs = || self.gaps.iter().filter_map(|gap| gap.seqs);
        Some((
            seqs().map(|(first, _)| first).min()?,
            seqs().map(|(_, last)| last).max()?,
        ))
    }
}

/// Takes a group, and how many of its first effects are known already.
pub type Visit<'a> = &'a mut dyn FnMut(&Path, &Group<'_>, u64) -> Result<(), LoadError>;

/// Goes through the incr files of `manifest`, from the effect after `covers`
/// on.
///
/// # Errors
/// The disk's, the visitor's, or groups of another version.
pub fn walk(
    loader: &Loader<'_>,
    manifest: &Manifest,
    covers: u64,
    progress: Progress<'_>,
    visit: Visit<'_>,
) -> Result<Walked, LoadError> {
    let mut walker = Walker::new(covers, visit);
    for (i, file) in manifest.incrs.iter().enumerate() {
        let path = loader.files.in_log(&file.name);
        if !loader.disk.exists(&path).on("stat", &path)? {
            walker.gap(
                &path,
                0,
                0,
                FormatError::new(0, "a file that is listed", "none"),
            );
        } else {
            let mut bytes = read_file(loader.disk, &path)?;
            if let Some(end) = file.end {
                // Behind it stands what was given up on.
                bytes.truncate(usize::try_from(end.len).unwrap_or(usize::MAX));
            }
            let start = ScanStart {
                prev_crc: file.start.map(|start| start.prev_crc),
                ..ScanStart::default()
            };
            progress.begin(&path, bytes.len() as u64);
            walker.file(&path, &bytes, Some(file.history), start, progress)?;
        }
        let next = manifest.incrs.get(i + 1).and_then(|next| next.start);
        let ends = file.end.map(|end| end.last);
        walker.must_reach(&path, ends.or(next.map(|start| start.first - 1)));
    }
    walker.must_reach(&loader.files.manifest, manifest.closed_at);
    Ok(walker.finish())
}

/// Goes through a base of commands.
///
/// # Errors
/// As for [`walk`].
pub fn walk_base(
    path: &Path,
    bytes: &[u8],
    history: HistoryId,
    progress: Progress<'_>,
    visit: Visit<'_>,
) -> Result<Walked, LoadError> {
    let mut walker = Walker::new(0, visit);
    let start = ScanStart {
        prev_crc: Some(0),
        ..ScanStart::default()
    };
    progress.begin(path, bytes.len() as u64);
    walker.file(path, bytes, Some(history), start, progress)?;
    Ok(walker.finish())
}

struct Walker<'v> {
    walked: Walked,
    visit: Visit<'v>,
    crc: Option<u64>,
    /// Whether the last gap has no group behind it yet.
    pending: bool,
    /// The last effect that is known to be missing.
    noted: u64,
    /// Work left for lines that may each claim the rest of a file, in bytes.
    budget: u64,
}

impl<'v> Walker<'v> {
    fn new(covers: u64, visit: Visit<'v>) -> Self {
        Walker {
            walked: Walked {
                seq: covers,
                known: covers,
                ..Walked::default()
            },
            visit,
            crc: None,
            pending: false,
            noted: 0,
            budget: 0,
        }
    }

    fn finish(mut self) -> Walked {
        self.walked.open_end = self.pending;
        self.walked
    }

    /// The first sequence number of which nothing is known yet.
    fn due(&self) -> u64 {
        self.walked.seq.max(self.noted) + 1
    }

    /// The last gap reaches to this sequence number.
    fn reaches(&mut self, last: u64) {
        let due = self.due();
        if let Some(gap) = self.walked.gaps.last_mut() {
            let first = gap.seqs.map_or(due, |(first, _)| first);
            gap.seqs = Some((first, last));
        }
        self.noted = last;
        self.walked.known = self.walked.known.max(last);
    }

    fn gap(&mut self, path: &Path, from: u64, to: u64, why: FormatError) {
        self.walked.gaps.push(Gap {
            path: path.to_path_buf(),
            from,
            to,
            seqs: None,
            why,
        });
        self.pending = true;
        self.crc = None;
    }

    /// Effects up to this one are missing if they weren't found by now.
    fn must_reach(&mut self, path: &Path, last: Option<u64>) {
        let due = self.due();
        let Some(last) = last.filter(|last| *last >= due) else {
            return;
        };
        if !self.pending {
            let expected = format!("groups up to sequence {last}");
            let found = format!("the end before {due}");
            self.gap(path, 0, 0, FormatError::new(0, expected, found));
        }
        self.reaches(last);
    }

    fn file(
        &mut self,
        path: &Path,
        bytes: &[u8],
        history: Option<HistoryId>,
        start: ScanStart,
        progress: Progress<'_>,
    ) -> Result<(), LoadError> {
        self.budget = (bytes.len() as u64).saturating_mul(4);
        if !self.pending {
            self.crc = start.prev_crc.or(self.crc);
        }
        let mut at = 0;
        while at < bytes.len() {
            let why = match group_at(bytes, at) {
                Ok(group) if history.is_none_or(|ours| ours == group.header.history) => {
                    self.take(path, &group)?;
                    at = usize::try_from(group.end()).unwrap_or(usize::MAX);
                    progress.at(at as u64);
                    continue;
                }
                Ok(group) => FormatError::new(
                    at as u64,
                    "a group of this history",
                    group.header.history.to_string(),
                ),
                Err(why) if why.intact => return Err(damaged(path, &why, RESTORE_ADVICE)),
                Err(why) => why,
            };
            let next = self.behind(bytes, at, history);
            self.gap(path, at as u64, next as u64, why);
            self.note_line(bytes, at, history);
            at = next;
        }
        Ok(())
    }

    /// Takes a group that verifies.
    fn take(&mut self, path: &Path, group: &Group<'_>) -> Result<(), LoadError> {
        let header = &group.header;
        let due = self.walked.seq + 1;
        let next = header.next_seq().unwrap_or(u64::MAX);
        // The base has it; or it is a mark.
        if next < due || (next == due && header.effects > 0) {
            self.crc = Some(group.crc);
            return Ok(());
        }
        if header.first_seq > self.due() {
            if !self.pending {
                let expected = format!("a group from sequence {due} on");
                let found = header.first_seq.to_string();
                let why = FormatError::new(group.offset, expected, found);
                self.gap(path, group.offset, group.offset, why);
            }
            self.reaches(header.first_seq - 1);
        } else if let Some(crc) = self.crc.filter(|crc| *crc != header.prev_crc) {
            let expected = format!("a group that follows the one with checksum {crc:016x}");
            let found = format!("{:016x}", header.prev_crc);
            let why = FormatError::new(group.offset, expected, found);
            self.gap(path, group.offset, group.offset, why);
        }
        self.pending = false;
        let skip = due.saturating_sub(header.first_seq);
        if !self.walked.gaps.is_empty() {
            self.walked.doubtful += u64::from(header.effects).saturating_sub(skip);
        }
        self.walked.groups += 1;
        self.walked.seq = next - 1;
        self.walked.known = self.walked.known.max(next - 1);
        self.crc = Some(group.crc);
        (self.visit)(path, group, skip)
    }

    /// What the line of a damaged group says, if it holds.
    fn note_line(&mut self, bytes: &[u8], at: usize, history: Option<HistoryId>) {
        let rest = bytes.get(at..).unwrap_or_default();
        let Ok(line) = UnverifiedGroup::parse_line(rest, at as u64) else {
            return;
        };
        let header = line.header();
        let last = header.next_seq().unwrap_or(u64::MAX) - 1;
        if history.is_some_and(|ours| ours != header.history) || last < self.due() {
            return;
        }
        self.reaches(last);
        let end = GROUP_HEADER_LEN.saturating_add(line.payload_len() as usize);
        let payload = rest.get(GROUP_HEADER_LEN..end.min(rest.len()));
        self.walked.lost.seems(header, payload.unwrap_or_default());
    }

    /// Where to go on behind what doesn't verify at `at`.
    fn behind(&mut self, bytes: &[u8], at: usize, history: Option<HistoryId>) -> usize {
        let rest = bytes.get(at..).unwrap_or_default();
        if let Ok(line) = UnverifiedGroup::parse_line(rest, at as u64)
            && history.is_none_or(|ours| ours == line.header().history)
        {
            let len = usize::try_from(line.payload_len()).unwrap_or(usize::MAX);
            let end = at.saturating_add(GROUP_HEADER_LEN).saturating_add(len);
            if end <= bytes.len() {
                return end;
            }
        }
        let mut from = at + 1;
        while let Some(hash) = bytes
            .get(from..)
            .and_then(|rest| rest.iter().position(|&byte| byte == b'#'))
        {
            let here = from + hash;
            if self.is_next(bytes, here, history) {
                return here;
            }
            from = here + 1;
        }
        bytes.len()
    }

    fn is_next(&mut self, bytes: &[u8], at: usize, history: Option<HistoryId>) -> bool {
        let rest = bytes.get(at..).unwrap_or_default();
        if !rest.starts_with(GROUP_MAGIC) {
            return false;
        }
        let Ok(line) = UnverifiedGroup::parse_line(rest, 0) else {
            return false;
        };
        let header = line.header();
        if history.is_some_and(|ours| ours != header.history) || header.first_seq <= self.walked.seq
        {
            return false;
        }
        let Some(left) = self
            .budget
            .checked_sub(line.payload_len().min(rest.len() as u64))
        else {
            return false;
        };
        self.budget = left;
        let Ok(group) = group_at(bytes, at) else {
            return false;
        };
        // A value that holds a group ends with CR LF, as every argument does.
        let end = usize::try_from(group.end()).unwrap_or(usize::MAX);
        !bytes.get(end..).unwrap_or_default().starts_with(b"\r\n")
    }
}
