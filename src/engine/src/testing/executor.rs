//! The I/O thread in a test's hands: a job can be held up in the middle of each
//! of its fsyncs while the event loop goes on.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::io::pause;
use crate::persist::executor::{Done, Executor, Job};
use crate::persist::watchdog::Watchdog;

/// The I/O thread, which a test can hold up.
#[derive(Clone, Default)]
pub struct SharedExecutor(pub Arc<Mutex<PacedExecutor>>);

impl Executor for SharedExecutor {
    fn submit(&mut self, job: Job) {
        self.0.lock().unwrap().submit(job);
    }
    fn poll(&mut self) -> Option<Done> {
        self.0.lock().unwrap().poll()
    }
    fn wait(&mut self) -> Option<Done> {
        self.0.lock().unwrap().wait()
    }
    fn watch(&mut self, watchdog: Arc<Watchdog>) {
        self.0.lock().unwrap().watch(watchdog);
    }
    fn in_flight(&self) -> usize {
        self.0.lock().unwrap().in_flight()
    }
}

/// Runs each job when its end is asked for; or, paced, only as far as it is
/// told to. A paced job has a thread of its own, but of that and the test's
/// only one runs at any time, so everything is the same every time.
#[derive(Default)]
pub struct PacedExecutor {
    /// While set, `poll` finds nothing new: the disk is busy.
    pub stalled: bool,
    /// Whether jobs go on only by [`PacedExecutor::advance`], or when
    /// somebody waits for them.
    pub paced: bool,
    /// What the thread would look at between jobs.
    pub watchdog: Option<Arc<Watchdog>>,
    queue: VecDeque<Job>,
    running: Option<Running>,
    ends: VecDeque<Done>,
}

/// A job in the middle of an fsync.
struct Running {
    go_on: Sender<()>,
    told: Receiver<Told>,
    thread: JoinHandle<()>,
}

enum Told {
    Paused,
    Ended(Done),
}

/// What a job's thread ends with whose test is over.
struct Abandoned;

impl PacedExecutor {
    /// Lets the oldest job go on to the middle of its next fsync, or to its
    /// end. `false` when there is none.
    pub fn advance(&mut self) -> bool {
        let running = match (self.running.take(), self.queue.pop_front()) {
            (Some(running), next) => {
                if let Some(next) = next {
                    self.queue.push_front(next);
                }
                // If it is gone, that is told below.
                let _ = running.go_on.send(());
                running
            }
            (None, Some(job)) => Running::start(job),
            (None, None) => return false,
        };
        match running.told.recv() {
            Ok(Told::Paused) => self.running = Some(running),
            Ok(Told::Ended(done)) => self.ends.push_back(done),
            Err(_) => {
                if let Err(panic) = running.thread.join() {
                    resume_unwind(panic);
                }
            }
        }
        true
    }

    /// Whether a job is in the middle of an fsync.
    pub fn is_in_fsync(&self) -> bool {
        self.running.is_some()
    }
}

impl Running {
    fn start(job: Job) -> Running {
        let (go_on, resume) = channel();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let teller = tell.clone();
            pause::on_this_thread(move || {
                if teller.send(Told::Paused).is_err() || resume.recv().is_err() {
                    resume_unwind(Box::new(Abandoned));
                }
            });
            let _ = tell.send(Told::Ended(job()));
        });
        Running {
            go_on,
            told,
            thread,
        }
    }
}

impl Executor for PacedExecutor {
    fn submit(&mut self, job: Job) {
        self.queue.push_back(job);
    }
    fn poll(&mut self) -> Option<Done> {
        if self.stalled || self.paced {
            return self.ends.pop_front();
        }
        self.wait()
    }
    fn wait(&mut self) -> Option<Done> {
        while self.ends.is_empty() {
            if self.running.is_some() || self.paced {
                if !self.advance() {
                    return None;
                }
            } else {
                let job = self.queue.pop_front()?;
                return Some(job());
            }
        }
        self.ends.pop_front()
    }
    fn watch(&mut self, watchdog: Arc<Watchdog>) {
        self.watchdog = Some(watchdog);
    }
    fn in_flight(&self) -> usize {
        self.queue.len() + usize::from(self.running.is_some()) + self.ends.len()
    }
}
