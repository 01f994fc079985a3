"""The system calls of a command, and what they leave to chance when the power fails."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CALLS = (
    "openat,open,creat,mkdir,mkdirat,write,pwrite64,writev,pwritev,truncate,ftruncate,copy_file_range,"
    "sendfile,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat"
)
_LINE = re.compile(r"^\d+ +(\w+)\((.*)$")
_FD = re.compile(r"^(\d+)<(.*?)>")
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MADE = re.compile(r"= (\d+)<(.*?)>$")
_WRITES = {"write", "pwrite64", "writev", "pwritev", "ftruncate"}


def traced(command: Sequence[object], log: Path) -> str | None:
    """Run a command and write its system calls to `log`; return why that is not possible."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    words = [strace, "-f", "-y", "--seccomp-bpf", "-s", "0", "-e", f"trace={_CALLS}", "-o", log]
    done = subprocess.run(
        [*map(str, words), *map(str, command)], capture_output=True, text=True, check=False
    )
    if done.returncode and "ptrace" in done.stderr:
        return f"strace may not trace here: {done.stderr.splitlines()[0]}"
    assert done.returncode == 0, done.stderr
    return None


@dataclass(slots=True)
class Order:
    """The moments of the last write, naming and sync of every file and folder below `root`."""

    root: str
    exempt: re.Pattern[str]  # names whose loss is no loss
    faults: list[str] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)  # files
    named: dict[str, int] = field(default_factory=dict)  # folders, by the last new name in them
    synced: dict[str, int] = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)  # final names
    unnamed: set[str] = field(default_factory=set)  # files made outside of unfinished work
    _durable: set[tuple[str, str]] = field(default_factory=set)  # descriptors that sync each write

    def read(self, log: Path) -> "Order":
        """Follow the calls of a log."""
        for moment, line in enumerate(log.read_text("utf-8", "replace").splitlines()):
            found = _LINE.match(line)
            if found is not None:
                self._follow(moment, *found.groups())
        for path in sorted(self.unnamed):
            self.faults.append(f"{path} was written under its final name")
        for path, moment in self.given.items():
            if self.synced.get(_above(path), -1) < moment:
                self.faults.append(f"{path} got its name, and its folder was not synced after it")
        return self

    def _follow(self, moment: int, call: str, rest: str) -> None:
        known = _FD.match(rest)
        if known is not None and call in {"fsync", "fdatasync"}:
            self.synced[known[2]] = moment
        elif known is not None and call in _WRITES and (known[1], known[2]) not in self._durable:
            self.written[known[2]] = moment
        names = [name for name in _NAME.findall(rest) if name.startswith(self.root)]
        if names:
            self._follow_names(moment, call, rest, names)

    def _follow_names(self, moment: int, call: str, rest: str, names: Sequence[str]) -> None:
        if call.startswith(("rename", "link")):  # the first name of a link is removed then
            old, new = names
            self._rename(moment, old, new)
        elif call in {"open", "openat", "creat"}:
            self._open(moment, names[0], rest)
        elif call.startswith("mkdir"):
            self.named[_above(names[0])] = moment
        elif call.startswith("unlink"):
            self.unnamed.discard(names[0])
        elif call == "truncate":
            self.written[names[0]] = moment
        else:
            assert call not in {"sendfile", "copy_file_range"}, rest

    def _open(self, moment: int, name: str, rest: str) -> None:
        made = _MADE.search(rest)
        if made is not None:
            self._durable.discard((made[1], made[2]))
            if "SYNC" in rest:
                self._durable.add((made[1], made[2]))
        if "O_CREAT" in rest and (made is not None or "unfinished" in rest):
            self.named[_above(name)] = moment
            if not _is_unfinished(name):
                self.unnamed.add(name)

    def _rename(self, moment: int, old: str, new: str) -> None:
        if not self.exempt.search(new):
            for moments, text in ((self.written, ""), (self.named, "names in ")):
                self.faults += [
                    f"{text}{path} were not synced when it became {new}"
                    for path, last in _below(moments, old)
                    if self.synced.get(path, -1) < last
                ]
        for moments in (self.written, self.named, self.synced):
            for path, last in _below(moments, old):
                del moments[path]
                moments[new + path.removeprefix(old)] = last
        self.named[_above(new)] = moment
        self.unnamed.discard(old)
        if not _is_unfinished(new):
            self.given[new] = moment


def _is_unfinished(path: str) -> bool:
    return ".partial/" in path


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _below(moments: Mapping[str, int], top: str) -> list[tuple[str, int]]:
    return [(p, last) for p, last in moments.items() if p == top or p.startswith(f"{top}/")]
