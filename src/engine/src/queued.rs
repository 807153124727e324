//! How many of our commands a transaction is going to run, told from what its
//! client sends: on a host that doesn't say when a transaction ends
//! (Redis 7.0), its last one of ours is where the whole can be written.
//!
//! A count that is too high would let a reply leave before its fsync; so
//! whatever isn't certain ends it, and each command is written by itself.
//! - Only what comes in one go counts: `MULTI`, the commands, `EXEC`, without
//!   another client's in between. The caller says when that may change.
//! - Each of our commands is known by a mark. The first one that runs must be
//!   the first one counted, so it is this client's transaction; and the host
//!   must have queued as many commands as were seen, so none was queued before
//!   and none was refused.
//! - What may change a user's rights could keep a later command from running.
//!   So beside our commands there may be only those that touch data.

use crate::command::table;

/// What a command is to the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Begins a transaction.
    Multi,
    /// Runs it.
    Exec,
    /// A data command of ours.
    Ours,
    /// One of the host's that only touches data.
    Data,
    /// Anything else.
    Other,
}

impl Kind {
    /// By the name under which the host gets it, and the number of words.
    pub fn of(name: &[u8], words: usize) -> Self {
        const OURS: &[u8] = b"persist.";
        const MORE: [&[u8]; 4] = [b"SELECT", b"PING", b"ECHO", b"PUBLISH"];
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if let Some((start, rest)) = name.split_at_checked(OURS.len())
            && start.eq_ignore_ascii_case(OURS)
        {
            return match table::find(rest) {
                Some(_) => Kind::Ours,
                None => Kind::Other,
            };
        }
        match words {
            1 if is(b"MULTI") => Kind::Multi,
            1 if is(b"EXEC") => Kind::Exec,
            _ if table::find(name).is_some() || MORE.iter().any(|one| is(one)) => Kind::Data,
            _ => Kind::Other,
        }
    }
}

/// Where a command of ours stands in the transaction that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Another one is certain to follow, and to be told its place.
    Followed,
    /// It is the last one, or nobody knows.
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No transaction is known.
    Idle,
    /// `MULTI` was seen.
    Queueing,
    /// So was something that ended the count, but not `EXEC`.
    Lost,
    /// `EXEC` was seen, and none of our commands since.
    Called,
    /// So many have run.
    Running(usize),
    /// It runs, but how many follow isn't known, or none does.
    Over,
}

/// The transaction that is being queued, or runs.
#[derive(Debug)]
pub struct Queued {
    state: State,
    /// The marks of our commands in it.
    ours: Vec<usize>,
    /// How many commands it has.
    all: usize,
}

impl Default for Queued {
    fn default() -> Self {
        Queued::new()
    }
}

impl Queued {
    /// No transaction.
    pub const fn new() -> Self {
        Queued {
            state: State::Idle,
            ours: Vec::new(),
            all: 0,
        }
    }

    /// From here on commands may be those of another client, or of one that
    /// had queued others before.
    pub fn forget(&mut self) {
        *self = Queued::new();
    }

    /// A client has sent a command; `mark` tells it from others.
    pub fn sent(&mut self, kind: Kind, mark: usize) {
        // Whatever ran is over.
        if matches!(self.state, State::Called | State::Running(_) | State::Over) {
            self.forget();
        }
        match (self.state, kind) {
            (State::Idle, Kind::Multi) => self.state = State::Queueing,
            (State::Queueing, Kind::Exec) => self.state = State::Called,
            (State::Queueing, Kind::Ours) => {
                self.ours.push(mark);
                self.all += 1;
            }
            (State::Queueing, Kind::Data) => self.all += 1,
            (State::Queueing, _) => self.lose(),
            (State::Lost, Kind::Exec) => self.forget(),
            _ => {}
        }
    }

    /// A command of ours ran that isn't part of a transaction: `MULTI` was
    /// refused, or another client's turn has come.
    pub fn ran_alone(&mut self) {
        self.lose();
    }

    fn lose(&mut self) {
        self.forget();
        self.state = State::Lost;
    }

