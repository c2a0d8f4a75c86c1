/* Points of work: every call that changes something on the disk, below one folder, by a process and its children.

   A library to be loaded before libc (LD_PRELOAD). The control page, a file named by FAULT_POINTS and shared by all
   processes of a round, says below which folder calls are counted and what happens at which of them:
   a kill of the whole process group, before or in the midst of a write, or a disk that is full from then on.
   It can also set the clock back. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, KILL, FULL };

struct control {
  uint64_t count;      /* calls so far */
  uint64_t at;         /* the call at which something happens; counted from 1 */
  uint32_t action;
  uint32_t happened;
  int64_t clock_shift; /* seconds added to the time of day */
  char folder[4056];   /* calls below it are counted; ends without a slash */
};

static struct control *control;

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAULT_POINTS");
  if (!path) return;
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void *page = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (page != MAP_FAILED) control = page;
}

static int below(const char *path) {
  size_t length = strlen(control->folder);
  return length && !strncmp(path, control->folder, length) && (path[length] == '/' || !path[length]);
}

static int file_below(int file) {
  char name[64], path[4096];
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return below(path);
}

static int path_below(int folder, const char *path) {
  if (path[0] == '/') return below(path);
  if (folder != AT_FDCWD) return file_below(folder);
  char here[4096];
  return getcwd(here, sizeof here) && below(here);
}

/* What happens at this call: NOTHING, KILL or FULL. */
static int point(void) {
  uint64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  if (control->action == KILL && number == control->at) return KILL;
  if (control->action == FULL && number >= control->at) {
    control->happened = 1;
    return FULL;
  }
  return NOTHING;
}

static void die(void) {
  control->happened = 1;
  kill(0, SIGKILL);
  for (;;) pause();
}

/* For calls that need room: -1 with ENOSPC when the disk is full. */
#define NEEDS_ROOM(is_below, failed) \
  if (control && (is_below)) { \
    int what = point(); \
    if (what == KILL) die(); \
    if (what == FULL) { errno = ENOSPC; return failed; } \
  }
/* For calls that do not. */
#define CHANGES(is_below) \
  if (control && (is_below) && point() == KILL) die()

ssize_t write(int file, const void *data, size_t size) {
  REAL(write);
  if (control && file > 2 && file_below(file)) {
    int what = point();
    if (what == KILL) { real(file, data, size / 2); die(); }
    if (what == FULL) { errno = ENOSPC; return -1; }
  }
  return real(file, data, size);
}

#define WRITE_AT(name) \
  ssize_t name(int file, const void *data, size_t size, __typeof__(off64_t) at) { \
    REAL(name); \
    if (control && file_below(file)) { \
      int what = point(); \
      if (what == KILL) { real(file, data, size / 2, at); die(); } \
      if (what == FULL) { errno = ENOSPC; return -1; } \
    } \
    return real(file, data, size, at); \
  }
WRITE_AT(pwrite)
WRITE_AT(pwrite64)

ssize_t writev(int file, const struct iovec *parts, int count) {
  REAL(writev);
  NEEDS_ROOM(file > 2 && file_below(file), -1)
  return real(file, parts, count);
}

ssize_t sendfile64(int target, int source, off64_t *at, size_t count);
ssize_t sendfile64(int target, int source, off64_t *at, size_t count) {
  REAL(sendfile64);
  NEEDS_ROOM(file_below(target), -1)
  return real(target, source, at, count);
}

ssize_t copy_file_range(int source, off64_t *from, int target, off64_t *to, size_t count, unsigned flags) {
  REAL(copy_file_range);
  NEEDS_ROOM(file_below(target), -1)
  return real(source, from, target, to, count, flags);
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
    NEEDS_ROOM((flags & (O_CREAT | O_TRUNC)) && path_below(AT_FDCWD, path), -1) \
    return real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define OPEN_AT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
    NEEDS_ROOM((flags & (O_CREAT | O_TRUNC)) && path_below(folder, path), -1) \
    return real(folder, path, flags, mode); \
  }
OPEN_AT(openat)
OPEN_AT(openat64)

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  NEEDS_ROOM(path_below(AT_FDCWD, path), -1)
  return real(path, mode);
}

int link(const char *from, const char *to) {
  REAL(link);
  NEEDS_ROOM(path_below(AT_FDCWD, to), -1)
  return real(from, to);
}

int rename(const char *from, const char *to) {
  REAL(rename);
  CHANGES(path_below(AT_FDCWD, to));
  return real(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  REAL(renameat);
  CHANGES(path_below(to_folder, to));
  return real(from_folder, from, to_folder, to);
}

int unlink(const char *path) {
  REAL(unlink);
  CHANGES(path_below(AT_FDCWD, path));
  return real(path);
}

int unlinkat(int folder, const char *path, int flags) {
  REAL(unlinkat);
  CHANGES(path_below(folder, path));
  return real(folder, path, flags);
}

int rmdir(const char *path) {
  REAL(rmdir);
  CHANGES(path_below(AT_FDCWD, path));
  return real(path);
}

int fsync(int file) {
  REAL(fsync);
  CHANGES(file_below(file));
  return real(file);
}

int fdatasync(int file) {
  REAL(fdatasync);
  CHANGES(file_below(file));
  return real(file);
}

#define TRUNCATE(name) \
  int name(int file, off64_t size) { \
    REAL(name); \
    CHANGES(file_below(file)); \
    return real(file, size); \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int clock_gettime(clockid_t clock, struct timespec *now) {
  REAL(clock_gettime);
  int failed = real(clock, now);
  if (!failed && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    now->tv_sec += control->clock_shift;
  return failed;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  REAL(gettimeofday);
  int failed = real(now, zone);
  if (!failed && control) now->tv_sec += control->clock_shift;
  return failed;
}
