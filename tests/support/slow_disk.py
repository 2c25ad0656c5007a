"""A disk that takes seconds for each operation: a library that delays the calls of libc for the files below a directory.

The library is compiled by the test. Each delayed call of the main thread of a process, which runs the event loop of a daemon, is
added to a report, so that a test needs no clock to see that the event loop was held.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *below(int at, const char *path, char *buffer, size_t size) {
    if (path[0] == '/' || at == AT_FDCWD) return path;
    char link[64], folder[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, folder, sizeof folder - 1);
    if (length < 0) return path;
    folder[length] = 0;
    snprintf(buffer, size, "%s/%s", folder, path);
    return buffer;
}

static void delay(const char *call, int at, const char *path) {
    const char *folder = getenv("SLOW_DISK"), *seconds = getenv("SLOW_SECONDS");
    const char *report = getenv("SLOW_REPORT"), *when = getenv("SLOW_WHEN");
    char buffer[8192], line[8448];
    int saved = errno;
    if (!folder || !seconds || !report || !when) return;
    path = below(at, path, buffer, sizeof buffer);
    if (strncmp(path, folder, strlen(folder))) return;
    if (syscall(SYS_faccessat, AT_FDCWD, when, F_OK, 0)) { errno = saved; return; }
    int size = snprintf(line, sizeof line, "%s %d %s %s\n",
        syscall(SYS_gettid) == getpid() ? "main" : "other", getpid(), call, path);
    int out = syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (out >= 0) { syscall(SYS_write, out, line, size); syscall(SYS_close, out); }
    double left = atof(seconds);
    struct timespec time = {(time_t)left, (long)((left - (time_t)left) * 1e9)};
    while (syscall(SYS_nanosleep, &time, &time) && errno == EINTR);
    errno = saved;
}

static void delay_descriptor(const char *call, int descriptor) {
    char link[64], path[4096];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = saved;
    if (length <= 0 || path[0] != '/') return;
    path[length] = 0;
    delay(call, AT_FDCWD, path);
}

#define NEXT(name) static __typeof__(&name) next; if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MODE int mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, int); va_end(more); }
#define OPEN(name) int name(const char *path, int flags, ...) { MODE \
    NEXT(name); delay("open", AT_FDCWD, path); return next(path, flags, mode); }
#define OPENAT(name) int name(int at, const char *path, int flags, ...) { MODE \
    NEXT(name); delay("open", at, path); return next(at, path, flags, mode); }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int descriptor, const void *data, size_t size) {
    NEXT(write);
    delay_descriptor("write", descriptor);
    return next(descriptor, data, size);
}
ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    NEXT(writev);
    delay_descriptor("write", descriptor);
    return next(descriptor, parts, count);
}
int fsync(int descriptor) {
    NEXT(fsync);
    delay_descriptor("fsync", descriptor);
    return next(descriptor);
}
int fdatasync(int descriptor) {
    NEXT(fdatasync);
    delay_descriptor("fsync", descriptor);
    return next(descriptor);
}
int rename(const char *from, const char *to) {
    NEXT(rename);
    delay("rename", AT_FDCWD, to);
    return next(from, to);
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    NEXT(renameat);
    delay("rename", to_at, to);
    return next(from_at, from, to_at, to);
}
int unlink(const char *path) {
    NEXT(unlink);
    delay("unlink", AT_FDCWD, path);
    return next(path);
}
int unlinkat(int at, const char *path, int flags) {
    NEXT(unlinkat);
    delay("unlink", at, path);
    return next(at, path, flags);
}
int mkdir(const char *path, mode_t mode) {
    NEXT(mkdir);
    delay("mkdir", AT_FDCWD, path);
    return next(path, mode);
}
"""


class SlowDisk:
    """A directory whose files are slow for programs with `environment`, between `slow_down` and `recover`."""

    def __init__(self, work: Path, folder: Path, seconds: float) -> None:
        """Compile the library in `work`. Skips the test without a C compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("NOT RUN: there is no C compiler")
        work.mkdir()
        source, library = work / "slow.c", work / "slow.so"
        source.write_text(_SOURCE)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
        self._report, self._when = work / "report", work / "when"
        self.environment = {
            "LD_PRELOAD": str(library),
            "SLOW_DISK": str(folder.resolve()),
            "SLOW_SECONDS": str(seconds),
            "SLOW_REPORT": str(self._report),
            "SLOW_WHEN": str(self._when),
        }

    def slow_down(self) -> None:
        self._when.touch()

    def recover(self) -> None:
        self._when.unlink(missing_ok=True)

    def calls(self, pid: int) -> Iterator[tuple[str, str, str]]:
        """Yield the delayed calls of a process: the kind of thread ("main" or "other"), the call, and the path."""
        lines = self._report.read_text().splitlines() if self._report.exists() else []
        for line in lines:
            thread, process, call, path = line.split(" ", 3)
            if int(process) == pid:
                yield thread, call, path
