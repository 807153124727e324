/* Slows, fails, leaves out and traces the system calls that durability depends on, ends the server at one of them, and
 * shifts its clock. Preloaded into a redis-server by tests:
 *
 *     cc -shared -fPIC -O1 -o faults.so faults.c
 *     LD_PRELOAD=./faults.so TRACE_FILE=trace SLOW_FSYNC_MS=1500 redis-server ...
 *
 * SLOW_FSYNC_MS=n        each fsync and fdatasync takes n ms longer (the sleep comes first)
 * SLOW_PATH=text         only of files whose path contains text
 * SLOW_UNTIL=file        only while there is no such file: one that waits goes on when it is made
 * FAIL_FSYNC_AFTER=n     after n good ones, each fsync and fdatasync fails with EIO
 * FAIL_WRITE=errno       each write to a regular file fails with this errno (28 is ENOSPC)
 * FAIL_PATH=text         both only for files whose path contains text
 * SWALLOW="kind glob n"  the n-th (without n: each) call of this kind on a path that matches the glob returns 0 without
 *                        being made or traced, as if it weren't in the code. Kinds: fsync (and fdatasync, of a file),
 *                        dirsync (the same of a folder). Counted over the server and its children
 * KILL_AT=n              SIGKILL for the server just before its n-th call that changes a file, folder or name whose path
 *                        contains KILL_PATH; calls of its children count, too
 * KILL_PATH=text
 * KILL_TORN=1            when that call is a write, its first half is written
 * CLOCK_SHIFT_S=n        the real-time clock is n seconds ahead (or behind); the monotonic one is left alone
 * FAULT_CONTROL=file     read before each such call: lines slow_fsync_ms=n, fail_fsync=0|1, fail_write=errno, kill_at=n,
 *                        clock_shift_s=n (this one is looked at every few ms);
 *                        what the file names goes before the variables above, so that a test can switch a fault on and
 *                        off. kill_at counts from the moment when the file first names it
 * TRACE_FILE=file        one line for each finished call, fields separated by tabs:
 *                            begin_ns end_ns pid tid op result path data
 *                        times are CLOCK_MONOTONIC; result is -errno when the call failed; renames and links are
 *                        "old -> new"; data is the start of what was written, with \xNN for what is not printable, and
 *                        the permissions in octal that a file or folder was made with
 *                        Each fsync has a line "begin fsync" when it begins, too, and each write to a socket "begin
 *                        reply": who has read a reply finds that one, and knows that the other is still to come
 * TRACE_DATA=n           how many bytes of data (default 64, at most 16384)
 *
 * Traced: write pwrite writev pwritev (of regular files and sockets), send sendto sendmsg, fsync, fdatasync (a directory's
 * too), sync_file_range, rename renameat renameat2, link linkat, unlink unlinkat, open openat creat with O_CREAT,
 * ftruncate truncate, copy_file_range, mkdir mkdirat. Calls that libc makes inside itself, such as the writes of stdio, are not seen.
 *
 * Everything here goes through syscall(2), so nothing is traced twice. Only dlopen is passed on: Valkey loads modules so
 * that they look for libc's functions in libc first (RTLD_DEEPBIND), past every preloaded library, and none of the
 * module's calls would be seen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PATH_LEN 1024
#define DATA_LEN 16384

static int trace_fd = -1;
static long trace_data = 64;
static long slow_ms, fail_after = -1, fail_write_errno, syncs;
static const char *slow_path, *slow_until, *fail_path, *control, *kill_path;
static long kill_at, kill_torn, clock_shift_s;
static char swallow_kind[16], swallow_glob[256];
static long swallow_nth;
static pid_t server_pid;

/* What the server and its children count together. */
static struct shared { long kill_calls, swallow_calls; } *shared;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

/* A copy: redis-server overwrites its environment with its process title. */
static const char *text(const char *name) {
    const char *found = getenv(name);
    return found && *found ? strdup(found) : NULL;
}

