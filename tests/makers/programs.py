"""Commands in processes of their own: those that die on the way, and the workers of one."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HFFKIT = (sys.executable, "-c", "from hffkit.cli.main import main; main()")

_MORTAL = """
import os, signal, sys
name, n = sys.argv[1], int(sys.argv[2])
def watch(event, arguments):
    global n
    if event == "open" and str(arguments[0]).endswith(name) and str(arguments[1])[0] in "awx":
        n -= 1
        if n == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
{more}
from hffkit.cli.main import main
main(sys.argv[3:])
"""


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `hffkit` by itself, for what may kill the process."""
    command = [*HFFKIT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_mortal(
    name: str, n: int, command: Sequence[str], more: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command that dies by SIGKILL when it opens a file `name` for writing the n-th time.

    `more` is code to run before the command.
    """
    program = [sys.executable, "-c", _MORTAL.format(more=more), name, str(n), *command]
    return subprocess.run(program, capture_output=True, check=False)


def workers_of(parent: int) -> list[int]:
    """Return the loky workers that a process has."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent_of = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent_of == parent and b"popen_loky" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it ended meanwhile
    return sorted(found)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def semaphores_of(pid: int) -> Iterator[Path]:
    """Yield the semaphores of loky that a process made."""
    return Path("/dev/shm").glob(f"sem.loky-{pid}-*")