    /// A command of ours runs in a transaction. Where it stands; `is_sure` is
    /// asked once, whether the host has queued so many commands, and nothing
    /// else speaks against the count.
    pub fn runs(&mut self, mark: usize, is_sure: impl FnOnce(usize) -> bool) -> Place {
        let at = match self.state {
            State::Called => 0,
            State::Running(n) => n,
            State::Queueing => {
                self.lose();
                return Place::Last;
            }
            _ => return Place::Last,
        };
        let is_followed = self.ours.get(at) == Some(&mark)
            && at + 1 < self.ours.len()
            && (at > 0 || is_sure(self.all));
        if is_followed {
            self.state = State::Running(at + 1);
            Place::Followed
        } else {
            self.state = State::Over;
            Place::Last
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(all: &mut Queued, line: &str) {
        for (mark, command) in (1..).zip(line.split(", ")) {
            let words: Vec<&str> = command.split(' ').collect();
            all.sent(Kind::of(words[0].as_bytes(), words.len()), mark);
        }
    }

    /// What each of these is told, when the host has queued `all` commands.
    fn told(queued: &mut Queued, marks: &[usize], all: usize) -> Vec<Place> {
        let place = |&mark| queued.runs(mark, |seen| seen == all);
        marks.iter().map(place).collect()
    }

    use Place::{Followed, Last};

    #[test]
    fn names() {
        for (name, words, kind) in [
            ("multi", 1, Kind::Multi),
            ("MULTI", 2, Kind::Other),
            ("Exec", 1, Kind::Exec),
            ("EXEC", 2, Kind::Other),
            ("persist.set", 3, Kind::Ours),
            ("PERSIST.GET", 2, Kind::Ours),
            ("PERSIST.SAVE", 1, Kind::Other),
            ("PERSIST.", 1, Kind::Other),
            ("INCR", 2, Kind::Data),
            ("select", 2, Kind::Data),
            ("ACL", 3, Kind::Other),
            ("AUTH", 2, Kind::Other),
            ("HELLO", 2, Kind::Other),
            ("EVAL", 3, Kind::Other),
            ("FCALL_RO", 3, Kind::Other),
            ("CLIENT", 2, Kind::Other),
            ("CONFIG", 4, Kind::Other),
            ("DISCARD", 1, Kind::Other),
            ("", 1, Kind::Other),
        ] {
            assert_eq!(Kind::of(name.as_bytes(), words), kind, "{name}");
        }
    }

    #[test]
    fn the_last_one_is_known() {
        let mut all = Queued::new();
        for _ in 0..2 {
            sent(&mut all, "MULTI, PERSIST.SET, SET, PERSIST.GET, EXEC");
            assert_eq!(told(&mut all, &[2, 4], 3), [Followed, Last]);
        }
        sent(&mut all, "MULTI, PERSIST.SET, EXEC");
        assert_eq!(told(&mut all, &[2], 1), [Last]);
        // More than were counted.
        sent(&mut all, "MULTI, PERSIST.SET, PERSIST.SET, EXEC");
        assert_eq!(
            told(&mut all, &[2, 3, 9, 9], 2),
            [Followed, Last, Last, Last]
        );
    }

    #[test]
    fn what_isnt_certain_ends_the_count() {
        for line in [
            // Was queued before.
            "PERSIST.SET, PERSIST.SET, EXEC",
            "MULTI, PERSIST.SET, PERSIST.SET, ACL SETUSER, EXEC",
            "MULTI, PERSIST.SET, MULTI, PERSIST.SET, EXEC",
            "MULTI, PERSIST.SET, DISCARD, PERSIST.SET, EXEC",
            "MULTI, PERSIST.SET, EVAL, PERSIST.SET, EXEC",
            // What was lost stays so until EXEC.
            "MULTI, ACL, MULTI, PERSIST.SET, PERSIST.SET, EXEC",
            "MULTI 1, PERSIST.SET, PERSIST.SET, EXEC",
            "MULTI, PERSIST.SET, PERSIST.SET, EXEC 1",
            "MULTI, PERSIST.SET, PERSIST.SET, EXEC, EXEC",
            "MULTI, PERSIST.SET, PERSIST.SET, EXEC, MULTI",
        ] {
            let mut all = Queued::new();
            sent(&mut all, line);
            let n = line.split(", ").count();
            for mark in 1..=n {
                assert_eq!(all.runs(mark, |_| true), Last, "{line}");
            }
        }
    }

    #[test]
    fn a_count_is_made_again_after_exec() {
        let mut all = Queued::new();
        sent(&mut all, "MULTI, ACL, EXEC");
        sent(&mut all, "MULTI, PERSIST.SET, PERSIST.SET, EXEC");
        assert_eq!(told(&mut all, &[2, 3], 2), [Followed, Last]);
    }

    #[test]
    fn only_this_clients_own_count() {
        let two = "MULTI, PERSIST.SET, PERSIST.SET, EXEC";
        // Another transaction than the one that was seen.
        let mut all = Queued::new();
        sent(&mut all, two);
        assert_eq!(told(&mut all, &[9, 2, 3], 2), [Last, Last, Last]);
        // The host has queued more, or fewer.
        for n in [1, 3] {
            sent(&mut all, two);
            assert_eq!(told(&mut all, &[2, 3], n), [Last, Last]);
        }
        // Another one in between.
        sent(
            &mut all,
            "MULTI, PERSIST.SET, PERSIST.SET, PERSIST.SET, EXEC",
        );
        assert_eq!(
            told(&mut all, &[2, 9, 3, 4], 3),
            [Followed, Last, Last, Last]
        );
        // A command ran at once, so this isn't a transaction, or not only.
        sent(&mut all, "MULTI, PERSIST.SET");
        all.ran_alone();
        sent(&mut all, "PERSIST.SET, PERSIST.SET, EXEC");
        assert_eq!(told(&mut all, &[1, 2], 2), [Last, Last]);
        // Others may have come in between.
        sent(&mut all, "MULTI, PERSIST.SET");
        all.forget();
        sent(&mut all, "PERSIST.SET, EXEC");
        assert_eq!(told(&mut all, &[1], 2), [Last]);
    }

    #[test]
    fn what_was_sent_for_nothing_isnt_waited_for() {
        let mut all = Queued::new();
        // Refused, or a watched key has changed: nothing ran.
        sent(&mut all, "MULTI, PERSIST.SET, PERSIST.SET, EXEC");
        sent(&mut all, "EVAL");
        assert_eq!(told(&mut all, &[2, 3], 2), [Last, Last]);
    }
}
