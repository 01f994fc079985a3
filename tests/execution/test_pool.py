"""Small tasks spread over processes, of which the caller is one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from functools import partial
from itertools import count, islice
from pathlib import Path

import pytest
from makers.jobs import slow_square

from hffkit.errors import HffkitError, ImageError
from hffkit.execution.pool import in_order

N = 1200  # tasks of 2 ms: the caller alone would take 2.4 s


def picky(n: int) -> int:
    time.sleep(0.002)
    if n >= N // 2:
        raise ImageError(f"{n} is too much")
    return n


def deadly(n: int, caller: int) -> int:
    time.sleep(0.002)
    if n >= N // 2 and os.getpid() != caller:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


@pytest.mark.parametrize("n_workers", [1, 2, 3])
def test_results_come_in_order_whoever_made_them(n_workers: int) -> None:
    found, makers = [], set()
    for square, pid in in_order(slow_square, range(50 * N), n_workers=n_workers):
        found.append(square)
        makers.add(pid)
        if len(found) >= N and len(makers) >= min(n_workers, 2):  # a busy machine is slow to start
            break
    assert found == [n * n for n in range(len(found))]
    assert os.getpid() in makers
    assert min(n_workers, 2) <= len(makers) <= n_workers


def test_a_little_work_starts_no_process() -> None:
    began = time.monotonic()
    found = list(in_order(slow_square, range(20), n_workers=8))
    assert {pid for _, pid in found} == {os.getpid()}
    assert time.monotonic() - began < 1
    assert list(in_order(slow_square, [], n_workers=2)) == []


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_earliest_error_is_raised(n_workers: int) -> None:
    found: list[int] = []
    with pytest.raises(ImageError, match=f"^{N // 2} is too much"):
        found.extend(in_order(picky, range(N), n_workers=n_workers))
    assert found == list(range(len(found)))


def test_a_dead_worker_is_an_error_that_says_so() -> None:
    work = partial(deadly, caller=os.getpid())
    with pytest.raises(HffkitError, match="A worker died"):
        list(in_order(work, range(50 * N), n_workers=2))  # ends when a worker has begun


def test_tasks_are_taken_as_they_are_needed_and_left_when_nobody_asks() -> None:
    numbers = count()
    results = in_order(slow_square, numbers, n_workers=2)
    assert len(list(islice(results, N))) == N
    assert isinstance(results, Generator)
    results.close()
    assert next(numbers) < 4 * N


@pytest.mark.slow
def test_workers_end_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "caller.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from makers.jobs import slow_square\n"
        "from hffkit.execution.pool import in_order\n"
        "for _, pid in in_order(slow_square, range(10**6), n_workers=2):\n"
        "    print(pid, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as caller:
        assert caller.stdout is not None
        other = next(pid for pid in map(int, caller.stdout) if pid != caller.pid)
        caller.kill()
    deadline = time.monotonic() + 20
    while alive(other):
        assert time.monotonic() < deadline, f"{other} goes on"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
