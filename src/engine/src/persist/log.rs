//! The log's writing end: effects gather in a group, groups wait to be
//! written, written groups wait to be synced.
//!
//! A group stays in memory until its fsync has succeeded, so that after a
//! failed write or fsync nothing acknowledged exists only in a file that can
//! no longer be trusted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use crate::format::HistoryId;
use crate::format::group::{GROUP_HEADER_LEN, GroupHeader, seal};
use crate::format::manifest::{IncrEnd, IncrStart};
use crate::format::resp::{push_array, push_bulk, push_command};
use crate::io::{DiskError, File, append_all};

/// Effects of one pass of the event loop, not yet sealed.
#[derive(Debug)]
struct OpenGroup {
    buf: Vec<u8>,
    effects: u32,
    single_key: bool,
    db: Option<u32>,
    in_multi: bool,
    /// Where the transaction or script began that runs, or ran last: how long
    /// `buf` was, and what `effects` and `in_multi` were.
    unit: (usize, u32, bool),
}

impl Default for OpenGroup {
    fn default() -> Self {
        OpenGroup {
            buf: Vec::new(),
            effects: 0,
            single_key: true,
            db: None,
            in_multi: false,
            unit: (0, 0, false),
        }
    }
}

/// A group as it goes to disk, and where the log stands after it.
#[derive(Debug, Clone)]
pub struct SealedGroup {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Sequence number of its last effect.
    pub last_seq: u64,
    /// Its checksum.
    pub crc: u64,
}

/// A place in the log between two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The file's number in the manifest.
    pub file: u64,
    /// Sequence number of the last effect before it.
    pub seq: u64,
    /// Length of the file up to here, in bytes.
    pub len: u64,
    /// Checksum of the group before it.
    pub crc: u64,
}

impl Mark {
    /// As the end of its file.
    pub fn end(&self) -> IncrEnd {
        IncrEnd {
            last: self.seq,
            len: self.len,
            crc: self.crc,
        }
    }
}

/// The file that takes new groups.
#[derive(Clone)]
pub struct LogFile {
    /// To write and sync.
    pub file: Arc<dyn File>,
    /// For errors.
    pub path: PathBuf,
    /// Its number in the manifest.
    pub seq: u64,
}

/// How much a group may hold before it is closed early, in bytes.
pub const GROUP_LIMIT: usize = 8 << 20;

/// The log's writing end; see the module.
pub struct Log {
    /// The file that takes new groups.
    pub target: LogFile,
    history: HistoryId,
    open: OpenGroup,
    /// Sealed, not yet written.
    waiting: VecDeque<SealedGroup>,
    /// Written, not yet known to be durable.
    unsynced: VecDeque<SealedGroup>,
    waiting_bytes: u64,
    unsynced_bytes: u64,
    /// Where the current file began.
    start: IncrStart,
    /// End of what was sealed.
    sealed: Mark,
    /// End of what was written.
    written: Mark,
    /// End of what is durable; in the file before, until something in the
    /// current one is.
    durable: Mark,
    /// End of what is no longer kept in memory; behind `durable` only under
    /// `appendfsync no`.
    forgotten: Mark,
    /// Bytes between these two.
    forgotten_bytes: u64,
    /// The file of which an fsync failed: what isn't durable in it never will
    /// be known to be.
    distrusted: Option<u64>,
    /// How many waiting groups the attempt to heal covers.
    healing: usize,
    last_time_ms: u64,
    last_ts: u64,
    spare: Vec<Vec<u8>>,
}

/// How a log whose file failed can go on.
pub enum Cure {
    /// The log is good up to this place; what comes later waits in memory, to
    /// be written to a new file.
    NewFile {
        /// The end of the good part.
        end: Mark,
        /// The file that must be synced before that is true.
        sync: Option<LogFile>,
    },
    /// Something is neither in memory nor known durable: only a new base.
    NewBase,
}

