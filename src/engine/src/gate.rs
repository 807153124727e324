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
pub const LEAST_FSYNC: Duration = Duration::from_millis(1);
/// A gate before more clients than this would cost more than it saves.
const TOO_MANY: usize = 1_000;
/// The pause before the first look at who has sent something, and the part of
/// the time since the fsync that each later pause is.
pub const FIRST_LOOK: Duration = Duration::from_micros(50);
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
    clients: BTreeMap<u64, S>,
    /// Those of them who aren't known to have sent something.
    awaited: Vec<S>,
    /// Whether an fsync has passed without some of them.
    skipped: bool,
    /// When the fsync ended, and until when the others are awaited.
    since: Instant,
    until: Instant,
    /// Whether a pass without them has ended.
    passed: bool,
    /// When the event loop is to turn for the next look.
    wakes_at: Option<Instant>,
}

/// What becomes of the gate at the end of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is open, and was before.
    IsOpen,
    /// It stays closed. The event loop is to be woken for the next look after
    /// so long, unless it is going to be already; at once, if that is zero.
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

    /// This client is gone, and its socket with it; there may be another of the
    /// same name.
    pub fn gone(&mut self, id: u64) {
        let closed = self.closed.as_mut().map(|closed| &mut closed.clients);
        let all = [&mut self.known, &mut self.next, &mut self.last];
        for clients in all.into_iter().chain(closed) {
            clients.remove(&id);
        }
    }

    /// Whether nobody is kept out.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// A new pass of the event loop.
    pub fn next_pass(&mut self) {
        self.known.clear();
        self.next.clear();
    }

    /// An fsync on the event loop has ended, which took so long. Before whom the
    /// gate is to be closed now, and who is to be let in.
    pub fn synced(&mut self, now: Instant, took: Duration) -> (Vec<S>, Vec<S>) {
        let mut clients = std::mem::take(&mut self.next);
        let before = std::mem::replace(&mut self.last, clients.clone());
        let (mut waiting, mut skipped, mut let_in) = (BTreeMap::new(), false, Vec::new());
        match self.closed.take() {
            None => clients.extend(before),
            // Those before it have missed an fsync that others needed at once.
            // They wait for the next one with these, or the two would take
            // turns for ever.
            Some(closed) if !closed.skipped => {
                skipped = true;
                waiting = closed.clients;
            }
            // But once only, should such others come again and again.
            Some(closed) => let_in.extend(closed.clients.into_values()),
        }
        let count = clients.len() + waiting.len();
        if took < LEAST_FSYNC || count == 0 || count > TOO_MANY {
            let_in.extend(waiting.into_values());
            return (Vec::new(), let_in);
        }
        clients.extend(waiting);
        // One alone need not wait for others, but for the next pass.
        let wait = match clients.len() {
            1 => Duration::ZERO,
            _ => (took / PART).min(MOST),
        };
        let awaited: Vec<S> = clients.values().copied().collect();
        self.closed = Some(Closed {
            clients,
            awaited: awaited.clone(),
            skipped,
            since: now,
            until: now + wait,
            passed: false,
            wakes_at: None,
        });
        (awaited, let_in)
    }

    /// A pass has ended, after any fsync of it. `woken` says that the event loop has turned for a look since the last one,
    /// and so isn't going to for this one; `busy` that the I/O thread works on
    /// the log; `has_sent` whether something has come on a socket.
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
            // Up to the first who hasn't: asking takes time.
            while closed.awaited.pop_if(|socket| has_sent(*socket)).is_some() {}
            let is_due = now >= closed.until || closed.awaited.is_empty();
            if is_due && (!busy || now >= closed.since + MOST_FOR_JOBS) {
                return Look::Opens;
            }
        }
        if !woken && closed.wakes_at.is_some_and(|at| now < at) {
            return Look::Later(None);
        }
        let mut pause = FIRST_LOOK.max((now - closed.since) / NEXT_LOOK);
        if !busy {
            pause = pause.min(closed.until.saturating_duration_since(now));
        }
        closed.wakes_at = Some(now + pause);
        Look::Later(Some(pause))
    }

    /// Opens it. Who is to be let in.
    pub fn open(&mut self) -> impl Iterator<Item = S> {
        let closed = self.closed.take();
        closed
            .into_iter()
            .flat_map(|closed| closed.clients.into_values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSYNC: Duration = Duration::from_millis(8);
    const WINDOW: Duration = Duration::from_millis(1);

    /// A pass that served these clients, each on a socket with its own number,
    /// and whom the gate was closed before then.
    fn pass(gate: &mut Gate<u64>, ids: &[u64], now: Instant, took: Duration) -> Vec<u64> {
        gate.next_pass();
        for &id in ids {
            gate.note(id, id);
            gate.serves(id);
        }
        gate.synced(now, took).0
    }

    fn closed_before(ids: &[u64]) -> (Gate<u64>, Instant) {
        let (mut gate, now) = (Gate::new(), Instant::now());
        assert_eq!(pass(&mut gate, ids, now, FSYNC), ids);
        (gate, now)
    }

    fn look(gate: &mut Gate<u64>, now: Instant, came: &[u64]) -> Look {
        gate.look(now, false, false, |id| came.contains(&id))
    }

    #[test]
    fn it_opens_once_all_have_sent_something_but_not_before_a_pass_without_them() {
        let (mut gate, now) = closed_before(&[1, 2]);
        assert_eq!(look(&mut gate, now, &[1, 2]), Look::Later(Some(FIRST_LOOK)));
        assert_eq!(look(&mut gate, now, &[1]), Look::Later(None));
        assert_eq!(look(&mut gate, now, &[1, 2]), Look::Opens);
        assert_eq!(gate.open().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(look(&mut gate, now, &[]), Look::IsOpen);
    }

    #[test]
    fn it_opens_after_a_part_of_the_fsync() {
        let (mut gate, now) = closed_before(&[1, 2]);
        look(&mut gate, now, &[]);
        let (mut at, mut looks) = (now, 0);
        loop {
            match look(&mut gate, at, &[1]) {
                Look::Later(pause) => at += pause.unwrap_or(FIRST_LOOK),
                Look::Opens => break,
                Look::IsOpen => panic!("it was closed"),
            }
            looks += 1;
        }
        assert_eq!(at, now + WINDOW);
        assert!((3..10).contains(&looks), "{looks} looks");
        // An fsync of any length.
        let (mut gate, now) = (Gate::new(), Instant::now());
        pass(&mut gate, &[1, 2], now, Duration::from_secs(9));
        look(&mut gate, now, &[]);
        assert_eq!(look(&mut gate, now + MOST, &[]), Look::Opens);
    }

    #[test]
    fn one_alone_waits_for_that_pass_only() {
        let (mut gate, now) = closed_before(&[1]);
        assert_eq!(look(&mut gate, now, &[]), Look::Later(Some(Duration::ZERO)));
        assert_eq!(look(&mut gate, now, &[]), Look::Opens);
    }

    #[test]
    fn who_was_served_by_the_last_two_is_kept_out() {
        let now = Instant::now();
        let mut gate = Gate::new();
        let mut both = |ids: &[u64]| {
            let closed = pass(&mut gate, ids, now, FSYNC);
            gate.open().for_each(drop);
            closed
        };
        assert_eq!(both(&[1, 2]), [1, 2]);
        assert_eq!(both(&[3]), [1, 2, 3]);
        assert_eq!(both(&[4]), [3, 4]);
    }

    #[test]
    fn who_missed_an_fsync_is_served_by_the_next_however_many_others_come() {
        let (mut gate, now) = closed_before(&[1]);
        // It wasn't opened in that pass.
        assert_eq!(pass(&mut gate, &[2], now, FSYNC), [1, 2]);
        gate.next_pass();
        gate.note(3, 3);
        gate.serves(3);
        assert_eq!(gate.synced(now, FSYNC), (vec![3], vec![1, 2]));
        // From the start.
        assert_eq!(pass(&mut gate, &[1, 4], now, FSYNC), [1, 3, 4]);
        assert_eq!(gate.open().collect::<Vec<_>>(), [1, 3, 4]);
        // Nobody stays behind where it isn't closed again.
        pass(&mut gate, &[1], now, FSYNC);
        let (closed, let_in) = gate.synced(now, Duration::ZERO);
        assert_eq!((closed, let_in), (vec![], vec![1, 4]));
        assert_eq!(look(&mut gate, now, &[]), Look::IsOpen);
    }

    /// Its socket may be one by now on which the host waits for an answer.
    #[test]
    fn who_is_gone_is_forgotten() {
        let now = Instant::now();
        let mut gate = Gate::new();
        assert_eq!(pass(&mut gate, &[1, 2], now, FSYNC), [1, 2]);
        gate.gone(1);
        assert_eq!(gate.open().collect::<Vec<_>>(), [2]);
        assert!(gate.is_open());
        gate.gone(2);
        gate.next_pass();
        gate.note(3, 3);
        gate.serves(3);
        gate.gone(3);
        gate.serves(3);
        assert_eq!(gate.synced(now, FSYNC), (vec![], vec![]));
    }

    #[test]
    fn it_stays_open_where_it_is_of_no_use() {
        let now = Instant::now();
        let mut gate = Gate::new();
        // Nobody could be back in time.
        let short = LEAST_FSYNC.checked_sub(Duration::from_micros(1)).unwrap();
        assert_eq!(pass(&mut gate, &[1], now, short), []);
        assert_eq!(look(&mut gate, now, &[]), Look::IsOpen);
        // Nobody has waited for the fsync, or the host doesn't say on what it
        // sends.
        let mut gate = Gate::new();
        gate.serves(1);
        assert_eq!(pass(&mut gate, &[], now, FSYNC), []);
        let all: Vec<u64> = (0..=TOO_MANY as u64).collect();
        assert_eq!(pass(&mut gate, &all, now, FSYNC), []);
        // None of them was kept out, so there is nothing to do for any.
        gate.next_pass();
        assert_eq!(gate.synced(now, Duration::ZERO), (vec![], vec![]));
        // What was known in another pass may be wrong by now.
        let mut gate = Gate::new();
        gate.note(1, 1);
        gate.next_pass();
        gate.serves(1);
        assert_eq!(gate.synced(now, FSYNC), (vec![], vec![]));
    }

    #[test]
    fn it_isnt_opened_to_wait_for_the_io_thread() {
        let (mut gate, now) = closed_before(&[1]);
        let mut busy = |after, woken| gate.look(now + after, woken, true, |_| true);
        assert_eq!(busy(Duration::ZERO, false), Look::Later(Some(FIRST_LOOK)));
        assert_eq!(busy(Duration::ZERO, false), Look::Later(None));
        // The event loop has turned for a look, and isn't going to again.
        assert_eq!(busy(Duration::ZERO, true), Look::Later(Some(FIRST_LOOK)));
        assert_eq!(busy(FSYNC, false), Look::Later(Some(FSYNC / NEXT_LOOK)));
        assert_eq!(busy(MOST_FOR_JOBS, false), Look::Opens);
    }
}
