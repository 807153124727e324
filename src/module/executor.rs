//! The thread that does what must not hold up the event loop.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use persist_engine::base::panic::unquoted;
use persist_engine::host::JobPanicked;
use persist_engine::persist::executor::{Done, Executor, Job};
use persist_engine::persist::online::Task;
use persist_engine::persist::watchdog::Watchdog;
use redis_module::raw;

use crate::ffi::host;

/// What the thread is told.
enum Work {
    Job(Job),
    /// To wake the event loop then, or at the end of the job that runs then.
    WakeAt(Instant),
    /// To look at this, between jobs.
    Watch(Arc<Watchdog>),
}

/// What the thread waits for.
struct Inbox {
    queue: Receiver<Work>,
    /// When to wake the event loop.
    wake_at: BTreeSet<Instant>,
    /// What to look at, and when.
    watched: Option<(Instant, Arc<Watchdog>)>,
}

/// Runs jobs on one thread, in order, and wakes the event loop after each.
pub struct IoThread {
    jobs: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    ends: Receiver<Done>,
    in_flight: usize,
}

impl IoThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let (results, ends) = channel();
        let thread = spawn("persist-io", move || {
            let mut inbox = Inbox {
                queue,
                wake_at: BTreeSet::new(),
                watched: None,
            };
            while let Some(job) = inbox.next_job() {
                let end = catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| {
                    Box::new(JobPanicked(unquoted(crate::panic_text(&*panic)).to_owned()))
                });
                if results.send(end).is_err() {
                    return;
                }
                inbox.wakes_now();
                wake();
            }
        })?;
        Ok(IoThread {
            jobs: Some(jobs),
            thread: Some(thread),
            ends,
            in_flight: 0,
        })
    }

    fn taken(&mut self, end: Option<Done>) -> Option<Done> {
        if end.is_some() {
            self.in_flight -= 1;
        }
        end
    }
}

impl Inbox {
    /// Waits for the next job; `None` when there will be none. Does what is
    /// due meanwhile.
    fn next_job(&mut self) -> Option<Job> {
        loop {
            let look_at = self.watched.as_ref().map(|(at, _)| *at);
            let due = self
                .wake_at
                .first()
                .copied()
                .into_iter()
                .chain(look_at)
                .min();
            let work = match due {
                None => Some(self.queue.recv().ok()?),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    match self.queue.recv_timeout(left) {
                        Ok(work) => Some(work),
                        Err(RecvTimeoutError::Disconnected) => return None,
                        Err(RecvTimeoutError::Timeout) => None,
                    }
                }
            };
            match work {
                Some(Work::Job(job)) => {
                    return Some(job);
                }
                Some(Work::WakeAt(at)) => {
                    self.wake_at.insert(at);
                }
                Some(Work::Watch(watchdog)) => self.watched = Some((Instant::now(), watchdog)),
                None => self.timed_out(),
            }
        }
    }

    /// The event loop is being woken: whether it was to be by now. What is to
    /// come stays: who waits for that doesn't ask again, whatever turns the
    /// event loop before.
    fn wakes_now(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.wake_at.first().is_some_and(|at| *at <= now);
        if is_due {
            self.wake_at.retain(|at| *at > now);
        }
        is_due
    }

    fn timed_out(&mut self) {
        let now = Instant::now();
        if self.wakes_now() {
            wake();
        }
        if let Some((at, watchdog)) = &mut self.watched
            && *at <= now
        {
            // The event loop finds out if it panicked.
            let again = catch_unwind(AssertUnwindSafe(|| watchdog.look()));
            match again.unwrap_or(None) {
                Some(us) => *at = Instant::now() + Duration::from_micros(us),
                None => self.watched = None,
            }
        }
    }
}

/// When the module fails to start, its code is unmapped after this: the
/// thread must be gone by then.
impl Drop for IoThread {
    fn drop(&mut self) {
        self.jobs = None;
        join(&mut self.thread);
    }
}

/// Waits for the end of a thread that was told to end.
pub fn join(thread: &mut Option<JoinHandle<()>>) {
    if let Some(thread) = thread.take() {
        // What it panicked with was logged.
        let _ = thread.join();
    }
}