impl Log {
    /// Appends to `target`, an empty file, after the group with checksum
    /// `prev_crc` and the effect number `seq`, which are durable.
    pub fn new(target: LogFile, history: HistoryId, seq: u64, prev_crc: u64, time_ms: u64) -> Self {
        let mark = Mark {
            file: target.seq,
            seq,
            len: 0,
            crc: prev_crc,
        };
        Log {
            target,
            history,
            open: OpenGroup::default(),
            waiting: VecDeque::new(),
            unsynced: VecDeque::new(),
            waiting_bytes: 0,
            unsynced_bytes: 0,
            start: IncrStart {
                first: seq + 1,
                prev_crc,
            },
            sealed: mark,
            written: mark,
            durable: mark,
            forgotten: mark,
            forgotten_bytes: 0,
            distrusted: None,
            healing: 0,
            last_time_ms: time_ms,
            last_ts: 0,
            spare: Vec::new(),
        }
    }

    /// Adds one effect. `atomic`: it belongs to a transaction or script,
    /// which stock Redis must replay whole, too.
    #[inline]
    pub fn effect(&mut self, db: u32, name: &[u8], args: &[&[u8]], atomic: bool, single_key: bool) {
        let open = &mut self.open;
        if open.buf.is_empty() {
            open.buf = self.spare.pop().unwrap_or_default();
            open.buf.resize(GROUP_HEADER_LEN, 0);
        }
        if open.in_multi && !atomic {
            push_command(&mut open.buf, &[b"EXEC"]);
            open.in_multi = false;
        }
        if open.db != Some(db) {
            let mut digits = Default::default();
            let digits = crate::base::number::format_i64(i64::from(db), &mut digits);
            push_command(&mut open.buf, &[b"SELECT", digits]);
            open.db = Some(db);
        }
        if atomic && !open.in_multi {
            push_command(&mut open.buf, &[b"MULTI"]);
            open.in_multi = true;
        }
        push_array(&mut open.buf, args.len() + 1);
        push_bulk(&mut open.buf, name);
        for arg in args {
            push_bulk(&mut open.buf, arg);
        }
        open.effects += 1;
        open.single_key &= single_key && !atomic;
    }

    /// Whether the open group has grown so much that it should be sealed at
    /// the end of the execution unit.
    pub fn is_full(&self) -> bool {
        self.open.buf.len() >= GROUP_LIMIT
    }

    /// Closes the open group, if it has effects. `time_ms` is the time now;
    /// `timestamps` adds a `#TS` line when the second has changed.
    pub fn seal(&mut self, time_ms: u64, timestamps: bool) {
        if self.open.effects == 0 {
            return;
        }
        if self.open.in_multi {
            push_command(&mut self.open.buf, &[b"EXEC"]);
        }
        let mut buf = std::mem::take(&mut self.open.buf);
        // Clocks jump back; the log's time doesn't.
        self.last_time_ms = self.last_time_ms.max(time_ms);
        if timestamps && self.last_ts != self.last_time_ms / 1000 {
            self.last_ts = self.last_time_ms / 1000;
            let line = format!("#TS:{}\r\n", self.last_ts);
            buf.splice(GROUP_HEADER_LEN..GROUP_HEADER_LEN, line.into_bytes());
        }
        let header = GroupHeader {
            single_key: self.open.single_key,
            base: false,
            first_seq: self.sealed.seq + 1,
            effects: self.open.effects,
            time_ms: self.last_time_ms,
            prev_crc: self.sealed.crc,
            durable: self.durable.seq,
            history: self.history,
        };
        // The buffer was made with room for the line.
        let crc = seal(&mut buf, &header).unwrap_or_default();
        let seq = self.sealed.seq + u64::from(self.open.effects);
        self.sealed = Mark {
            file: self.target.seq,
            seq,
            len: self.sealed.len + buf.len() as u64,
            crc,
        };
        self.waiting_bytes += buf.len() as u64;
        self.waiting.push_back(SealedGroup {
            bytes: buf,
            last_seq: seq,
            crc,
        });
        self.open.effects = 0;
        self.open.single_key = true;
        self.open.db = None;
        self.open.in_multi = false;
        self.open.unit = (0, 0, false);
    }