__attribute__((constructor)) static void start(void) {
    slow_ms = number("SLOW_FSYNC_MS", 0);
    fail_after = number("FAIL_FSYNC_AFTER", -1);
    fail_write_errno = number("FAIL_WRITE", 0);
    trace_data = number("TRACE_DATA", 64);
    if (trace_data > DATA_LEN) trace_data = DATA_LEN;
    slow_path = text("SLOW_PATH");
    slow_until = text("SLOW_UNTIL");
    fail_path = text("FAIL_PATH");
    control = text("FAULT_CONTROL");
    kill_path = text("KILL_PATH");
    kill_at = number("KILL_AT", 0);
    kill_torn = number("KILL_TORN", 0);
    clock_shift_s = number("CLOCK_SHIFT_S", 0);
    server_pid = getpid();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) abort();
    const char *swallow = getenv("SWALLOW");
    if (swallow && *swallow && sscanf(swallow, "%15s %255s %ld", swallow_kind, swallow_glob, &swallow_nth) < 2) abort();
    const char *file = getenv("TRACE_FILE");
    if (file && *file) {
        int fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        /* Away from the low numbers, which the server hands to its clients. */
        if (fd >= 0) {
            trace_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
            if (trace_fd < 0) trace_fd = fd; else syscall(SYS_close, fd);
        }
    }
}

static long long now(void) {
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

enum kind { OTHER, REGULAR, SOCKET, DIRECTORY };

static enum kind kind_of(int fd) {
    struct stat s;
    if (fstat(fd, &s) != 0) return OTHER;
    if (S_ISREG(s.st_mode)) return REGULAR;
    if (S_ISSOCK(s.st_mode)) return SOCKET;
    if (S_ISDIR(s.st_mode)) return DIRECTORY;
    return OTHER;
}

static void path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_LEN - 1);
    path[n > 0 ? n : 0] = 0;
}

/* name, made absolute by the folder that it is relative to */
static void path_at(int dir, const char *name, char *path) {
    path[0] = 0;
    if (name[0] != '/') {
        if (dir == AT_FDCWD) {
            if (!getcwd(path, PATH_LEN)) path[0] = 0;
        } else {
            path_of(dir, path);
        }
        strncat(path, "/", PATH_LEN - strlen(path) - 1);
    }
    if (name[0] == '.' && name[1] == '/') name += 2;
    strncat(path, name, PATH_LEN - strlen(path) - 1);
}

/* One line in one append, so that threads and processes do not mix theirs. */
static void trace(long long begin, const char *op, long result, const char *path, const struct iovec *iov, int count) {
    if (trace_fd < 0) return;
    char line[4 * DATA_LEN + 2 * PATH_LEN + 256];
    int n = snprintf(line, 2 * PATH_LEN + 250, "%lld\t%lld\t%ld\t%ld\t%s\t%ld\t%s\t", begin, now(), (long)getpid(),
                     (long)syscall(SYS_gettid), op, result, path);
    if (n < 0 || n >= 2 * PATH_LEN + 250) n = 0;
    long left = result > 0 && result < trace_data ? result : trace_data;
    for (int i = 0; iov && i < count && left > 0; i++) {
        const unsigned char *data = iov[i].iov_base;
        for (size_t at = 0; at < iov[i].iov_len && left > 0; at++, left--) {
            unsigned char c = data[at];
            if (c >= 32 && c < 127 && c != '\\') line[n++] = c;
            else n += sprintf(line + n, "\\x%02x", c);
        }
    }
    line[n++] = '\n';
    int saved = errno;
    (void)!syscall(SYS_write, trace_fd, line, n);
    errno = saved;
}

/* What is made with which permissions, before any umask. */
static void trace_mode(long long begin, const char *op, long result, const char *path, mode_t mode) {
    char octal[16];
    struct iovec data = {octal, (size_t)snprintf(octal, sizeof octal, "%o", (unsigned)mode)};
    trace(begin, op, result < 0 ? result : 0, path, &data, 1);
}

static long outcome(long result) { return result < 0 ? -errno : result; }

static long from_control(const char *text, const char *name, long otherwise) {
    const char *at = strstr(text, name);
    return at ? atol(at + strlen(name)) : otherwise;
}