impl Executor for IoThread {
    fn submit(&mut self, job: Job) {
        // The thread ends only after this sender.
        if let Some(jobs) = &self.jobs
            && jobs.send(Work::Job(job)).is_ok()
        {
            self.in_flight += 1;
        }
    }
    fn poll(&mut self) -> Option<Done> {
        if self.in_flight == 0 {
            return None;
        }
        let end = self.ends.try_recv().ok();
        self.taken(end)
    }
    fn wait(&mut self) -> Option<Done> {
        if self.in_flight == 0 {
            return None;
        }
        let end = self.ends.recv().ok();
        self.taken(end)
    }
    fn in_flight(&self) -> usize {
        self.in_flight
    }
    fn wake_in(&mut self, us: u64) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after this sender.
            let _ = jobs.send(Work::WakeAt(Instant::now() + Duration::from_micros(us)));
        }
    }
    fn watch(&mut self, watchdog: Arc<Watchdog>) {
        if let Some(jobs) = &self.jobs {
            // As above.
            let _ = jobs.send(Work::Watch(watchdog));
        }
    }
}

/// Runs a verification on a thread of its own, beside the one for the log.
/// Nobody waits for it: the module is never unloaded once it has started.
pub fn detach(name: &str, task: Task) {
    let task = Arc::new(task);
    let its = task.clone();
    let started = spawn(name, move || {
        // SAFETY: touches no memory. On Linux 0 is the calling thread: what
        // it reads is never worth a client's waiting.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| its.run())) {
            its.failed(unquoted(crate::panic_text(&*panic)));
        }
        wake();
    });
    if let Err(e) = started {
        task.failed(&format!("the system gives no thread: {e}"));
    }
}

/// Whether the event loop was woken and hasn't noticed yet.
static WOKEN: AtomicBool = AtomicBool::new(false);

/// Makes the event loop turn soon, and so call the hook. May be called on
/// any thread.
fn wake() {
    if !WOKEN.swap(true, Ordering::AcqRel) {
        // SAFETY: the host allows this call on every thread; the callback
        // needs no data.
        unsafe {
            host!(RedisModule_EventLoopAddOneShot(Some(woken), null_mut()));
        }
    }
}

extern "C" fn woken(_: *mut c_void) {
    WOKEN.store(false, Ordering::Release);
    crate::guarded((), crate::events::work_ended);
}

/// Makes the event loop turn once more instead of sleeping. On its own thread.
pub fn turn_soon() {
    extern "C" fn nothing(_: *mut c_void) {}
    // SAFETY: a callback of the right type that needs no data.
    unsafe {
        host!(RedisModule_EventLoopAddOneShot(Some(nothing), null_mut()));
    }
}

/// Starts a thread that leaves signals to the server's main thread, but for
/// those that tell of its own faults.
///
/// # Errors
/// The system gives no thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    // SAFETY: sets of signals on this stack; the thread inherits the mask,
    // and this thread gets its own back.
    unsafe {
        let (mut all, mut before) = std::mem::zeroed::<(libc::sigset_t, libc::sigset_t)>();
        libc::sigfillset(&raw mut all);
        for fault in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGABRT,
        ] {
            libc::sigdelset(&raw mut all, fault);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let started = thread::Builder::new().name(name.into()).spawn(work);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, null_mut());
        started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever asked for it doesn't ask again.
    #[test]
    fn a_job_in_between_takes_no_waking_away() {
        let (work, queue) = channel();
        let mut inbox = Inbox {
            queue,
            wake_at: BTreeSet::new(),
            watched: None,
        };
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        for at in [now, later] {
            work.send(Work::WakeAt(at)).unwrap();
        }
        work.send(Work::Job(Box::new(|| Box::new(())))).unwrap();
        assert!(inbox.next_job().is_some());
        // Its end wakes the event loop, once for it and for what is due.
        assert!(inbox.wakes_now());
        assert_eq!(inbox.wake_at.first(), Some(&later));
        assert!(!inbox.wakes_now());
    }
}
