// Records, fails or ends in the calls by which a process changes a folder.
//
// Preloaded (LD_PRELOAD), it stands between the program and the C library, so
// that it sees the writes of Python and of C++ alike. tests/faults/shim.py
// switches it on and off. Calls are numbered from 1 in the order in which they
// happen; one lock orders those of several threads.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define FILES 65536
// Results of a call that fails with the error of the plan.
#define REAL(name) ((__typeof__(&name))real(#name))

enum call {
  OPEN = 'o', WRITE = 'w', TRUNCATE = 't', CLOSE = 'c', SYNC = 's',
  RENAME = 'r', UNLINK = 'u', RMDIR = 'd', MKDIR = 'm', LINK = 'l', READ = 'g',
};

struct record {
  int32_t call, fd;
  int64_t value;  // flags, offset, size or mode
  int32_t first_size, second_size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int armed;
static pid_t owner;
static char root[PATH_MAX];
static int log_file = -1;
static long count, first, last;
static int error, reads, fatal;
static unsigned char tracked[FILES];  // 1: of the folder, 2: and written

static void *real(const char *name) {
  return dlsym(RTLD_NEXT, name);
}

// Starts to watch a folder. Calls first..last fail with an error number, or
// end the process if that is -1; with reads, calls that read are meant.
EXPORT void faults_start(const char *folder, const char *log, long from,
                         long to, int number, int of_reads) {
  pthread_mutex_lock(&lock);
  snprintf(root, sizeof root, "%s", folder);
  memset(tracked, 0, sizeof tracked);
  count = 0, first = from, last = to, reads = of_reads;
  fatal = number < 0, error = number;
  log_file = -1;
  if (*log)
    log_file = REAL(open)(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  owner = getpid();
  armed = 1;
  pthread_mutex_unlock(&lock);
}

// Stops watching; returns the number of calls.
EXPORT long faults_stop(void) {
  pthread_mutex_lock(&lock);
  armed = 0;
  if (log_file >= 0) REAL(close)(log_file);
  log_file = -1;
  pthread_mutex_unlock(&lock);
  return count;
}

static int enter(void) {
  if (!armed || getpid() != owner) return 0;
  pthread_mutex_lock(&lock);
  if (armed) return 1;
  pthread_mutex_unlock(&lock);
  return 0;
}

static void leave(void) {
  int kept = errno;
  pthread_mutex_unlock(&lock);
  errno = kept;
}

// Writes an absolute path; returns whether it is in the folder.
static int resolve(int base, const char *path, char *out) {
  char folder[PATH_MAX], name[64];
  *out = 0;
  if (!path) return 0;
  if (*path == '/') {
    snprintf(out, PATH_MAX, "%s", path);
  } else {
    if (base == AT_FDCWD) {
      if (!getcwd(folder, sizeof folder)) return 0;
    } else {
      snprintf(name, sizeof name, "/proc/self/fd/%d", base);
      ssize_t size = readlink(name, folder, sizeof folder - 1);
      if (size < 0) return 0;
      folder[size] = 0;
    }
    if (snprintf(out, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX) return 0;
  }
  size_t size = strlen(root);
  return !strncmp(out, root, size) && (!out[size] || out[size] == '/');
}

// Counts a call; returns whether it has to fail.
static int disturb(int call) {
  if ((call == READ) != reads) return 0;
  count++;
  if (count < first || count > last) return 0;
  if (fatal) {
    kill(getpid(), SIGKILL);
    pause();
  }
  // A full disk can still be cleaned up.
  if (error == ENOSPC && (call == UNLINK || call == RMDIR)) return 0;
  errno = error;
  return 1;
}

static void put(const void *content, size_t size) {
  while (size) {
    ssize_t done = REAL(write)(log_file, content, size);
    if (done <= 0) abort();
    content = (const char *)content + done, size -= done;
  }
}

static void record(int call, int fd, int64_t value, const void *a, size_t n,
                   const void *b, size_t m) {
  if (log_file < 0) return;
  int kept = errno;
  struct record head = {call, fd, value, (int32_t)n, (int32_t)m};
  put(&head, sizeof head);
  put(a, n);
  put(b, m);
  errno = kept;
}

static int is_tracked(int fd) {
  return fd >= 0 && fd < FILES ? tracked[fd] : 0;
}

static int open_at(int base, const char *path, int flags, mode_t mode) {
  int (*call)(int, const char *, int, ...) = REAL(openat);
  if (!enter()) return call(base, path, flags, mode);
  char full[PATH_MAX];
  int inside = resolve(base, path, full);
  int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
  int fd = -1;
  if (!inside || !writes || !disturb(OPEN)) {
    fd = call(base, path, flags, mode);
    if (fd >= 0 && fd < FILES) {
      tracked[fd] = !inside ? 0 : writes ? 2 : 1;
      if (inside && writes)
        record(OPEN, fd, flags, full, strlen(full), &mode, sizeof mode);
    }
  }
  leave();
  return fd;
}

#define MODE(flags)                          \
  mode_t mode = 0;                           \
  if (flags & (O_CREAT | O_TMPFILE)) {       \
    va_list list;                            \
    va_start(list, flags);                   \
    mode = va_arg(list, mode_t);             \
    va_end(list);                            \
  }

EXPORT int open(const char *path, int flags, ...) {
  MODE(flags)
  return open_at(AT_FDCWD, path, flags, mode);
}
EXPORT int open64(const char *path, int flags, ...) {
  MODE(flags)
  return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
EXPORT int openat(int base, const char *path, int flags, ...) {
  MODE(flags)
  return open_at(base, path, flags, mode);
}
EXPORT int openat64(int base, const char *path, int flags, ...) {
  MODE(flags)
  return open_at(base, path, flags | O_LARGEFILE, mode);
}
EXPORT int creat(const char *path, mode_t mode) {
  return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int close(int fd) {
  if (!enter()) return REAL(close)(fd);
  if (is_tracked(fd) == 2) record(CLOSE, fd, 0, "", 0, "", 0);
  if (is_tracked(fd)) tracked[fd] = 0;
  int result = REAL(close)(fd);
  leave();
  return result;
}

// The part that was written, at the position before `end` or at `offset`.
static void wrote(int fd, const void *content, ssize_t size, off_t offset) {
  if (size <= 0) return;
  if (offset < 0) {
    off_t end = lseek(fd, 0, SEEK_CUR);
    if (end < 0) {
      tracked[fd] = 0;
      return;
    }
    offset = end - size;
  }
  record(WRITE, fd, offset, content, size, "", 0);
}

#define WRITING(call, arguments, content, offset)               \
  if (!is_tracked(fd) || !enter()) return REAL(call) arguments; \
  ssize_t size = -1;                                            \
  if (!is_tracked(fd) || !disturb(WRITE)) {                     \
    size = REAL(call) arguments;                                \
    wrote(fd, content, size, offset);                           \
  }                                                             \
  leave();                                                      \
  return size;

EXPORT ssize_t write(int fd, const void *content, size_t n) {
  WRITING(write, (fd, content, n), content, -1)
}
EXPORT ssize_t pwrite(int fd, const void *content, size_t n, off_t at) {
  WRITING(pwrite, (fd, content, n, at), content, at)
}
EXPORT ssize_t pwrite64(int fd, const void *content, size_t n, off_t at) {
  WRITING(pwrite64, (fd, content, n, at), content, at)
}

// Parts are written one after the other.
EXPORT ssize_t writev(int fd, const struct iovec *parts, int n) {
  if (!is_tracked(fd)) return REAL(writev)(fd, parts, n);
  ssize_t total = 0;
  for (int i = 0; i < n; i++) {
    ssize_t size = write(fd, parts[i].iov_base, parts[i].iov_len);
    if (size < 0) return total ? total : size;
    total += size;
    if ((size_t)size < parts[i].iov_len) break;
  }
  return total;
}
EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) {
  if (!is_tracked(fd)) return REAL(pwritev)(fd, parts, n, at);
  ssize_t total = 0;
  for (int i = 0; i < n; i++) {
    ssize_t size =
        pwrite(fd, parts[i].iov_base, parts[i].iov_len, at + total);
    if (size < 0) return total ? total : size;
    total += size;
    if ((size_t)size < parts[i].iov_len) break;
  }
  return total;
}
EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int n, off_t at) {
  return pwritev(fd, parts, n, at);
}

#define READING(call, arguments)                                \
  if (!is_tracked(fd) || !enter()) return REAL(call) arguments; \
  ssize_t size = -1;                                            \
  if (!is_tracked(fd) || !disturb(READ)) size = REAL(call) arguments; \
  leave();                                                      \
  return size;

EXPORT ssize_t read(int fd, void *content, size_t n) {
  READING(read, (fd, content, n))
}
EXPORT ssize_t pread(int fd, void *content, size_t n, off_t at) {
  READING(pread, (fd, content, n, at))
}
EXPORT ssize_t pread64(int fd, void *content, size_t n, off_t at) {
  READING(pread64, (fd, content, n, at))
}
// glibc's checks call these instead where the size of the buffer is known.
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __pread64_chk(int, void *, size_t, off_t, size_t);
EXPORT ssize_t __read_chk(int fd, void *content, size_t n, size_t room) {
  READING(__read_chk, (fd, content, n, room))
}
EXPORT ssize_t __pread64_chk(int fd, void *content, size_t n, off_t at,
                             size_t room) {
  READING(__pread64_chk, (fd, content, n, at, room))
}

#define ON_FILE(kind, call, arguments, value)                   \
  if (!is_tracked(fd) || !enter()) return REAL(call) arguments; \
  int result = -1;                                              \
  if (!is_tracked(fd) || !disturb(kind)) {                      \
    result = REAL(call) arguments;                              \
    if (!result) record(kind, fd, value, "", 0, "", 0);         \
  }                                                             \
  leave();                                                      \
  return result;

EXPORT int ftruncate(int fd, off_t size) {
  ON_FILE(TRUNCATE, ftruncate, (fd, size), size)
}
EXPORT int ftruncate64(int fd, off_t size) {
  ON_FILE(TRUNCATE, ftruncate64, (fd, size), size)
}
EXPORT int fsync(int fd) {
  ON_FILE(SYNC, fsync, (fd), 0)
}
EXPORT int fdatasync(int fd) {
  ON_FILE(SYNC, fdatasync, (fd), 0)
}

#define ON_PATH(kind, base, path, value, expression)        \
  if (!enter()) return expression;                          \
  char full[PATH_MAX];                                      \
  int inside = resolve(base, path, full), result = -1;      \
  if (!inside || !disturb(kind)) {                          \
    result = expression;                                    \
    if (inside && !result)                                  \
      record(kind, -1, value, full, strlen(full), "", 0);   \
  }                                                         \
  leave();                                                  \
  return result;

EXPORT int unlink(const char *path) {
  ON_PATH(UNLINK, AT_FDCWD, path, 0, REAL(unlink)(path))
}
EXPORT int unlinkat(int base, const char *path, int flags) {
  ON_PATH(flags & AT_REMOVEDIR ? RMDIR : UNLINK, base, path, 0,
          REAL(unlinkat)(base, path, flags))
}
EXPORT int rmdir(const char *path) {
  ON_PATH(RMDIR, AT_FDCWD, path, 0, REAL(rmdir)(path))
}
EXPORT int remove(const char *path) {
  struct stat found;
  if (!lstat(path, &found) && S_ISDIR(found.st_mode)) return rmdir(path);
  return unlink(path);
}
EXPORT int mkdir(const char *path, mode_t mode) {
  ON_PATH(MKDIR, AT_FDCWD, path, mode, REAL(mkdir)(path, mode))
}
EXPORT int mkdirat(int base, const char *path, mode_t mode) {
  ON_PATH(MKDIR, base, path, mode, REAL(mkdirat)(base, path, mode))
}

#define ON_PATHS(kind, base, path, other_base, other, expression) \
  if (!enter()) return expression;                                \
  char full[PATH_MAX], second[PATH_MAX];                          \
  int inside = resolve(base, path, full);                         \
  inside |= resolve(other_base, other, second);                   \
  int result = -1;                                                \
  if (!inside || !disturb(kind)) {                                \
    result = expression;                                          \
    if (inside && !result)                                        \
      record(kind, -1, 0, full, strlen(full), second, strlen(second)); \
  }                                                               \
  leave();                                                        \
  return result;

EXPORT int rename(const char *from, const char *to) {
  ON_PATHS(RENAME, AT_FDCWD, from, AT_FDCWD, to, REAL(rename)(from, to))
}
EXPORT int renameat(int base, const char *from, int other, const char *to) {
  ON_PATHS(RENAME, base, from, other, to, REAL(renameat)(base, from, other, to))
}
EXPORT int renameat2(int base, const char *from, int other, const char *to,
                     unsigned flags) {
  ON_PATHS(RENAME, base, from, other, to,
           REAL(renameat2)(base, from, other, to, flags))
}
EXPORT int link(const char *from, const char *to) {
  ON_PATHS(LINK, AT_FDCWD, from, AT_FDCWD, to, REAL(link)(from, to))
}
EXPORT int linkat(int base, const char *from, int other, const char *to,
                  int flags) {
  ON_PATHS(LINK, base, from, other, to,
           REAL(linkat)(base, from, other, to, flags))
}