    /// Writes what is sealed. Must not be called while another thread writes
    /// or syncs this file.
    ///
    /// # Errors
    /// The file can't be trusted any more: it may end in half a group.
    pub fn write(&mut self) -> Result<(), DiskError> {
        while let Some(group) = self.waiting.front() {
            append_all(&*self.target.file, &group.bytes).map_err(|e| DiskError {
                op: "write",
                path: self.target.path.clone(),
                source: e.source,
            })?;
            let Some(group) = self.waiting.pop_front() else {
                break;
            };
            let n = group.bytes.len() as u64;
            self.waiting_bytes -= n;
            self.unsynced_bytes += n;
            self.written = Mark {
                file: self.target.seq,
                seq: group.last_seq,
                len: self.written.len + n,
                crc: group.crc,
            };
            self.unsynced.push_back(group);
        }
        Ok(())
    }

    /// Whether a mark in this file still means something here. What is
    /// durable may end several files before the current one, and an fsync of
    /// any of them that fails must not be taken for one of another log.
    pub fn knows(&self, file: u64) -> bool {
        (self.durable.file..=self.target.seq).contains(&file)
    }

    /// Everything up to `mark` is durable: its groups may be forgotten.
    pub fn synced(&mut self, mark: Mark) {
        if mark.seq < self.durable.seq {
            return;
        }
        self.durable = mark;
        self.forget_up_to(mark.seq);
        if self.forgotten.seq <= self.durable.seq {
            self.forgotten = self.durable;
            self.forgotten_bytes = 0;
        }
    }

    /// Where the current file begins.
    fn beginning(&self) -> Mark {
        Mark {
            file: self.target.seq,
            seq: self.start.first - 1,
            len: 0,
            crc: self.start.prev_crc,
        }
    }

    /// Frees written groups, and says how many bytes that were.
    fn forget_up_to(&mut self, seq: u64) -> u64 {
        let mut bytes = 0;
        while let Some(group) = self.unsynced.pop_front() {
            if group.last_seq > seq {
                self.unsynced.push_front(group);
                break;
            }
            bytes += group.bytes.len() as u64;
            let mut buf = group.bytes;
            if self.spare.len() < 4 && buf.capacity() <= 1 << 20 {
                buf.clear();
                self.spare.push(buf);
            }
        }
        self.unsynced_bytes -= bytes;
        bytes
    }

    /// Under `appendfsync no` nobody waits for an fsync: what is written
    /// isn't kept. It isn't durable for that, so no mark may say so: a start
    /// would take a crash's tail for damage.
    pub fn forget_written(&mut self) {
        if self.unsynced.is_empty() {
            return;
        }
        self.forgotten = self.written;
        self.forgotten_bytes += self.forget_up_to(self.written.seq);
    }

    /// Goes on in `target`, an empty file; gives the mark at which the old
    /// file ends. Everything sealed was written. What is durable stays told
    /// in terms of the old file until the manifest has its end.
    pub fn switch(&mut self, target: LogFile) -> Mark {
        let end = self.written;
        self.start = IncrStart {
            first: end.seq + 1,
            prev_crc: end.crc,
        };
        self.target = target;
        self.written = self.beginning();
        self.sealed = self.written;
        end
    }

    /// A base holds everything before the current file.
    pub fn based(&mut self) {
        if self.distrusted.is_some_and(|file| file != self.target.seq) {
            self.distrusted = None;
        }
        self.synced(self.beginning());
    }

    /// An fsync of this file failed: a later success proves nothing.
    pub fn distrust(&mut self, file: u64) {
        self.distrusted = Some(file);
    }

    /// Whether syncing proves nothing any more.
    pub fn is_distrusted(&self) -> bool {
        self.distrusted.is_some()
    }

    /// Whether only a new base can make the log whole again.
    pub fn needs_base(&self) -> bool {
        self.forgotten.seq > self.durable.seq
            && (self.distrusted.is_some() || self.forgotten.file != self.target.seq)
    }

    /// Gives up on what isn't durable: it waits to be written again, to
    /// another file. May be called again until [`resume`](Self::resume).
    pub fn abandon(&mut self) -> Cure {
        if self.needs_base() {
            return Cure::NewBase;
        }
        while let Some(group) = self.unsynced.pop_back() {
            self.waiting_bytes += group.bytes.len() as u64;
            self.waiting.push_front(group);
        }
        self.unsynced_bytes = 0;
        self.healing = self.waiting.len();
        if self.forgotten.seq > self.durable.seq {
            Cure::NewFile {
                end: self.forgotten,
                sync: Some(self.target.clone()),
            }
        } else {
            Cure::NewFile {
                end: self.durable,
                sync: None,
            }
        }
    }