struct faults { long slow_ms, fail_fsync, fail_write, kill_at, clock_shift_s; };

static struct faults faults(void) {
    struct faults f = {slow_ms, -1, fail_write_errno, kill_at, clock_shift_s};
    if (!control) return f;
    int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return f;
    char text[256];
    ssize_t n = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    text[n > 0 ? n : 0] = 0;
    f.slow_ms = from_control(text, "slow_fsync_ms=", f.slow_ms);
    f.fail_fsync = from_control(text, "fail_fsync=", f.fail_fsync);
    f.fail_write = from_control(text, "fail_write=", f.fail_write);
    f.kill_at = from_control(text, "kill_at=", f.kill_at);
    f.clock_shift_s = from_control(text, "clock_shift_s=", f.clock_shift_s);
    return f;
}

/* How far the real-time clock is off. Servers ask for the time much more often than a file can be read. */
static long shift(void) {
    static long long looked_at;
    static long found;
    if (!control) return clock_shift_s;
    long long at = now(), last = __atomic_load_n(&looked_at, __ATOMIC_RELAXED);
    if ((last == 0 || at - last > 5000000) &&
        __atomic_compare_exchange_n(&looked_at, &last, at, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        int saved = errno;
        __atomic_store_n(&found, faults().clock_shift_s, __ATOMIC_RELAXED);
        errno = saved;
    }
    return __atomic_load_n(&found, __ATOMIC_RELAXED);
}

/* Each look at the clock is a system call now, as it isn't without us: built with -DREAL_CLOCK for measurements. */
#ifndef REAL_CLOCK
int clock_gettime(clockid_t clock, struct timespec *t) {
    int result = syscall(SYS_clock_gettime, clock, t);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) t->tv_sec += shift();
    return result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    int result = syscall(SYS_gettimeofday, t, zone);
    if (result == 0) t->tv_sec += shift();
    return result;
}

time_t time(time_t *to) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (to) *to = t.tv_sec;
    return t.tv_sec;
}
#endif

static int matches(const char *path, const char *wanted) { return !wanted || strstr(path, wanted) != NULL; }

/* Is this call, which changes what stands at this path, to be the server's last? */
static int is_last(const char *path) {
    if ((!kill_at && !control) || !matches(path, kill_path)) return 0;
    long at = faults().kill_at;
    return at > 0 && __atomic_add_fetch(&shared->kill_calls, 1, __ATOMIC_SEQ_CST) == at;
}

