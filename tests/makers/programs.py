"""Commands in processes of their own: those that die on the way, and the workers of one."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

HFFKIT = (sys.executable, "-c", "from hffkit.cli.main import main; main()")

_MORTAL = """
import os, signal, sys
name, n = {name!r}, {n}
def watch(event, arguments):
    global n
    if event == "open" and str(arguments[0]).endswith(name) and str(arguments[1])[0] in "awx":
        n -= 1
        if n == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
"""
_ALL = """
import json, sys
from click.testing import CliRunner
from hffkit.cli.main import main
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    print(json.dumps([done.exit_code, done.stderr]), flush=True)
"""


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `hffkit` by itself, for what may kill the process."""
    command = [*HFFKIT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def all_in_a_process(*commands: Sequence[object]) -> list[tuple[int, str]]:
    """Run several commands, one after the other; return their exit codes and errors."""
    words = json.dumps([list(map(str, command)) for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", _ALL, words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [(code, told) for code, told in map(json.loads, done.stdout.splitlines())]


def dying_at(name: str, n: int) -> str:
    """Return code that kills its process when it opens a file `name` for writing the n-th time."""
    return _MORTAL.format(name=name, n=n)


def workers_of(parent: int) -> list[int]:
    """Return the loky workers that a process has."""
    children = [pid for pid, of in _parents().items() if of == parent]
    return sorted(pid for pid in children if b"popen_loky" in _command_of(pid))


def descendants_of(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they did."""
    parents, found = _parents(), [pid]
    for each in found:  # which grows
        found += [child for child, of in parents.items() if of == each]
    return found[1:]


def _parents() -> dict[int, int]:
    """Return the parent of each process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            found[int(folder.name)] = int(_stat(int(folder.name))[1])
    return found


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits for its parent does not."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def semaphores_of(pid: int) -> Iterator[Path]:
    """Yield the semaphores of loky that a process made."""
    return Path("/dev/shm").glob(f"sem.loky-{pid}-*")