    /// The groups that waited at the last [`abandon`](Self::abandon).
    pub fn waiting_groups(&self) -> impl Iterator<Item = &SealedGroup> {
        self.waiting.iter().take(self.healing)
    }

    /// Goes on in `target`, in which the groups that waited at the last
    /// [`abandon`](Self::abandon) stand, durably, after `end`.
    pub fn resume(&mut self, target: LogFile, end: Mark) {
        self.target = target;
        self.start = IncrStart {
            first: end.seq + 1,
            prev_crc: end.crc,
        };
        let mut mark = self.beginning();
        for group in self.waiting.drain(..self.healing.min(self.waiting.len())) {
            let n = group.bytes.len() as u64;
            self.waiting_bytes -= n;
            mark.seq = group.last_seq;
            mark.len += n;
            mark.crc = group.crc;
        }
        self.healing = 0;
        self.distrusted = None;
        (self.durable, self.written, self.forgotten) = (mark, mark, mark);
        self.forgotten_bytes = 0;
        self.sealed.file = mark.file;
        self.sealed.len = mark.len + self.waiting_bytes;
    }

    /// A base that is being made covers all that is sealed: the log goes on
    /// from there in `target`, an empty file. Until the base is in force
    /// nothing of this is durable, nor may anything be written.
    pub fn restart(&mut self, target: LogFile) {
        self.waiting.clear();
        self.unsynced.clear();
        (self.waiting_bytes, self.unsynced_bytes) = (0, 0);
        self.written = self.sealed;
        self.forgotten = self.sealed;
        self.switch(target);
    }

    /// A write handler left its effects half told: none of this pass may be
    /// replayed.
    pub fn discard_open(&mut self) {
        self.open = OpenGroup::default();
    }

    /// A transaction or script begins.
    #[inline]
    pub fn unit_begins(&mut self) {
        let open = &mut self.open;
        open.unit = (open.buf.len(), open.effects, open.in_multi);
    }

    /// A transaction or script won't be ended: nothing of it may be replayed.
    /// What stood in the group before it stays.
    pub fn discard_unit(&mut self) {
        let open = &mut self.open;
        let (len, effects, in_multi) = open.unit;
        open.buf.truncate(len);
        (open.effects, open.in_multi) = (effects, in_multi);
    }

    /// Where the current file began.
    pub fn start(&self) -> IncrStart {
        self.start
    }

    /// End of what was written.
    pub fn written(&self) -> Mark {
        self.written
    }

    /// End of what is durable.
    pub fn durable(&self) -> Mark {
        self.durable
    }

    /// Whether there is anything to write.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether an effect is neither sealed nor written.
    pub fn has_open(&self) -> bool {
        self.open.effects > 0
    }

    /// Whether there is anything written that isn't durable.
    pub fn has_unsynced(&self) -> bool {
        self.written.seq > self.durable.seq
    }

    /// Bytes that wait to be written.
    pub fn buffer_len(&self) -> u64 {
        self.waiting_bytes + self.open.buf.len() as u64
    }

    /// Bytes that a power failure would take.
    pub fn at_risk_bytes(&self) -> u64 {
        self.waiting_bytes + self.unsynced_bytes + self.forgotten_bytes + self.open.buf.len() as u64
    }

    /// Changes that a power failure would take.
    pub fn at_risk_effects(&self) -> u64 {
        (self.sealed.seq + u64::from(self.open.effects)).saturating_sub(self.durable.seq)
    }

    /// Commands of those that are still in memory, the newest group first.
    pub fn payloads_at_risk(&self) -> impl Iterator<Item = &[u8]> {
        let sealed = self.waiting.iter().rev().chain(self.unsynced.iter().rev());
        std::iter::once(&self.open.buf)
            .chain(sealed.map(|group| &group.bytes))
            .filter_map(|bytes| bytes.get(GROUP_HEADER_LEN..))
    }
}
