//! The thread that frees what takes long to free.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use persist_engine::keyspace::keys::Garbage;

use crate::executor::{join, spawn};

/// Frees garbage elsewhere.
pub struct Reaper {
    heap: Option<Sender<Garbage>>,
    thread: Option<JoinHandle<()>>,
}

impl Reaper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let (heap, rest) = channel::<Garbage>();
        let thread = spawn("persist-free", move || rest.into_iter().for_each(drop))?;
        Ok(Reaper {
            heap: Some(heap),
            thread: Some(thread),
        })
    }

    /// Takes something to free.
    pub fn take(&self, garbage: Garbage) {
        if let Some(heap) = &self.heap {
            // Without the thread it is freed here.
            drop(heap.send(garbage));
        }
    }
}

/// As for the other thread: it must be gone when the code is.
impl Drop for Reaper {
    fn drop(&mut self) {
        self.heap = None;
        join(&mut self.thread);
    }
}
