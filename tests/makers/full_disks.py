"""Commands on a disk that fills up at their n-th write, wherever in the process that is."""

import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hffkit.manifest.classes import numbered
from makers.command_server import MODULES, CommandServer, command_server
from makers.runs import write_run
from makers.trainings import CLASSES, SIZE, native_corpus, packed_corpus
from makers.trees import all_files, records

# Fails what takes room below a folder, once as many calls as a shared counter says are done: the
# last of them writes half of its bytes, as a disk does that is nearly full. LMDB and FFmpeg call
# the same functions of libc as Python.
_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile long *left;
static const char *root;

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FULL_DISK_COUNTER");
    root = getenv("FULL_DISK_ROOT");
    int file = path && root ? open(path, O_RDWR) : -1;
    if (file >= 0) {
        left = mmap(NULL, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
    }
}

static int below(const char *path) {
    return left && !strncmp(path, root, strlen(root));
}

static int on_disk(int file) {
    char link[32], path[PATH_MAX];
    if (!left) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return below(path);
}

static long take(void) { return __sync_sub_and_fetch(left, 1); }
static int full(void) { errno = ENOSPC; return -1; }
#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *data, size_t n) {
    NEXT(write);
    if (on_disk(file)) {
        long rest = take();
        if (rest < 0) return full();
        if (rest == 0 && n > 1) n /= 2;
    }
    return next(file, data, n);
}

#define PWRITE(name) ssize_t name(int file, const void *data, size_t n, off_t at) { \
    NEXT(name); if (on_disk(file) && take() < 0) return full(); return next(file, data, n, at); }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int file, const struct iovec *pieces, int n) {
    NEXT(writev);
    if (on_disk(file)) {
        long rest = take();
        if (rest < 0) return full();
        if (rest == 0 && n > 1) n = 1;
    }
    return next(file, pieces, n);
}

#define PWRITEV(name) ssize_t name(int file, const struct iovec *pieces, int n, off_t at) { \
    NEXT(name); if (on_disk(file) && take() < 0) return full(); return next(file, pieces, n, at); }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define OPEN(name) int name(const char *path, int flags, ...) { \
    NEXT(name); va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
    if (flags & O_CREAT && below(path) && access(path, F_OK) && take() < 0) return full(); \
    return next(path, flags, mode); }
OPEN(open)
OPEN(open64)

int mkdir(const char *path, mode_t mode) {
    NEXT(mkdir);
    return below(path) && access(path, F_OK) && take() < 0 ? full() : next(path, mode);
}

int link(const char *from, const char *to) {
    NEXT(link);
    return below(to) && take() < 0 ? full() : next(from, to);
}
"""

# The command does the work of its workers itself: their start would take most of the time.
_ALONE = """
from concurrent.futures import Future
from contextlib import contextmanager
from hffkit.execution import supervisor

class Here:
    def submit(self, work, *arguments):
        future = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

@contextmanager
def here(n):
    yield Here()

supervisor.processes = here
"""
_ROOM = 1 << 40


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code of a command, what it printed, and the writes that it made."""

    code: int
    said: str
    n_writes: int


