//! Clients that wait for keys: first come, first served, for each key.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::command::Spec;
use crate::data::entry::Entry;
use crate::data::table::Table;
use crate::data::value::Kind;

/// A client's place in all queues it stands in; later ones are higher.
pub type Ticket = u64;

/// A client that waits.
#[derive(Debug)]
pub struct Client {
    /// Database.
    pub db: u32,
    /// The command that runs again when a key is ready.
    pub spec: &'static Spec,
    /// Its arguments, the name first.
    pub args: Vec<Box<[u8]>>,
    /// The kind of value it waits for.
    pub kind: Kind,
    /// The keys it waits for.
    pub keys: Vec<Box<[u8]>>,
    /// Monotonic time at which it gives up, in ms.
    pub deadline_ms: Option<u64>,
    /// Whether it speaks RESP3.
    pub resp3: bool,
    /// Whether it waits no longer than its key is of that kind.
    pub unless_gone: bool,
}

#[derive(Debug, Default)]
struct Queue {
    tickets: BTreeSet<Ticket>,
    /// How many of them wait no longer than the key is there.
    unless_gone: usize,
    /// Whether the key is among those that are ready.
    is_ready: bool,
}

/// All clients that wait, and the keys they may be served from.
#[derive(Debug, Default)]
pub struct Blocked {
    last: Ticket,
    clients: BTreeMap<Ticket, Arc<Client>>,
    queues: BTreeMap<u32, BTreeMap<Box<[u8]>, Queue>>,
    deadlines: BTreeSet<(u64, Ticket)>,
    /// In the order in which they became ready.
    ready: VecDeque<(u32, Box<[u8]>)>,
}

impl Blocked {
    /// Clients that wait.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Puts a client at the end of its keys' queues.
    pub fn add(&mut self, client: Client) -> Ticket {
        self.last += 1;
        let ticket = self.last;
        for key in &client.keys {
            let queues = self.queues.entry(client.db).or_default();
            let queue = queues.entry(key.clone()).or_default();
            if queue.tickets.insert(ticket) {
                queue.unless_gone += usize::from(client.unless_gone);
            }
        }
        if let Some(at) = client.deadline_ms {
            self.deadlines.insert((at, ticket));
        }
        self.clients.insert(ticket, Arc::new(client));
        ticket
    }

    /// Takes a client out: it was served, gave up, or is gone.
    pub fn remove(&mut self, ticket: Ticket) -> Option<Arc<Client>> {
        let client = self.clients.remove(&ticket)?;
        if let Some(at) = client.deadline_ms {
            self.deadlines.remove(&(at, ticket));
        }
        if let Some(queues) = self.queues.get_mut(&client.db) {
            for key in &client.keys {
                let is_empty = queues.get_mut(key).is_some_and(|queue| {
                    if queue.tickets.remove(&ticket) {
                        queue.unless_gone -= usize::from(client.unless_gone);
                    }
                    queue.tickets.is_empty()
                });
                if is_empty {
                    queues.remove(key);
                }
            }
            if queues.is_empty() {
                self.queues.remove(&client.db);
            }
        }
        Some(client)
    }

    /// A client that waits.
    pub fn get(&self, ticket: Ticket) -> Option<&Arc<Client>> {
        self.clients.get(&ticket)
    }

    /// `key` came to hold something.
    #[inline]
    pub fn key_ready(&mut self, db: u32, key: &[u8]) {
        if !self.clients.is_empty() {
            self.key_ready_for_somebody(db, key);
        }
    }

    fn key_ready_for_somebody(&mut self, db: u32, key: &[u8]) {
        let queue = self.queues.get_mut(&db).and_then(|q| q.get_mut(key));
        if let Some(queue) = queue
            && !std::mem::replace(&mut queue.is_ready, true)
        {
            self.ready.push_back((db, key.into()));
        }
    }

    /// A database holds other content now.
    pub fn database_replaced(&mut self, db: u32, before: &Table<Entry>, after: &Table<Entry>) {
        let Some(queues) = self.queues.get(&db) else {
            return;
        };
        let there = |table: &Table<Entry>, key: &[u8]| table.get(table.hash(key), key).is_some();
        let keys = queues.keys();
        let keys = keys.filter(|key| there(before, key) || there(after, key));
        let keys: Vec<Box<[u8]>> = keys.cloned().collect();
        for key in keys {
            self.key_ready(db, &key);
        }
    }

