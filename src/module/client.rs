//! A client, as CLIENT LIST tells of it.

use std::ffi::{c_int, c_void};
use std::mem::size_of;

/// The commands during which others run in a client's name.
pub const RUNNERS: [&[u8]; 7] = [
    b"eval",
    b"evalsha",
    b"eval_ro",
    b"evalsha_ro",
    b"fcall",
    b"fcall_ro",
    b"exec",
];

/// What a line of CLIENT LIST tells.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientState {
    /// Whose line it is.
    pub id: u64,
    /// What it sends on.
    pub socket: ClientSocket,
    /// How many commands of its transaction are queued; `None` is not in one.
    pub queued: Option<u64>,
    /// Bytes that have arrived from it, those of the command that runs and of
    /// the ones before it in the same piece included.
    pub arrived: usize,
    /// It hasn't taken all that it was sent, so it is sent more whenever it
    /// can take it, in the middle of a pass, too.
    pub is_writing: bool,
    /// Some reply hasn't left yet.
    pub is_answered: bool,
    /// Its last command, or the one that runs, is one of [`RUNNERS`].
    pub runs_others: bool,
}

impl ClientState {
    /// Reads a line; `None` for what is no such line.
    pub fn read(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|b| *b == b' ');
        // The host prints them in this order.
        let mut field = |name: &[u8]| words.find_map(|word| word.strip_prefix(name));
        let number = |text: Option<&[u8]>| std::str::from_utf8(text?).ok()?.parse::<u64>().ok();
        Some(ClientState {
            id: number(field(b"id="))?,
            socket: ClientSocket(c_int::try_from(number(field(b"fd="))?).ok()?),
            queued: number(field(b"multi=")),
            arrived: usize::try_from(number(field(b"qbuf="))?).ok()?,
            is_answered: [field(b"obl="), field(b"oll=")]
                .into_iter()
                .any(|n| n.is_some_and(|n| n != b"0")),
            is_writing: field(b"events=")?.contains(&b'w'),
            runs_others: RUNNERS.contains(&field(b"cmd=")?),
        })
    }
}

/// The socket of a client that the host has told of. Another client may have it
/// since, once the pass is over.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct ClientSocket(c_int);

/// What comes on a socket that is held stays unread as long as it is less, in
/// bytes. With more than half of the system's usual receive buffer (128 KiB) the
/// system would make that larger, for good.
const HELD: c_int = 32 * 1024;

impl ClientSocket {
    /// Nothing is sent on it from now on, whoever tries. The host closes it
    /// when it finds that out.
    pub fn shut_down(self) {
        // SAFETY: shutdown(2) touches no memory of ours. Sockets of clients
        // are closed by the main thread alone, which this is.
        unsafe { libc::shutdown(self.0, libc::SHUT_RDWR) };
    }

    /// The system doesn't tell the host of what comes on it, unless it is a
    /// lot, or the end. What isn't a socket any more is left alone.
    pub fn hold(self) {
        self.tell_from(HELD);
    }

    /// The system tells the host of all that has come and will come on it.
    pub fn let_go(self) {
        self.tell_from(1);
    }

    fn tell_from(self, bytes: c_int) {
        // SAFETY: setsockopt(2) reads one number of ours.
        unsafe {
            libc::setsockopt(
                self.0,
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                (&raw const bytes).cast::<c_void>(),
                size_of::<c_int>() as libc::socklen_t,
            );
        }
    }

    /// Whether something has come on it that nobody has read; or nothing is
    /// going to, since it is no socket any more.
    pub fn has_sent(self) -> bool {
        let mut bytes: c_int = 0;
        // SAFETY: FIONREAD writes one number of ours.
        let told = unsafe { libc::ioctl(self.0, libc::FIONREAD, &raw mut bytes) };
        told != 0 || bytes > 0
    }
}