static void end(void) {
    kill(server_pid, SIGKILL);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int swallowed(const char *kind, const char *path) {
    if (strcmp(kind, swallow_kind) != 0 || fnmatch(swallow_glob, path, 0) != 0) return 0;
    long n = __atomic_add_fetch(&shared->swallow_calls, 1, __ATOMIC_SEQ_CST);
    return swallow_nth == 0 || n == swallow_nth;
}

static void slow_down(long ms) {
    long piece = slow_until ? 5 : ms;
    for (long slept = 0; slept < ms; slept += piece) {
        if (slow_until && syscall(SYS_faccessat, AT_FDCWD, slow_until, F_OK) == 0) return;
        struct timespec t = {piece / 1000, piece % 1000 * 1000000};
        while (nanosleep(&t, &t) != 0 && errno == EINTR) {}
    }
}

static int sync_fd(const char *op, long call, int fd) {
    char path[PATH_LEN];
    path_of(fd, path);
    if (swallow_kind[0] && swallowed(kind_of(fd) == DIRECTORY ? "dirsync" : "fsync", path)) return 0;
    if (is_last(path)) end();
    struct faults f = faults();
    long long begin = now();
    trace(begin, "begin fsync", 0, path, NULL, 0);
    if (f.slow_ms > 0 && matches(path, slow_path)) {
        slow_down(f.slow_ms);
    }
    int fail = 0;
    if (matches(path, fail_path)) {
        if (f.fail_fsync >= 0) fail = f.fail_fsync != 0;
        else if (fail_after >= 0) fail = __atomic_fetch_add(&syncs, 1, __ATOMIC_SEQ_CST) >= fail_after;
    }
    int result = -1;
    if (fail) errno = EIO;
    else result = syscall(call, fd);
    int saved = errno;
    trace(begin, op, outcome(result), path, NULL, 0);
    errno = saved;
    return result;
}

int fsync(int fd) { return sync_fd("fsync", SYS_fsync, fd); }
int fdatasync(int fd) { return sync_fd("fdatasync", SYS_fdatasync, fd); }

/* What all writes share. */
struct writing { int seen, fail, last; long long begin; char path[PATH_LEN]; };

static void before_write(struct writing *w, int fd) {
    w->seen = 0;
    w->fail = 0;
    w->last = 0;
    if (trace_fd < 0 && !fail_write_errno && !control && !kill_at) return;
    int saved = errno;
    enum kind kind = kind_of(fd);
    if (kind == REGULAR || kind == SOCKET) {
        w->seen = 1;
        path_of(fd, w->path);
        if (kind == REGULAR && matches(w->path, fail_path)) w->fail = faults().fail_write;
        if (kind == REGULAR) w->last = is_last(w->path);
    }
    w->begin = now();
    if (kind == SOCKET) trace(w->begin, "begin reply", 0, w->path, NULL, 0);
    errno = saved;
}

static ssize_t after_write(struct writing *w, const char *op, ssize_t result, const struct iovec *iov, int count) {
    if (w->seen) {
        int saved = errno;
        trace(w->begin, op, outcome(result), w->path, iov, count);
        errno = saved;
    }
    return result;
}

static void torn_end(int fd, const struct iovec *iov, int count) {
    if (kill_torn && iov && count > 0) (void)!syscall(SYS_write, fd, iov[0].iov_base, iov[0].iov_len / 2);
    end();
}

#define WRITING(op, fd, call, iov, count)                                         \
    struct writing w;                                                             \
    before_write(&w, fd);                                                         \
    ssize_t result = -1;                                                          \
    if (w.last) torn_end(fd, iov, count);                                         \
    if (w.fail) errno = w.fail;                                                   \
    else result = (call);                                                         \
    return after_write(&w, op, result, iov, count)

ssize_t write(int fd, const void *data, size_t n) {
    struct iovec one = {(void *)data, n};
    WRITING("write", fd, syscall(SYS_write, fd, data, n), &one, 1);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    struct iovec one = {(void *)data, n};
    WRITING("pwrite", fd, syscall(SYS_pwrite64, fd, data, n, at), &one, 1);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return pwrite64(fd, data, n, at); }

ssize_t writev(int fd, const struct iovec *iov, int count) {
    WRITING("writev", fd, syscall(SYS_writev, fd, iov, count), iov, count);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t at) {
    WRITING("pwritev", fd, syscall(SYS_pwritev, fd, iov, count, (long)at, (long)((unsigned long long)at >> 32)), iov,
            count);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at) { return pwritev64(fd, iov, count, at); }

ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *to, socklen_t len) {
    struct iovec one = {(void *)data, n};
    WRITING("send", fd, syscall(SYS_sendto, fd, data, n, flags, to, len), &one, 1);
}

ssize_t send(int fd, const void *data, size_t n, int flags) { return sendto(fd, data, n, flags, NULL, 0); }

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    WRITING("sendmsg", fd, syscall(SYS_sendmsg, fd, message, flags), message->msg_iov, (int)message->msg_iovlen);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
    WRITING("copy_file_range", out, syscall(SYS_copy_file_range, in, from, out, to, n, flags), NULL, 0);
}

/* Calls on an open file. */
#define ON_FD(op, fd, call)                                                       \
    char path[PATH_LEN];                                                          \
    path_of(fd, path);                                                            \
    if (is_last(path)) end();                                                     \
    long long begin = now();                                                      \
    int result = (call);                                                          \
    int saved = errno;                                                            \
    if (trace_fd >= 0) trace(begin, op, outcome(result), path, NULL, 0);          \
    errno = saved;                                                                \
    return result

