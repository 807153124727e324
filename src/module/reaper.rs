//! The thread that frees what takes long to free.

use std::sync::mpsc::{Sender, channel};

use persist_engine::keyspace::keys::Garbage;

use crate::executor::spawn;

/// Frees garbage elsewhere.
pub struct Reaper(Sender<Garbage>);

impl Reaper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let (heap, rest) = channel::<Garbage>();
        spawn("persist-free", move || rest.into_iter().for_each(drop))?;
        Ok(Reaper(heap))
    }

    /// Takes something to free.
    pub fn take(&self, garbage: Garbage) {
        // Without the thread it is freed here.
        drop(self.0.send(garbage));
    }
}
