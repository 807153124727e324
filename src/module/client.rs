//! A client, as CLIENT LIST tells of it.

use std::ffi::{c_int, c_void};
use std::io::Write;
use std::mem::size_of;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

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

/// Whether [`ClientSocket::hold`] and [`ClientSocket::let_go`] do what they
/// say. Systems before Linux 4.18 may never tell of what came on a held socket,
/// so its client would wait for ever; there it may take 0.1 s to find out.
pub fn can_be_held() -> bool {
    try_to_hold().unwrap_or(false)
}

fn try_to_hold() -> std::io::Result<bool> {
    const LONG: c_int = 100;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, from) = listener.accept()?;
    if from != sender.local_addr()? {
        return Ok(false);
    }
    let socket = ClientSocket(receiver.as_raw_fd());
    let readable = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: 0,
    };
    // SAFETY: a new descriptor, which nobody else owns.
    let epoll = unsafe {
        match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
            -1 => return Err(std::io::Error::last_os_error()),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    let told = |ms: c_int| {
        let mut event = readable;
        // SAFETY: the system writes one event of ours.
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, ms) > 0 }
    };
    // SAFETY: two open descriptors and an event of ours.
    let added = unsafe {
        let mut event = readable;
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            socket.0,
            &raw mut event,
        )
    };
    if added != 0 {
        return Err(std::io::Error::last_os_error());
    }
    socket.hold();
    sender.write_all(b"x")?;
    for _ in 0..LONG {
        if socket.has_sent() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_held = socket.has_sent() && !told(0);
    socket.let_go();
    Ok(is_held && told(LONG))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_on_a_held_socket_is_told_of_later() {
        assert!(can_be_held());
    }

    #[test]
    fn what_is_no_socket_has_nothing_more_to_send() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let socket = ClientSocket(file.as_raw_fd());
        socket.hold();
        socket.let_go();
        assert!(socket.has_sent());
        assert!(ClientSocket(-1).has_sent());
    }

    #[test]
    fn a_line_is_read() {
        let line = b"id=7 addr=127.0.0.1:40506 laddr=127.0.0.1:6379 fd=12 name=fd=3 age=1 idle=0 flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=26 qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=1 omem=0 tot-mem=22298 events=rw cmd=evalsha user=default redir=-1 resp=2";
        let client = ClientState::read(line).unwrap();
        assert_eq!((client.id, client.socket), (7, ClientSocket(12)));
        assert_eq!((client.queued, client.arrived), (None, 26));
        assert!(client.is_answered && client.is_writing && client.runs_others);
        let (line, other) = (String::from_utf8_lossy(line), "oll=0");
        let line = line
            .replace("oll=1", other)
            .replace("events=rw cmd=evalsha", "events=r cmd=get");
        let client = ClientState::read(line.as_bytes()).unwrap();
        assert!(!client.is_answered && !client.is_writing && !client.runs_others);
        assert_eq!(ClientState::read(b""), None);
    }
}
