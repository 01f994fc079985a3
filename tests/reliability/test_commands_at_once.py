"""Several commands at once for one output: one makes it, the others say why not, nothing is left.

The commands are threads, of which one runs at a time. Each stops before every call that makes,
locks, reads or removes a file, and a test tells which one goes on.
"""

import random
import re
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from makers.trees import all_files

from hffkit.errors import StorageError
from hffkit.storage.staging import Partial, partial_path, restore

STOPS = {"open", "fcntl.flock", "shutil.rmtree"}
STOPS |= {f"os.{name}" for name in ("mkdir", "listdir", "scandir", "rename", "remove", "rmdir")}
COMMAND = {"verb": "test"}
BUSY = "another hffkit is at work there"
MADE = {"x/data": bytes(9)}
current = threading.local()


@sys.addaudithook
def stop(event: str, _: object) -> None:
    command: Command | None = getattr(current, "command", None)
    if command is not None and event in STOPS:
        command.stop()


class Command(threading.Thread):
    """A command that runs step by step; `said` is its message, or "done"."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.said: str | None = None
        self._may_go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self.start()

    def run(self) -> None:
        self._may_go.acquire()
        current.command = self
        said = "a crash"
        try:
            self.work()
            said = "done"
        except StorageError as error:
            said = str(error)
        finally:
            current.command = None
            self.said = said
            self._stands.release()

    def stop(self) -> None:
        self._stands.release()
        self._may_go.acquire()

    def go(self, n_steps: int = sys.maxsize) -> bool:
        """Go on for some steps; False if that was the end."""
        while self.said is None and n_steps:
            self._may_go.release()
            self._stands.acquire()
            n_steps -= 1
        return self.said is None


def make(out: Path, *, replaces: bool = False) -> None:
    if replaces:
        restore(out)
    with Partial(out, COMMAND, replaces=replaces) as work:
        work.make_product()
        (work.product / "data").write_bytes(bytes(9))
        work.publish()


def folder_in(tmp_path: Path, number: int) -> Path:
    folder = tmp_path / str(number)
    folder.mkdir()
    return folder


def begin(out: Path) -> None:
    """Make what a killed command leaves."""
    (partial_path(out) / "parts").mkdir(parents=True)
    (partial_path(out) / "lock").touch()
    (partial_path(out) / "command.json").write_text('{"verb": "test"}')


def test_two_commands_at_every_two_steps_make_one_output(tmp_path: Path) -> None:
    n_pairs = n_steps = 0
    first_goes = True
    while first_goes:
        n_steps += 1
        second_goes, n_others = True, 0
        while second_goes:
            n_pairs, n_others = n_pairs + 1, n_others + 1
            folder = folder_in(tmp_path, n_pairs)
            first, second = (Command(partial(make, folder / "x")) for _ in range(2))
            first_goes, second_goes = first.go(n_steps), second.go(n_others)
            first.go()
            second.go()
            said = sorted((str(first.said), str(second.said)), key=lambda text: text != "done")
            assert said[0] == "done", said
            assert re.search(f"already exists|{BUSY}", said[1])
            assert all_files(folder) == MADE, (n_steps, n_others, said)
            assert [path.name for path in folder.iterdir()] == ["x"], (n_steps, n_others, said)
    assert n_pairs > 200


@pytest.mark.parametrize("before", ["nothing", "begun", "published", "replaced"])
def test_of_three_commands_in_turns_one_makes_the_output(tmp_path: Path, before: str) -> None:
    chance = random.Random(before)
    replaces = before == "replaced"
    for number in range(100):
        folder = folder_in(tmp_path, number)
        out = folder / "x"
        if before in ("begun", "published"):
            begin(out)
        if before in ("published", "replaced"):
            out.mkdir()
            (out / "data").write_bytes(bytes(9 if before == "published" else 1))
        commands = [Command(partial(make, out, replaces=replaces)) for _ in range(3)]
        while any(command.said is None for command in commands):
            chance.choice(commands).go(chance.choice([1, 1, 2, 3, 5, 8, 13, 20]))
        said = [str(command.said) for command in commands]
        n_made = said.count("done")
        assert n_made >= 1 if replaces else n_made == (before != "published"), said
        others = [text for text in said if text != "done"]
        assert all(re.search(f"already exists|{BUSY}", text) for text in others), said
        assert all_files(folder) == MADE, said
        assert [path.name for path in folder.iterdir()] == ["x"], said
