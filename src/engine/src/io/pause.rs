//! Where a simulated fsync lets others go on: between its start and its end.
//!
//! The simulated disks call [`here`] in the middle of each fsync, of files and
//! of folders. On most threads that does nothing. A simulator puts a hook on
//! the threads of its jobs, and so decides what happens meanwhile.

use std::cell::RefCell;

type Hook = Box<dyn FnMut()>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// The middle of an fsync.
pub fn here() {
    HOOK.with_borrow_mut(|hook| {
        if let Some(hook) = hook {
            hook();
        }
    });
}

/// From now on `hook` is called in the middle of each fsync of this thread.
/// It must not sync anything itself.
pub fn on_this_thread(hook: impl FnMut() + 'static) {
    HOOK.set(Some(Box::new(hook)));
}