    /// Whether somebody may be served.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The key that became ready first; it may become so again from now on.
    pub fn next_ready(&mut self) -> Option<(u32, Box<[u8]>)> {
        let (db, key) = self.ready.pop_front()?;
        if let Some(queue) = self.queues.get_mut(&db).and_then(|q| q.get_mut(&key)) {
            queue.is_ready = false;
        }
        Some((db, key))
    }

    /// Who waits for `key` next behind `after` (0: the first).
    pub fn next_in_queue(&self, db: u32, key: &[u8], after: Ticket) -> Option<Ticket> {
        let queue = self.queues.get(&db)?.get(key)?;
        queue.tickets.range(after + 1..).next().copied()
    }

    /// Whether somebody in the queue of `key` is to be told that it is gone.
    pub fn concerns_gone(&self, db: u32, key: &[u8]) -> bool {
        let queue = self.queues.get(&db).and_then(|queues| queues.get(key));
        queue.is_some_and(|queue| queue.unless_gone > 0)
    }

    /// A client whose time is up.
    pub fn next_due(&self, now_ms: u64) -> Option<Ticket> {
        let (at, ticket) = self.deadlines.first()?;
        (*at <= now_ms).then_some(*ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    fn client(db: u32, keys: &[&str], deadline_ms: Option<u64>) -> Client {
        Client {
            db,
            spec: table::find(b"BLPOP").unwrap(),
            args: Vec::new(),
            kind: Kind::List,
            keys: keys.iter().map(|k| k.as_bytes().into()).collect(),
            deadline_ms,
            resp3: false,
            unless_gone: false,
        }
    }

    fn queue(blocked: &Blocked, db: u32, key: &str) -> Vec<Ticket> {
        let mut all = vec![];
        while let Some(next) =
            blocked.next_in_queue(db, key.as_bytes(), all.last().copied().unwrap_or(0))
        {
            all.push(next);
        }
        all
    }

    #[test]
    fn queues_are_first_come_first_served() {
        let mut blocked = Blocked::default();
        let a = blocked.add(client(0, &["x", "y", "x"], None));
        let b = blocked.add(client(0, &["y"], None));
        let c = blocked.add(client(1, &["y"], None));
        assert_eq!(queue(&blocked, 0, "x"), [a]);
        assert_eq!(queue(&blocked, 0, "y"), [a, b]);
        assert_eq!(queue(&blocked, 1, "y"), [c]);
        assert!(blocked.remove(a).is_some() && blocked.remove(a).is_none());
        let again = blocked.add(client(0, &["y"], None));
        assert_eq!(queue(&blocked, 0, "y"), [b, again]);
        for ticket in [b, c, again] {
            blocked.remove(ticket);
        }
        assert!(blocked.is_empty() && blocked.queues.is_empty());
    }

    #[test]
    fn keys_are_ready_once_in_order_and_only_for_somebody() {
        let mut blocked = Blocked::default();
        blocked.key_ready(0, b"x");
        assert!(!blocked.has_ready());
        let a = blocked.add(client(0, &["x", "y"], None));
        for key in [b"y", b"x", b"y", b"z"] {
            blocked.key_ready(0, key);
        }
        blocked.key_ready(1, b"x");
        assert_eq!(blocked.next_ready(), Some((0, b"y"[..].into())));
        blocked.key_ready(0, b"y");
        assert_eq!(blocked.next_ready(), Some((0, b"x"[..].into())));
        assert_eq!(blocked.next_ready(), Some((0, b"y"[..].into())));
        assert_eq!(blocked.next_ready(), None);
        // Ready, and then nobody waits any more.
        blocked.key_ready(0, b"x");
        blocked.remove(a);
        assert_eq!(blocked.next_ready(), Some((0, b"x"[..].into())));
        assert_eq!(blocked.next_in_queue(0, b"x", 0), None);
    }

    #[test]
    fn deadlines_come_in_order_and_go_with_their_client() {
        let mut blocked = Blocked::default();
        let late = blocked.add(client(0, &["x"], Some(200)));
        let soon = blocked.add(client(0, &["x"], Some(100)));
        let gone = blocked.add(client(0, &["x"], Some(50)));
        blocked.add(client(0, &["x"], None));
        blocked.remove(gone);
        assert_eq!(blocked.next_due(99), None);
        assert_eq!(blocked.next_due(100), Some(soon));
        blocked.remove(soon);
        assert_eq!(blocked.next_due(199), None);
        assert_eq!(blocked.next_due(1000), Some(late));
    }
}
