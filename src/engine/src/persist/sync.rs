//! PERSIST.SYNC: everything logged so far is to become durable now, whatever
//! `appendfsync` says, and somebody waits to hear of it.

use super::Persist;
use super::heal::Health;
use crate::command::CommandError;

/// What became of effects that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They aren't durable yet.
    Open,
    /// They are durable, or nobody promises that any more.
    Kept,
    /// They may not become durable: they are in memory, but the disk fails.
    Failed,
}

impl Persist {
    /// Asks that everything logged so far becomes durable soon; gives the
    /// sequence number that [`Persist::is_synced`] is to be asked for. The
    /// fsync begins with the next flush, in the background, but under
    /// `appendfsync no`, whose writes never wait in memory: there the event
    /// loop waits for it.
    ///
    /// # Errors
    /// There is no log that could make it durable.
    pub fn ask_sync(&mut self) -> Result<u64, CommandError> {
        self.refuse_sync()?;
        self.sync_asked = self.seq;
        Ok(self.seq)
    }

    fn refuse_sync(&self) -> Result<(), CommandError> {
        self.refuse_poisoned()?;
        if !self.settings.appendonly {
            return Err(CommandError::text(
                "ERR the log is off (persist.appendonly no): nothing is durable before the next snapshot",
            ));
        }
        Ok(())
    }

    /// Whether what [`ask_sync`](Self::ask_sync) gave `seq` for is durable by
    /// now.
    ///
    /// # Errors
    /// It isn't, and there is no log any more that could make it so.
    pub fn is_synced(&self, seq: u64) -> Result<bool, CommandError> {
        if self.is_durable(seq) {
            return Ok(true);
        }
        self.refuse_sync().map(|()| false)
    }

    /// Whether every effect up to `seq` is durable, by a log that is in force
    /// or was closed behind it.
    pub fn is_durable(&self, seq: u64) -> bool {
        match self.log.as_ref().filter(|_| self.log_is_in_force()) {
            Some(log) => log.durable().seq >= seq,
            None => self.closing.is_none() && self.closed_at().is_some_and(|at| at >= seq),
        }
    }

    /// What became of the effects up to `seq`, of which nobody may hear
    /// before they are durable.
    pub fn fate(&self, seq: u64) -> Fate {
        if self.is_durable(seq) {
            Fate::Kept
        } else if self.has_failed() {
            Fate::Failed
        } else if self.holds_writers() || self.is_asked_for(seq) {
            Fate::Open
        } else if self.log_is_in_force() {
            // The window of `everysec` is small enough again.
            Fate::Kept
        } else {
            // The log was turned off meanwhile, and could not take it.
            Fate::Failed
        }
    }

    /// Whether an attempt to make durable what isn't has failed, and what
    /// comes of it is unknown.
    pub fn has_failed(&self) -> bool {
        match &self.health {
            Health::Broken { healing, tried, .. } => {
                *tried && !*healing && self.rewrite.since_ms().is_none()
            }
            Health::Ended => false,
            Health::Ok => self.poisoned || self.closing.is_some(),
        }
    }

    /// Whether an fsync of it was asked for and is still to come.
    fn is_asked_for(&self, seq: u64) -> bool {
        seq <= self.sync_asked && self.log_is_in_force()
    }

    /// Whether somebody waits for what isn't durable yet.
    pub(super) fn sync_is_asked(&self) -> bool {
        self.log
            .as_ref()
            .is_some_and(|log| log.durable().seq < self.sync_asked)
    }
}
