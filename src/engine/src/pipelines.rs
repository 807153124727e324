//! Which clients pipeline. One that is blocked for each write would have each
//! command of its pipeline wait for an fsync of its own; such a client is
//! served by one fsync at the end of a pass of the event loop instead.
//!
//! The host doesn't show what a client has sent beyond the command that runs.
//! But a client that waits for each reply can't have sent its next command
//! when it is released, so one whose next write runs in the very pass of its
//! release pipelines. It is taken for one that doesn't any more once it has
//! sent single writes for a while; longer, each time that this was wrong.
//!
//! Redis 7.0 runs what a released client has sent after the hook, where every
//! write needs an fsync of its own: there the host is asked, before a client
//! is blocked for the first times and now and then later, whether more of it
//! has arrived. So it happens only to the rest of a pipeline that came in
//! pieces, or from a client that hadn't pipelined for long. (The question
//! takes some microseconds, and elsewhere saves one fsync at most.) A whole
//! script among that rest would be split: that host doesn't tell when it ends,
//! so each of its writes is synced by itself, and a crash in between shows
//! half of it. So would be a transaction whose last write isn't known
//! ([`queued`](crate::queued)). So there nobody is blocked at all while
//! transactions or scripts write durable keys, and for some seconds after.
//!
//! When those that aren't blocked go on after an fsync is the
//! [`gate`](crate::gate)'s to say.
//!
//! A client that isn't blocked must have taken all that it was sent so far:
//! what waits to be sent would take its reply along in the middle of the pass.
//! The host is asked that for each such client once a pass, and for all that
//! wrote lately in one question, since each costs some microseconds.

use std::collections::BTreeMap;

/// So many passes with a single write make a client one that doesn't
/// pipeline, at first.
const FEW: u32 = 16;
/// And at most.
const MANY: u32 = 1 << 20;
/// So many sweeps without a transaction or script must have passed before
/// Redis 7.0 may block clients.
const CALM: u32 = 100;
/// Clients that haven't written for so many sweeps are forgotten.
const SWEEPS: u32 = 600;
/// Clients that wrote in so many passes are asked for together: those whose
/// next write comes while others' are made durable take turns.
const TURNS: usize = 3;
/// So many at most.
const TOGETHER: usize = 128;

/// How a write is to be served.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Its reply is held back.
    pub hold: bool,
    /// Whether it is time to ask the host whether more of its client has come.
    pub ask: bool,
    /// Whether it is the first of its client in this pass.
    pub first: bool,
}

/// What is known of a client.
#[derive(Debug)]
struct Client {
    /// It is served at the end of the pass.
    pipelines: bool,
    /// The pass of its last write, and how many there were in it.
    pass: u64,
    in_pass: u32,
    /// Passes with a single write, in a row, and how many it takes.
    single: u32,
    enough: u32,
    /// Writes whose reply was held back.
    held: u32,
    /// The pass of its last release.
    released: u64,
    /// Sweeps without a write.
    idle: u32,
    /// Whether it had still to take something, and as of which state.
    behind: (u64, bool),
    /// The pass in which it had, as a transaction or script of it wrote.
    unit_behind: u64,
}

/// All clients that write.
#[derive(Debug)]
pub struct Clients {
    by_id: BTreeMap<u64, Client>,
    /// The number of this pass.
    pass: u64,
    /// The number of this state: what has been sent to whom.
    state: u64,
    /// Who wrote in the latest passes and wasn't held back, newest first.
    latest: [Vec<u64>; TURNS],
    /// Sweeps since a transaction or script wrote durable keys.
    since_unit: u32,
    /// Who has still to take something in this pass, if the host was asked.
    all_behind: Option<Vec<u64>>,
    /// Whether one of them may have called the script that runs, and as of
    /// which state.
    caller_behind: (u64, bool),
}

impl Default for Clients {
    fn default() -> Self {
        Clients::new()
    }
}

impl Clients {
    /// None yet.
    pub const fn new() -> Self {
        Clients {
            by_id: BTreeMap::new(),
            pass: 1,
            state: 1,
            latest: [const { Vec::new() }; TURNS],
            since_unit: 0,
            all_behind: None,
            caller_behind: (0, false),
        }
    }

    /// A new pass of the event loop.
    pub fn next_pass(&mut self) {
        self.pass += 1;
        self.latest.rotate_right(1);
        self.latest[0].clear();
        self.others_were_served();
    }

    /// The host has sent something in the middle of the pass.
    pub fn others_were_served(&mut self) {
        self.all_behind = None;
        self.more_is_sent();
    }

    /// The host may have sent something since, or tried to: a new pass, or a
    /// script that may have been a long one, during which it does.
    pub fn more_is_sent(&mut self) {
        self.state += 1;
    }

    /// Whether this client has still to take something it was sent; `None` if
    /// the host must be asked.
    pub fn is_behind(&self, id: u64) -> Option<bool> {
        let (state, behind) = self.by_id.get(&id)?.behind;
        (state == self.state).then_some(behind)
    }

