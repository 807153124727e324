//! When clients that are served by an fsync on the event loop may go on.
//!
//! Those that pipeline, run transactions or scripts can't be held back once
//! their commands run: the event loop waits for an fsync before the pass ends.
//! Whoever comes during that fsync is served in the next pass; should one of
//! those run in that pass, too, it ends with another fsync, and all would wait
//! for two. And those that write come in two parts then: some have sent their
//! next commands during the fsync, the others do so once they have its
//! replies, and each part waits for the other's fsync.
//!
//! So after an fsync on the event loop a gate is closed before those that it
//! has served, and those that the one before has: what they send stays with
//! the system, unread. It is opened for all of them at once: not before the end
//! of a pass without them; when each has sent something, or an eighth of the
//! fsync's time has passed, at most 2 ms; and not while the I/O thread works on
//! the log, which the event loop would have to wait for. Then one pass runs
//! what all have sent, and one fsync serves it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The part of an fsync's time that the gate may stay closed: 1 in so many.
const PART: u32 = 8;
/// And never longer.
const MOST: Duration = Duration::from_millis(2);
/// Nor longer than this for the sake of the I/O thread.
const MOST_FOR_JOBS: Duration = Duration::from_secs(1);
/// After an fsync shorter than this nobody could come back in time.
const LEAST_FSYNC: Duration = Duration::from_millis(1);
/// A gate before more clients than this would cost more than it saves.
const TOO_MANY: usize = 1_000;
/// The pause before the first look at who has sent something, and the part of
/// the time since the fsync that each later pause is.
const FIRST_LOOK: Duration = Duration::from_micros(50);
const NEXT_LOOK: u32 = 2;

/// A gate before clients, which send on sockets `S`.
#[derive(Debug)]
pub struct Gate<S> {
    /// What is known of this pass: who sends on what.
    known: BTreeMap<u64, S>,
    /// Whom the next fsync on the event loop serves, and whom the last one has.
    next: BTreeMap<u64, S>,
    last: BTreeMap<u64, S>,
    closed: Option<Closed<S>>,
}

#[derive(Debug)]
struct Closed<S> {
    sockets: Vec<S>,
    /// Of those, from the first on, so many are known to have brought
    /// something.
    came: usize,
    since: Instant,
    until: Instant,
    /// Whether a pass without them has ended.
    passed: bool,
    /// When the I/O thread is to wake the event loop for the next look.
    wakes_at: Option<Instant>,
}

/// What becomes of the gate at the end of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is open, and was before.
    IsOpen,
    /// It stays closed. The event loop is to be woken for the next look after
    /// so long, unless it is going to be already.
    Later(Option<Duration>),
    /// It is to be opened.
    Opens,
}

impl<S> Default for Gate<S> {
    fn default() -> Self {
        Gate::new()
    }
}

impl<S> Gate<S> {
    /// It is open.
    pub const fn new() -> Self {
        Gate {
            known: BTreeMap::new(),
            next: BTreeMap::new(),
            last: BTreeMap::new(),
            closed: None,
        }
    }
}

impl<S: Copy> Gate<S> {
    /// The host has told what a client sends on, which may be another's once
    /// this pass is over.
    pub fn note(&mut self, id: u64, socket: S) {
        self.known.insert(id, socket);
    }

    /// The next fsync on the event loop serves this client.
    pub fn serves(&mut self, id: u64) {
        if let Some(&socket) = self.known.get(&id) {
            self.next.insert(id, socket);
        }
    }

    /// A new pass of the event loop.
    pub fn next_pass(&mut self) {
        self.known.clear();
        self.next.clear();
    }

    /// An fsync on the event loop has ended, which took so long. Before whom
    /// the gate is to be closed now, after all that it is closed before were
    /// let in.
    pub fn synced(&mut self, now: Instant, took: Duration) -> impl Iterator<Item = S> {
        let served = std::mem::take(&mut self.next);
        let before = std::mem::replace(&mut self.last, served.clone());
        let mut clients = served;
        // Whom it was closed before all the same must have their turn, however
        // many others come that it has never been closed before.
        if self.closed.take().is_none() {
            clients.extend(before);
        }
        if took >= LEAST_FSYNC && !clients.is_empty() && clients.len() <= TOO_MANY {
            self.closed = Some(Closed {
                sockets: clients.into_values().collect(),
                came: 0,
                since: now,
                until: now + (took / PART).min(MOST),
                passed: false,
                wakes_at: None,
            });
        }
        self.kept_out()
    }

    /// A pass has ended, or the I/O thread has `woken` the event loop in the
    /// middle of one: then nothing else is going to wake it. `has_sent` says
    /// whether something has come on a socket, `busy` whether the I/O thread
    /// works on the log.
    pub fn look(
        &mut self,
        now: Instant,
        woken: bool,
        busy: bool,
        has_sent: impl Fn(S) -> bool,
    ) -> Look {
        let Some(closed) = &mut self.closed else {
            return Look::IsOpen;
        };
        if std::mem::replace(&mut closed.passed, true) {
            // Once for each: asking takes time.
            while let Some(&socket) = closed.sockets.get(closed.came)
                && has_sent(socket)
            {
                closed.came += 1;
            }
            let is_due = now >= closed.until || closed.came == closed.sockets.len();
            if is_due && (!busy || now >= closed.since + MOST_FOR_JOBS) {
                return Look::Opens;
            }
        }
        if !woken && closed.wakes_at.is_some_and(|at| now < at) {
            return Look::Later(None);
        }
        let mut pause = FIRST_LOOK.max((now - closed.since) / NEXT_LOOK);
        if now < closed.until {
            pause = pause.min(closed.until - now);
        }
        closed.wakes_at = Some(now + pause);
        Look::Later(Some(pause))
    }

    /// Before whom it is closed.
    pub fn kept_out(&self) -> impl Iterator<Item = S> {
        self.closed.iter().flat_map(|closed| &closed.sockets).copied()
    }

    /// Opens it. Before whom it was closed.
    pub fn open(&mut self) -> impl Iterator<Item = S> {
        let closed = self.closed.take();
        closed.into_iter().flat_map(|closed| closed.sockets)
    }
}
