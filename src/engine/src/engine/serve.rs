//! Commands that wait, and clients that are served.

use std::sync::Arc;

use super::{Call, Engine};
use crate::blocked::{Client, Ticket};
use crate::command::tape::Tape;
use crate::command::wait::Waiter;
use crate::command::{CommandError, Flags, Reply, Spec};
use crate::data::entry::Entry;
use crate::host::Host;

const GONE: CommandError = CommandError::text("UNBLOCKED the stream key no longer exists");

/// A client that no longer waits, and what it is to be told.
#[derive(Debug)]
pub struct Served {
    /// Which one.
    pub ticket: Ticket,
    /// The reply; `None` says that its time is up.
    pub reply: Result<Option<Tape>, CommandError>,
}

impl Engine {
    /// Runs a blocking command of a client that can wait, outside of
    /// transactions. `Some`: nothing was replied, the client waits under
    /// this ticket.
    ///
    /// # Errors
    /// What the client is told; nothing was replied then.
    pub fn execute_or_wait(
        &mut self,
        host: &mut dyn Host,
        spec: &'static Spec,
        args: &[&[u8]],
        call: Call,
        reply: &mut dyn Reply,
    ) -> Result<Option<Ticket>, CommandError> {
        if spec.flags.has(Flags::WRITE) {
            self.persist.may_write()?;
            self.has_room(spec)?;
        }
        let mut waiter = Waiter::default();
        self.run(host, spec, args, call, reply, Some(&mut waiter))?;
        let Some(wish) = waiter.wish else {
            return Ok(None);
        };
        let now_ms = self.clock.monotonic_us() / 1000;
        Ok(Some(self.blocked.add(Client {
            db: call.db,
            spec,
            args: match wish.then {
                Some(args) => args,
                None => args.iter().map(|&arg| arg.into()).collect(),
            },
            kind: wish.kind,
            keys: wish.keys,
            deadline_ms: wish.timeout_ms.map(|ms| now_ms.saturating_add(ms)),
            resp3: reply.is_resp3(),
            unless_gone: wish.unless_gone,
        })))
    }

    /// Whether somebody waits for a key that was filled. To be served at the
    /// end of the execution unit that filled it.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.blocked.has_ready()
    }

    /// Serves those who wait for keys that were filled, in the order in which
    /// keys were filled, and for each key in the order in which clients came.
    /// What one of them pushes may serve the next. Never inside of a
    /// transaction or script.
    pub fn serve(&mut self, host: &mut dyn Host, out: &mut dyn FnMut(Served)) {
        while let Some((db, key)) = self.blocked.next_ready() {
            let mut last = 0;
            while let Some(ticket) = self.blocked.next_in_queue(db, &key, last) {
                last = ticket;
                let Some(client) = self.blocked.get(ticket).map(Arc::clone) else {
                    continue;
                };
                let kind = self.space.peek(db, &key).map(Entry::kind);
                // Those in front have taken all of it.
                if kind.is_none() && !self.blocked.concerns_gone(db, &key) {
                    break;
                }
                if kind != Some(client.kind) {
                    if client.unless_gone {
                        self.blocked.remove(ticket);
                        let reply = Err(GONE);
                        out(Served { ticket, reply });
                    }
                    continue;
                }
                if let Some(reply) = self.serve_one(host, &client, &key) {
                    self.blocked.remove(ticket);
                    out(Served { ticket, reply });
                }
            }
        }
    }

    /// Runs a client's command again, on the key that is ready; `None` when
    /// it has to go on waiting.
    fn serve_one(
        &mut self,
        host: &mut dyn Host,
        client: &Client,
        key: &[u8],
    ) -> Option<Result<Option<Tape>, CommandError>> {
        let args: Vec<&[u8]> = client.args.iter().map(|arg| &**arg).collect();
        let mut tape = Tape::new(client.resp3);
        let mut waiter = Waiter {
            ready: Some(key.into()),
            wish: None,
        };
        let call = Call {
            db: client.db,
            held: self.persist.holds(),
            ..Call::default()
        };
        let may_write = if client.spec.flags.has(Flags::WRITE) {
            self.persist.may_write()
        } else {
            Ok(())
        };
        let result = may_write.and_then(|()| {
            let waiter = Some(&mut waiter);
            self.run(host, client.spec, &args, call, &mut tape, waiter)
        });
        match result {
            Ok(()) if waiter.wish.is_some() => None,
            Ok(()) => Some(Ok(Some(tape))),
            Err(error) => Some(Err(error)),
        }
    }

    /// Ends the wait of those whose time is up.
    pub fn time_out(&mut self, out: &mut dyn FnMut(Served)) {
        if self.blocked.is_empty() {
            return;
        }
        let now_ms = self.clock.monotonic_us() / 1000;
        while let Some(ticket) = self.blocked.next_due(now_ms) {
            self.blocked.remove(ticket);
            out(Served {
                ticket,
                reply: Ok(None),
            });
        }
    }

    /// A client waits no more: it is gone, or was told so by somebody else.
    pub fn stop_waiting(&mut self, ticket: Ticket) {
        self.blocked.remove(ticket);
    }

    /// How many clients wait.
    pub fn waiting(&self) -> usize {
        self.blocked.len()
    }
}

#[cfg(test)]
mod tests;
