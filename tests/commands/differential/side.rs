//! One of the two servers: who asks it, and who hears of its events.

use persist_tools::raw::{RawClient, Resp};
use persist_tools::server::Server;
use persist_tools::{Error, Result};

/// Connections to one server.
pub(super) struct Side {
    pub(super) client: RawClient,
    pub(super) events: RawClient,
}

impl Side {
    pub(super) fn connect(server: &Server) -> Result<Self> {
        let mut events = server.raw()?;
        events.words("PSUBSCRIBE __keyevent@* marker")?;
        events.read()?;
        Ok(Self {
            client: server.raw()?,
            events,
        })
    }

    /// The events up to a marker.
    pub(super) fn collect(&mut self, events: &mut Vec<String>, marker: &str) -> Result<()> {
        loop {
            let items = self.events.read()?.into_items();
            let texts: Vec<String> = items.iter().filter_map(Resp::text).collect();
            let [_, _, channel, what] = texts.as_slice() else {
                return Err(Error::new(format!("no event: {texts:?}")));
            };
            if channel == "marker" {
                if what == marker {
                    return Ok(());
                }
            // When a due key is found depends on who looks first.
            } else if !channel.ends_with(":expired") {
                events.push(format!("{channel} {}", what.escape_debug()));
            }
        }
    }
}
