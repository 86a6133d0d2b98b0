"""A wall clock that is wrong, for processes that a test starts: nothing in the product knows of it.

A small library, loaded before libc (LD_PRELOAD), adds the seconds in a file to the time of day. The file is
mapped, so that the clock of a running process jumps when the test writes to it. The monotonic clock stays as
it is: so it does on a real machine.
"""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest

_LIBRARY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static const volatile int64_t *wrong;

__attribute__((constructor)) static void find(void) {
    const char *path = getenv("WRONG_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = file < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) wrong = map;
}

int clock_gettime(clockid_t which, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, at);
    if (!result && wrong && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) at->tv_sec += *wrong;
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Gone with this process."""
    return tempfile.TemporaryDirectory(prefix="wrong-clock-")


@functools.cache
def _library() -> Path:
    """Skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: a wrong clock for real processes needs one (apt-get install gcc)")
    folder = Path(_folder().name)
    (folder / "clock.c").write_text(_LIBRARY)
    made = folder / "clock.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", made, folder / "clock.c", "-ldl"], check=True, timeout=60
    )
    return made


class WrongClock:
    """The time of day of whichever processes get its `env`."""

    def __init__(self, folder: Path, seconds: int = 0) -> None:
        self._file = folder / "wrong-clock"
        self.jump(seconds)

    def jump(self, seconds: int) -> None:
        """`seconds` ahead of the true time from now on; negative: behind."""
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("=q", seconds))

    @property
    def env(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(_library()), "WRONG_CLOCK": str(self._file)}