    /// Whom to ask the host for when it must be asked for this one.
    pub fn ask_for(&self, id: u64) -> Vec<u64> {
        let mut ids = vec![id];
        // Each where it wrote last.
        let others = self.latest.iter().zip(0..).flat_map(|(wrote, ago)| {
            let is_last = move |id: &&u64| {
                let client = self.by_id.get(id);
                client.is_some_and(|client| client.pass + ago == self.pass)
            };
            wrote.iter().filter(is_last).copied()
        });
        let unknown = others.filter(|&other| other != id && self.is_behind(other).is_none());
        ids.extend(unknown.take(TOGETHER - 1));
        ids
    }

    /// Notes whether this client had still to take something as a transaction
    /// or script of it wrote for the first time in this pass.
    pub fn note_unit(&mut self, id: u64, behind: bool) {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.unit_behind = if behind { self.pass } else { 0 };
        }
    }

    /// The same for what it writes later in the pass.
    pub fn is_unit_behind(&self, id: u64) -> bool {
        let client = self.by_id.get(&id);
        client.is_some_and(|client| client.unit_behind == self.pass)
    }

    /// Whether who called the script that runs, which the host doesn't say, may
    /// have still to take something. `ask` asks the host: about these clients,
    /// or about all; and gives those who have, each with whether a script may
    /// be its last command. It gives nothing if the host doesn't answer.
    pub fn is_caller_behind(
        &mut self,
        ask: impl FnOnce(Option<&[u64]>) -> Option<Vec<(u64, bool)>>,
    ) -> bool {
        if self.caller_behind.0 == self.state {
            return self.caller_behind.1;
        }
        let known = self.all_behind.as_deref();
        let behind = match known {
            // Nobody begins to be behind in the middle of a pass.
            Some([]) => false,
            _ => match ask(known) {
                None => true,
                Some(found) => {
                    let is_caller = found.iter().any(|(_, runs)| *runs);
                    self.all_behind = Some(found.into_iter().map(|(id, _)| id).collect());
                    is_caller
                }
            },
        };
        self.caller_behind = (self.state, behind);
        behind
    }

    /// What the host answered: whether this client has still to take something.
    pub fn note(&mut self, id: u64, behind: bool) {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.behind = (self.state, behind);
        }
    }

    /// Forgets clients that write no more; to be called some ten times a
    /// second.
    pub fn sweep(&mut self) {
        self.since_unit = self.since_unit.saturating_add(1);
        self.by_id.retain(|_, client| {
            client.idle += 1;
            client.idle <= SWEEPS
        });
    }

    /// A transaction or script has written durable keys.
    pub fn unit_wrote(&mut self) {
        self.since_unit = 0;
    }

    /// Whether none has for a while.
    pub fn is_calm(&self) -> bool {
        self.since_unit >= CALM
    }

    /// Notes a write, and says how to serve it; while nobody is to be held, by
    /// an fsync at the end of the pass.
    pub fn decide(&mut self, id: u64, nobody: bool) -> Service {
        let pass = self.pass;
        let client = self.by_id.entry(id).or_insert(Client {
            pipelines: false,
            pass: 0,
            in_pass: 0,
            single: 0,
            enough: FEW,
            held: 0,
            released: 0,
            idle: 0,
            behind: (0, false),
            unit_behind: 0,
        });
        client.idle = 0;
        if !client.pipelines && client.released == pass {
            client.pipelines = true;
            client.single = 0;
        }
        if client.pass == pass {
            client.in_pass += 1;
            client.single = 0;
        } else {
            if client.in_pass == 1 {
                client.single += 1;
            }
            (client.pass, client.in_pass) = (pass, 1);
        }
        if client.pipelines && client.single >= client.enough {
            client.pipelines = false;
            client.enough = (client.enough * 2).min(MANY);
        }
        let hold = !client.pipelines && !nobody;
        if !hold && client.in_pass == 1 {
            self.latest[0].push(id);
        }
        client.held = client.held.wrapping_add(u32::from(hold));
        Service {
            hold,
            ask: client.held <= 3 || client.held.is_multiple_of(64),
            first: client.in_pass == 1,
        }
    }

    /// Whether this client pipelines, and the fsync at the end of this pass
    /// serves it.
    pub fn goes_on(&self, id: u64) -> bool {
        let client = self.by_id.get(&id);
        client.is_some_and(|client| client.pipelines && client.pass == self.pass)
    }

    /// A client that was blocked goes on.
    pub fn release(&mut self, id: u64) {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.released = self.pass;
        }
    }

    /// More of this client has arrived than the command that runs.
    pub fn pipelines(&mut self, id: u64) {
        if let Some(client) = self.by_id.get_mut(&id) {
            client.pipelines = true;
            client.single = 0;
        }
    }
}