class FullDisk:
    """A folder that takes a number of writes, and commands whose output lies there."""

    def __init__(self, scratch: Path, server: CommandServer) -> None:
        """Take the folder that the commands of a server share."""
        self.path = scratch / "disk"
        self._counter, self._server = scratch / "counter", server

    def run(self, arguments: list[str], room: int = _ROOM) -> Outcome:
        """Run a command on a disk with room for so many writes."""
        self._counter.write_bytes(struct.pack("@l", room))
        self._server.begin(arguments)
        code, said = self._server.end()
        (left,) = struct.unpack("@l", self._counter.read_bytes())
        return Outcome(code, said, room - left)

    def names(self) -> set[str]:
        """Return the names of what is on the disk."""
        return {path.name for path in self.path.iterdir()}

    def clear(self) -> None:
        """Remove everything from the disk."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir()


def compiler() -> str | None:
    """Return the C compiler of this machine, if there is one."""
    return shutil.which("cc") or shutil.which("gcc")


@contextmanager
def full_disk(scratch: Path, modules: Sequence[str] = MODULES) -> Iterator[FullDisk]:
    """Start the process that runs commands on a disk that fills up, with modules imported."""
    source, library = scratch / "shim.c", scratch / "shim.so"
    source.write_text(_SHIM)
    command = [str(compiler()), "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    (scratch / "counter").write_bytes(struct.pack("@l", _ROOM))
    places = {"FULL_DISK_COUNTER": scratch / "counter", "FULL_DISK_ROOT": scratch / "disk"}
    environment = {**os.environ, **{k: str(v) for k, v in places.items()}, "OMP_NUM_THREADS": "1"}
    environment["LD_PRELOAD"] = str(library)
    with command_server(scratch / "said", modules, environment, _ALONE) as server:
        disk = FullDisk(scratch, server)
        disk.clear()
        yield disk


@dataclass(frozen=True, slots=True)
class Case:
    """A command, the name of its output, and what it gives on a healthy disk."""

    arguments: tuple[str, ...]
    out: str
    n_writes: int = 0
    digest: str = ""


def cases_of(scratch: Path, disk: Path) -> dict[str, Case]:
    """Make small inputs; return commands by name."""
    splits = {"train": 4, "val": 2, "test": 2}
    raw = native_corpus(scratch, splits)
    packed = packed_corpus(scratch / "packed", splits)
    run = write_run(scratch / "net", numbered(CLASSES[:2], CLASSES[2:]))
    here, cpu = ("--workers", "1"), ("--device", "cpu")
    train = ("--network", "meso4", "--max-iterations", "3", "--batch-size", "4", "--threads", "1",
             "--set", f"size={SIZE}", *cpu)  # fmt: skip
    cases = {
        "build": (
            ("build", "folder", "--src", scratch / "in-raw", "--fake", "grid,tint",
             "--real", "real", *here), "x.lmdb"),
        "pack": (("pack", raw, "--size", "32", *here), "p.lmdb"),
        "degrade": (("degrade", raw, "--op", "jp:60", *here), "d.lmdb"),
        "merge": (("merge", raw), "m.lmdb"),
        "train": (("train", "--data", packed, *train), "run"),
        "inspect": (("inspect", raw), "sheet.png"),
        "explain": (("explain", run, raw, "--limit", "2", "--steps", "2", *cpu), "e"),
        "eval --html": (("eval", run, "--data", raw, "--resamples", "0", *cpu), "e.html"),
        "predict --csv": (("predict", run, scratch / "in-raw/test", "--whole", *cpu), "f.csv"),
        "spectrum plot": (("spectrum", "plot", raw, *here), "p.png"),
    }  # fmt: skip
    found = {}
    for name, (arguments, out) in cases.items():
        option = next((word for word in name.split() if word.startswith("--")), "--out")
        words = (*map(str, arguments), option, str(disk / out))
        found[name] = Case(words, out)
    return found


def digest_of(path: Path) -> str:
    """Return the digest of an output; times and the layout of LMDB's pages are no part of it."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for name, data in sorted(all_files(path).items()):
        content: Any = data
        if name.endswith("data.mdb"):
            content = repr(records((path / name).parent)).encode()
        elif name == "run.json":
            row = json.loads(data)
            (row.get("result") or {}).pop("seconds_of_last_start", None)
            content = json.dumps(row).encode()
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def undisturbed(disk: FullDisk, case: Case) -> Case:
    """Run a command on a healthy disk; return it with its digest and number of writes."""
    disk.clear()
    done = disk.run(list(case.arguments))
    assert done.code == 0, done.said
    assert disk.names() == {case.out}
    return replace(case, n_writes=done.n_writes, digest=digest_of(disk.path / case.out))


def fill_up(disk: FullDisk, case: Case, room: int) -> str:
    """Run a command on a disk with room for some writes, then on an empty one; tell the outcome."""
    command = f"hffkit {' '.join(case.arguments)} with room for {room} writes"
    disk.clear()
    done = disk.run(list(case.arguments), room)
    if done.code == 0:
        outcome = "done without what did not fit"
    else:
        assert done.code == 1, f"{command}: exit code {done.code}: {done.said}"
        assert "Traceback" not in done.said, f"{command}: {done.said}"
        last = done.said.strip().splitlines()[-1]
        assert last.startswith("Error: "), f"{command}: {done.said}"
        # LMDB takes a write of fewer bytes for an error of the device.
        assert "No space left on device" in last or "Free some space" in last, done.said
        left = disk.names() - {f"{case.out}.partial"}
        assert not left, f"{command}: left {left}"
        outcome = "refused in a line"
        again = disk.run(list(case.arguments))
        assert again.code == 0, f"{command}: the next run: {again.said}"
    left = disk.names()
    assert left == {case.out}, f"{command}: {left}"
    digest = digest_of(disk.path / case.out)
    assert digest == case.digest, f"{command}: another result"
    return f"{outcome}, then the same digest" if done.code else outcome


def full_disks(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Fill the disk at the n-th write of a command, then run the command again."""
    rng = random.Random(seed)
    found = Counter[str]()
    with full_disk(scratch) as disk:
        known: dict[str, Case] = {}
        cases = cases_of(scratch, disk.path)
        for _ in range(n):
            name = rng.choice(sorted(cases))
            case = known.get(name) or undisturbed(disk, cases[name])
            known[name] = case
            found[fill_up(disk, case, rng.randrange(case.n_writes))] += 1
    return found
