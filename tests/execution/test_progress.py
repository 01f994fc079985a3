"""Progress in logs: lines instead of a bar."""

import re
import time
from collections.abc import Iterator

import pytest

from hffkit.execution.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at the only value of the list."""
    now = [1000.0]

    def read() -> float:
        return now[0]

    monkeypatch.setattr("hffkit.execution.progress.time.monotonic", read)
    return now


def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    return iter(capsys.readouterr().err.splitlines())


def test_a_log_has_a_line_every_30_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(400, unit="files", label="build", done=100) as bar:
        for _ in range(10):  # 10 files in 10 s
            clock[0] += 10
            bar.step(10)
    # 300 files are left at first, and one is done each second.
    assert list(lines(capsys)) == [
        "build: 130/400 files, 00:30 elapsed, 04:30 left",
        "build: 160/400 files, 01:00 elapsed, 04:00 left",
        "build: 190/400 files, 01:30 elapsed, 03:30 left",
    ]


def test_a_log_has_lines_while_no_unit_finishes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hffkit.execution.progress._SECONDS", 0.02)
    written: list[str] = []
    bar = Progress(2, unit="parts", label="build")
    bar.note(unreadable=1)
    with bar:
        deadline = time.monotonic() + 20  # on a busy machine; it takes 0.04 s
        while len(written) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
            written += lines(capsys)
    written += lines(capsys)
    assert len(written) >= 2
    known = re.compile(r"build: 0/2 parts, 00:\d\d elapsed, \? left, unreadable 1")
    assert all(known.fullmatch(line) for line in written)
    time.sleep(0.05)
    assert not list(lines(capsys))


def test_what_is_reported_is_in_the_log_at_once(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(10, unit="iterations", label="train") as bar:
        bar.note(loss="0.7")
        bar.report(val="50.00 %")
        clock[0] += 2
        bar.step(5, failures=1)
        bar.report(val="60.00 %")
    assert list(lines(capsys)) == [
        "train: 0/10 iterations, 00:00 elapsed, ? left, loss 0.7, val 50.00 %",
        "train: 5/10 iterations, 00:02 elapsed, 00:02 left, loss 0.7, val 60.00 %, unreadable 1",
    ]