/// How long a command is as clients send it, in bytes. A routed one was
/// shorter; a few bytes more than its own then look like none.
pub fn length(args: &[&[u8]]) -> usize {
    let digits = |n: usize| n.checked_ilog10().unwrap_or(0) as usize + 1;
    let arg = |arg: &&[u8]| arg.len() + digits(arg.len()) + 5;
    args.iter().map(arg).sum::<usize>() + digits(args.len()) + 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_as_long_as_in_resp() {
        let sent = b"*3\r\n$3\r\nSET\r\n$10\r\n0123456789\r\n$0\r\n\r\n";
        assert_eq!(length(&[b"SET", b"0123456789", b""]), sent.len());
    }

    #[test]
    fn one_at_a_time_is_held() {
        let mut all = Clients::new();
        for _ in 0..100 {
            assert!(all.decide(7, false).hold);
            all.pass += 1;
            // Its release, and the reply.
            all.release(7);
            all.pass += 1;
        }
    }

    #[test]
    fn what_follows_a_release_in_its_pass_is_a_pipeline() {
        let mut all = Clients::new();
        assert!(all.decide(7, false).hold);
        all.pass += 1;
        all.release(7);
        for _ in 0..15 {
            assert!(!all.decide(7, false).hold);
        }
        // Another pipeline.
        all.pass += 1;
        assert!(!all.decide(7, false).hold);
        assert!(!all.decide(7, false).hold);
        // Somebody else.
        assert!(all.decide(8, false).hold);
    }

    #[test]
    fn single_writes_end_it_later_each_time() {
        let mut all = Clients::new();
        let mut turns = Vec::new();
        for _ in 0..3 {
            all.decide(7, false);
            all.pipelines(7);
            let mut turn = 0;
            loop {
                all.pass += 1;
                turn += 1;
                if all.decide(7, false).hold {
                    break;
                }
            }
            turns.push(turn);
        }
        assert!(turns[0] >= FEW && turns[1] > turns[0] && turns[2] > turns[1]);
    }

    #[test]
    fn while_nobody_is_to_be_held_one_question_serves_those_that_write() {
        let mut all = Clients::new();
        for id in 1..=3 {
            assert!(!all.decide(id, true).hold);
        }
        assert_eq!(all.is_behind(2), None);
        assert_eq!(all.ask_for(2), [2, 1, 3]);
        all.note(1, false);
        all.note(2, true);
        assert_eq!(all.is_behind(1), Some(false));
        assert_eq!(all.is_behind(2), Some(true));
        assert_eq!(all.ask_for(3), [3]);
        // Another pass: what was true isn't any more.
        all.next_pass();
        assert_eq!(all.is_behind(1), None);
        for id in [1, 3] {
            assert!(!all.decide(id, true).hold);
        }
        assert_eq!(all.ask_for(3), [3, 1, 2]);
        all.note(3, false);
        // A long script.
        all.more_is_sent();
        assert_eq!(all.is_behind(3), None);
        // Who hasn't written for some passes isn't asked for.
        for _ in 0..TURNS {
            all.next_pass();
        }
        assert_eq!(all.ask_for(3), [3]);
    }

    #[test]
    fn what_a_unit_found_counts_for_those_behind_it() {
        let mut all = Clients::new();
        all.decide(7, true);
        assert!(!all.is_unit_behind(7));
        all.note_unit(7, true);
        assert!(all.is_unit_behind(7) && !all.is_unit_behind(8));
        all.next_pass();
        assert!(!all.is_unit_behind(7));
    }

    #[test]
    fn one_question_about_all_serves_the_scripts_of_a_pass() {
        let mut all = Clients::new();
        let never = |_: Option<&[u64]>| panic!("asked");
        // Somebody is behind, but didn't call this script.
        assert!(!all.is_caller_behind(|ids| {
            assert_eq!(ids, None);
            Some(vec![(7, false)])
        }));
        assert!(!all.is_caller_behind(never));
        // The next one may be its.
        all.more_is_sent();
        assert!(all.is_caller_behind(|ids| {
            assert_eq!(ids, Some(&[7][..]));
            Some(vec![(7, true)])
        }));
        assert!(all.is_caller_behind(never));
        // It has taken all.
        all.more_is_sent();
        assert!(!all.is_caller_behind(|_| Some(vec![])));
        all.more_is_sent();
        assert!(!all.is_caller_behind(never));
        // A long script, a new pass.
        all.others_were_served();
        assert!(all.is_caller_behind(|ids| {
            assert_eq!(ids, None);
            None
        }));
        all.next_pass();
        assert!(!all.is_caller_behind(|_| Some(vec![])));
    }

    #[test]
    fn not_too_many_are_asked_for_at_once() {
        let mut all = Clients::new();
        for id in 0..1_000 {
            all.decide(id, true);
        }
        let asked = all.ask_for(500);
        assert_eq!((asked.len(), asked[0]), (TOGETHER, 500));
    }
}