int ftruncate64(int fd, off64_t len) { ON_FD("ftruncate", fd, syscall(SYS_ftruncate, fd, len)); }
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }
int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags) {
    ON_FD("sync_file_range", fd, syscall(SYS_sync_file_range, fd, at, n, flags));
}

/* Calls on one name, and on two. */
#define ON_NAME(op, dir, name, call)                                              \
    char path[PATH_LEN];                                                          \
    path_at(dir, name, path);                                                     \
    if (is_last(path)) end();                                                     \
    long long begin = now();                                                      \
    int result = (call);                                                          \
    int saved = errno;                                                            \
    if (trace_fd >= 0) trace(begin, op, outcome(result), path, NULL, 0);          \
    errno = saved;                                                                \
    return result

#define ON_NAMES(op, dir1, old, dir2, new, call)                                  \
    char path[2 * PATH_LEN + 8], second[PATH_LEN];                                \
    path_at(dir1, old, path);                                                     \
    path_at(dir2, new, second);                                                   \
    strcat(path, " -> ");                                                         \
    strcat(path, second);                                                         \
    if (is_last(path)) end();                                                     \
    long long begin = now();                                                      \
    int result = (call);                                                          \
    int saved = errno;                                                            \
    if (trace_fd >= 0) trace(begin, op, outcome(result), path, NULL, 0);          \
    errno = saved;                                                                \
    return result

int unlinkat(int dir, const char *name, int flags) {
    ON_NAME("unlink", dir, name, syscall(SYS_unlinkat, dir, name, flags));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int mkdirat(int dir, const char *name, mode_t mode) {
    char path[PATH_LEN];
    path_at(dir, name, path);
    if (is_last(path)) end();
    long long begin = now();
    int result = syscall(SYS_mkdirat, dir, name, mode);
    int saved = errno;
    trace_mode(begin, "mkdir", outcome(result), path, mode);
    errno = saved;
    return result;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int truncate64(const char *name, off64_t len) { ON_NAME("truncate", AT_FDCWD, name, syscall(SYS_truncate, name, len)); }
int truncate(const char *name, off_t len) { return truncate64(name, len); }

int renameat2(int dir1, const char *old, int dir2, const char *new, unsigned flags) {
    ON_NAMES("rename", dir1, old, dir2, new, syscall(SYS_renameat2, dir1, old, dir2, new, flags));
}
int renameat(int dir1, const char *old, int dir2, const char *new) { return renameat2(dir1, old, dir2, new, 0); }
int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

int linkat(int dir1, const char *old, int dir2, const char *new, int flags) {
    ON_NAMES("link", dir1, old, dir2, new, syscall(SYS_linkat, dir1, old, dir2, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

static int do_open(int dir, const char *name, int flags, mode_t mode) {
    if ((flags & O_CREAT) && (kill_at || control)) {
        char path[PATH_LEN];
        path_at(dir, name, path);
        if (is_last(path)) end();
    }
    long long begin = now();
    int fd = syscall(SYS_openat, dir, name, flags, mode);
    if (trace_fd >= 0 && (flags & O_CREAT) && (fd < 0 || kind_of(fd) == REGULAR)) {
        int saved = errno;
        char path[PATH_LEN];
        path_at(dir, name, path);
        errno = saved;
        trace_mode(begin, "create", outcome(fd), path, mode);
        errno = saved;
    }
    return fd;
}

#define MODE                                                                      \
    mode_t mode = 0;                                                              \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {                  \
        va_list rest;                                                             \
        va_start(rest, flags);                                                    \
        mode = va_arg(rest, mode_t);                                              \
        va_end(rest);                                                             \
    }

int open(const char *name, int flags, ...) { MODE return do_open(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE return do_open(AT_FDCWD, name, flags, mode); }
int openat(int dir, const char *name, int flags, ...) { MODE return do_open(dir, name, flags, mode); }
int openat64(int dir, const char *name, int flags, ...) { MODE return do_open(dir, name, flags, mode); }
int creat(const char *name, mode_t mode) { return do_open(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

void *dlopen(const char *name, int flags) {
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    if (!next) abort();
    return next(name, flags & ~RTLD_DEEPBIND);
}
