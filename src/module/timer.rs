//! A timer in the host's event loop that goes off wherever the host serves
//! sockets: also while a script runs for long or data are loaded, when the
//! host's own timers stand still, and whatever the I/O thread is busy with.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::time::Duration;

use redis_module::raw;

/// It goes off when it is set, and again and again until it is stopped.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// Not set. Calls `ring` each time that it goes off, on the event loop's
    /// thread. To be kept for ever: the host is never told to forget it.
    ///
    /// # Errors
    /// The system gives no timer, or the host doesn't take it.
    pub fn new(ring: fn()) -> io::Result<Self> {
        // SAFETY: a new descriptor, which nobody else owns.
        let timer = unsafe {
            let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
            match libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        // SAFETY: a descriptor of ours, a callback of the right type, and data
        // that is a function's address, which the callback makes one again.
        let added = unsafe {
            raw::RedisModule_EventLoopAdd.map(|add| {
                let mask = raw::REDISMODULE_EVENTLOOP_READABLE as c_int;
                add(timer.as_raw_fd(), mask, Some(rings), ring as *mut c_void)
            })
        };
        match added {
            Some(told) if told == raw::REDISMODULE_OK as c_int => Ok(Timer(timer)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// It goes off in `first`, and every `again` from then on. Zero is never.
    pub fn set(&self, first: Duration, again: Duration) {
        let spec = libc::itimerspec {
            it_interval: timespec(again),
            it_value: timespec(first),
        };
        // SAFETY: the system reads a structure of ours.
        unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const spec, null_mut()) };
    }

    /// It goes off no more.
    pub fn stop(&self) {
        self.set(Duration::ZERO, Duration::ZERO);
    }
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}

unsafe extern "C" fn rings(fd: c_int, ring: *mut c_void, _: c_int) {
    let mut times = [0u8; 8];
    // Or it would go off without end.
    // SAFETY: the system writes as many bytes of ours as it is told; `ring` is
    // the function that `Timer::new` was given.
    let ring = unsafe {
        libc::read(fd, times.as_mut_ptr().cast(), times.len());
        std::mem::transmute::<*mut c_void, fn()>(ring)
    };
    crate::guarded((), ring);
}
