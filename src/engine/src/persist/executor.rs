//! Work that must not hold up the event loop, done one after the other.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use super::watchdog::Watchdog;

/// What a job gives back to the event loop.
pub type Done = Box<dyn Any + Send>;

/// Work for the I/O thread.
pub type Job = Box<dyn FnOnce() -> Done + Send>;

/// Runs jobs strictly in the order they were submitted, one at a time. All
/// writes, syncs, renames and unlinks that aren't done by the event loop
/// itself go through one of these, so their order is the order of submission.
pub trait Executor {
    /// Queues a job.
    fn submit(&mut self, job: Job);
    /// The next finished job, in order, if there is one.
    fn poll(&mut self) -> Option<Done>;
    /// Waits for the next finished job; `None` when none is under way.
    fn wait(&mut self) -> Option<Done>;
    /// Jobs submitted whose end nobody has taken yet.
    fn in_flight(&self) -> usize;
    /// Wakes the event loop after so many us, or at the end of the job that runs
    /// then.
    /// Where passes come anyway there is nothing to do.
    fn wake_in(&mut self, _us: u64) {}
    /// Has the thread look at `watchdog`, between jobs, as often as that says.
    fn watch(&mut self, _watchdog: Arc<Watchdog>) {}
}

/// Runs each job when its end is asked for: what tests use, and one thread
/// does nearly the same.
#[derive(Default)]
pub struct InlineExecutor {
    jobs: VecDeque<Job>,
    /// While set, `poll` finds nothing: the disk is busy.
    pub stalled: bool,
}

impl Executor for InlineExecutor {
    fn submit(&mut self, job: Job) {
        self.jobs.push_back(job);
    }
    fn poll(&mut self) -> Option<Done> {
        if self.stalled {
            return None;
        }
        self.wait()
    }
    fn wait(&mut self) -> Option<Done> {
        self.jobs.pop_front().map(|job| job())
    }
    fn in_flight(&self) -> usize {
        self.jobs.len()
    }
}
