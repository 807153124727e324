//! What a manifest must fulfil to make sense.

use super::words::{plain_name, quoted};
use super::{BaseFile, MAX_FILE_SEQ, MAX_LINE, Manifest, Problem};
use std::collections::HashSet;

impl Manifest {
    /// The first thing that is wrong.
    pub(super) fn problem(&self) -> Option<Problem> {
        let Some(base) = &self.base else {
            return Some(("a base file", "none".into()));
        };
        self.name_problem()
            .or_else(|| self.number_problem(base))
            .or_else(|| self.history_problem(base))
            .or_else(|| self.sequence_problem(base))
    }

    fn name_problem(&self) -> Option<Problem> {
        let mut seen = HashSet::new();
        for name in self
            .needed()
            .chain(self.replaced.iter().map(|file| file.name.as_str()))
        {
            if !plain_name(name) {
                return Some(("a plain file name, not a path", quoted(name)));
            }
            if !seen.insert(name) {
                return Some(("each file once", format!("{} again", quoted(name))));
            }
        }
        let long = self.lines().find(|line| line.len() > MAX_LINE)?;
        Some((
            "lines of at most 1000 bytes",
            format!("one of {}", long.len()),
        ))
    }

    fn number_problem(&self, base: &BaseFile) -> Option<Problem> {
        let mut last = 0;
        for file in &self.incrs {
            if file.seq <= last {
                let found = format!("{} after {last}", file.seq);
                return Some(("incr files numbered upwards from 1", found));
            }
            last = file.seq;
        }
        if base.seq == 0 || self.replaced.iter().any(|file| file.seq == 0) {
            return Some(("files numbered from 1 on", "0".into()));
        }
        let (next_base, next_incr) = (self.next_base_seq, self.next_incr_seq);
        if next_base <= base.seq || next_incr <= last || next_base.max(next_incr) > MAX_FILE_SEQ {
            let found = format!(
                "{next_base} after base {}, {next_incr} after incr {last}",
                base.seq
            );
            return Some(("next file numbers above those in use", found));
        }
        None
    }

    fn history_problem(&self, base: &BaseFile) -> Option<Problem> {
        let mut seen = vec![base.history];
        for file in &self.incrs {
            if seen.last() == Some(&file.history) {
                continue;
            }
            if seen.contains(&file.history) {
                return Some(("a history that isn't returned to", file.history.to_string()));
            }
            seen.push(file.history);
        }
        let last = seen.last().filter(|last| **last != self.history)?;
        Some((
            "the last file to be of the history in force",
            last.to_string(),
        ))
    }

    fn sequence_problem(&self, base: &BaseFile) -> Option<Problem> {
        // What the next file has to continue, as far as it is known.
        let (mut last, mut crc) = (Some(base.covers), None);
        // Whether a file before this one isn't known to have been used at all.
        let mut waiting = false;
        for file in &self.incrs {
            let name = quoted(&file.name);
            match file.start {
                Some(_) if waiting => {
                    return Some(("no used file after a waiting one", name));
                }
                Some(start) => {
                    if last.is_some_and(|last| last.checked_add(1) != Some(start.first)) {
                        let found = format!("{name} from {} on", start.first);
                        let expected = "each file to go on where the one before ends";
                        return Some((expected, format!("{found} after {}", last.unwrap_or(0))));
                    }
                    if start.first == 0 || crc.is_some_and(|crc| crc != start.prev_crc) {
                        return Some(("each file to carry on the chain of checksums", name));
                    }
                }
                None => waiting = true,
            }
            match (file.start, file.end) {
                (None, Some(_)) => return Some(("a start of each closed file", name)),
                (Some(start), Some(end)) if !end.fits(start) => {
                    return Some(("a closed file's end to fit its start", name));
                }
                _ => {}
            }
            // Of a file still open, and of one that waits, the end is unknown.
            (last, crc) = file
                .end
                .map_or((None, None), |end| (Some(end.last), Some(end.crc)));
        }
        let closed = self.closed_at?;
        let known = last.unwrap_or(base.covers);
        (closed < known).then(|| {
            (
                "the log closed at its end",
                format!("{closed} before {known}"),
            )
        })
    }
}
