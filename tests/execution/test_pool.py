"""Small tasks spread over processes, of which the caller is one."""

import _thread
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from itertools import count, islice
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import _ExecutorManagerThread
from makers.jobs import slow_square
from makers.programs import alive, semaphores_of

from hffkit.errors import HffkitError, ImageError
from hffkit.execution import pool
from hffkit.execution.pool import in_order, processes

N = 120  # tasks of 2 ms: the caller alone would take .24 s


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes after a twentieth of the usual work, and send them as much less at once."""
    for name in ("_ALONE", "_GROUP"):
        monkeypatch.setattr(pool, name, vars(pool)[name] / 20)


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


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("n_workers", [1, 3])
def test_results_come_in_order_whoever_made_them(n_workers: int) -> None:
    found, makers = [], set()
    for square, pid in in_order(slow_square, range(500 * N), n_workers=n_workers):
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


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_earliest_error_is_raised(n_workers: int) -> None:
    found: list[int] = []
    with pytest.raises(ImageError, match=f"^{N // 2} is too much"):
        found.extend(in_order(picky, range(N), n_workers=n_workers))
    assert found == list(range(len(found)))


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_a_task_that_kills_two_workers_is_an_error_that_says_so() -> None:
    work = partial(deadly, caller=os.getpid())
    with pytest.raises(HffkitError, match="Two workers died at the same place"):
        list(in_order(work, range(500 * N), n_workers=2))  # ends when a worker has begun


def deadly_once(n: int, caller: int, mark: Path) -> tuple[int, int]:
    time.sleep(0.002)
    if n >= N // 2 and os.getpid() != caller and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return n, os.getpid()


@pytest.mark.usefixtures("hasty")
def test_a_worker_that_dies_once_costs_no_task(tmp_path: Path) -> None:
    work = partial(deadly_once, caller=os.getpid(), mark=tmp_path / "died")
    found: list[int] = []
    for n, pid in in_order(work, range(500 * N), n_workers=2):
        found.append(n)
        if n >= N // 2 and pid != os.getpid():  # by the worker after the one that died
            break
    assert (tmp_path / "died").exists()
    assert found == list(range(len(found)))


def killed_while_it_answers(n: int, caller: int, mark: Path) -> tuple[int, int]:
    """Return a result, of which the first worker that has one sends a half."""

    def send_half(self: Connection, message: bytes) -> None:
        os.write(self.fileno(), message[: len(message) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    time.sleep(0.002)
    if os.getpid() != caller and not mark.exists():
        mark.touch()
        Connection._send = send_half  # type: ignore[attr-defined]
    return n, os.getpid()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("is_read_on", [True, False])
def test_a_worker_that_is_killed_while_it_writes_a_result_costs_no_task(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_read_on: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(pool, "_UNNOTICED", pool._UNNOTICED / 10)
    mark = tmp_path / "died"
    work = partial(killed_while_it_answers, caller=os.getpid(), mark=mark)
    found: list[int] = []
    for n, pid in in_order(work, range(500 * N), n_workers=2):
        found.append(n)
        if mark.exists() and (pid != os.getpid() or not is_read_on):
            break
    assert mark.exists()
    assert found == list(range(len(found)))


@pytest.mark.usefixtures("hasty")
def test_tasks_are_taken_as_they_are_needed_and_left_when_nobody_asks() -> None:
    numbers = count()
    results = in_order(slow_square, islice(numbers, 500 * N), n_workers=2)
    assert len(list(islice(results, N))) == N
    assert isinstance(results, Generator)
    results.close()
    assert next(numbers) < 100 * N  # some are taken while a worker starts


def slow_elsewhere(n: int, caller: int) -> int:
    time.sleep(0.002 if os.getpid() == caller else 0.5)
    return n


@pytest.mark.usefixtures("hasty")
def test_few_results_wait_for_a_slow_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MOST_BEGUN", 5)
    numbers = count()
    work = partial(slow_elsewhere, caller=os.getpid())
    results = in_order(work, islice(numbers, 500 * N), n_workers=2)
    assert list(islice(results, N // 3)) == list(range(N // 3))
    assert isinstance(results, Generator)
    results.close()
    assert next(numbers) < N  # 400 in the time of the first one, without a bound


def test_too_few_descriptors_are_an_error_before_anything_is_started() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = set(semaphores_of(os.getpid()))
    with ExitStack() as opened:
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        number = 0
        while number <= highest:  # no number below it is free
            number = os.open(os.devnull, os.O_RDONLY)
            opened.callback(os.close, number)
        for n_free in (2, 8, 14):
            resource.setrlimit(resource.RLIMIT_NOFILE, (number + 1 + n_free, before[1]))
            try:
                with (
                    pytest.raises(HffkitError, match=r"2 workers cannot .*: Too many open files"),
                    processes(2) as pool_of_two,
                ):
                    pool_of_two.submit(os.getpid)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert set(semaphores_of(os.getpid())) <= kept  # those of pools before may go


def test_an_interrupt_while_workers_start_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would wait for them at its exit, and they for work."""

    def interrupted(_: ProcessPoolExecutor) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProcessPoolExecutor, "_start_executor_manager_thread", interrupted)
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt), processes(2) as pool_of_two:
        pool_of_two.submit(os.getpid)
    assert set(multiprocessing.active_children()) == before


def half_answered(mark: Path) -> None:
    """Send half of a result, and then nothing."""

    def send_half(self: Connection, message: bytes) -> None:
        os.write(self.fileno(), message[: len(message) // 2])
        mark.touch()
        time.sleep(60)

    Connection._send = send_half  # type: ignore[attr-defined]


def test_an_interrupt_of_the_shutdown_leaves_no_thread_that_reads_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would wait for it at its exit."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    mark = tmp_path / "sent"
    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", interrupted)
    with ExitStack() as stack:
        pool_of_one = stack.enter_context(processes(1))
        pool_of_one.submit(half_answered, mark)
        while not mark.exists():
            time.sleep(0.01)
        reader = pool_of_one._executor_manager_thread
        with pytest.raises(KeyboardInterrupt):
            stack.close()
    reader.join(10)
    assert not reader.is_alive()


@pytest.mark.parametrize("step", ["_adjust_process_count", "_start_executor_manager_thread"])
def test_an_interrupt_does_not_cut_a_submit(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Not even one that reaches another thread, which does not block it."""
    original = getattr(ProcessPoolExecutor, step)

    def interrupted(self: ProcessPoolExecutor) -> None:
        _thread.interrupt_main()
        original(self)

    monkeypatch.setattr(ProcessPoolExecutor, step, interrupted)
    with processes(2) as pool_of_two:
        with pytest.raises(KeyboardInterrupt):
            pool_of_two.submit(os.getpid)
        assert len(pool_of_two._processes) == 2
        assert pool_of_two._executor_manager_thread.is_alive()


def test_an_interrupt_does_not_cut_the_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would stop loky's thread at any place, and might wait for its lock at its exit."""
    ended = threading.Event()
    join = _ExecutorManagerThread.join_executor_internals

    def interrupted(self: _ExecutorManagerThread) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)  # the main thread waits for this one
        join(self)
        ended.set()

    monkeypatch.setattr(_ExecutorManagerThread, "join_executor_internals", interrupted)
    with pytest.raises(KeyboardInterrupt), processes(1) as pool_of_one:
        pool_of_one.submit(os.getpid).result()
    assert ended.is_set()


def test_workers_never_get_the_ctrl_c_of_their_terminal() -> None:
    """While they import modules it would print tracebacks."""
    with processes(1) as other:
        blocked = other.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result()
        assert signal.SIGINT in blocked
        assert signal.SIGTERM not in blocked
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        worker = other.submit(os.getpid).result()
        begin = time.monotonic()
        sent = other.submit(time.sleep, 1)
        os.kill(worker, signal.SIGINT)
        assert sent.result() is None
        assert time.monotonic() - begin >= 1


def test_only_old_semaphores_of_dead_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    names = [
        f"sem.loky-{pid}-{age}" for pid in (dead.pid, os.getpid(), 1) for age in ("old", "new")
    ]
    for name in [*names, "sem.loky-other-old", "else"]:
        (tmp_path / name).touch()
        if name.endswith("old"):
            os.utime(tmp_path / name, (0, 0))
    monkeypatch.setattr(pool, "_SHARED_MEMORY", tmp_path)
    with pool.processes(1):
        pass
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted({*names, "sem.loky-other-old", "else"} - {f"sem.loky-{dead.pid}-old"})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread ends the worker")
def test_workers_end_with_a_caller_that_is_killed_whatever_they_do(tmp_path: Path) -> None:
    script = tmp_path / "caller.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from makers.jobs import never_ends\n"
        "from hffkit.execution.pool import processes\n"
        "with processes(1) as pool:\n"
        "    pool.submit(never_ends, sys.argv[1]).result()\n"
    )
    mark, printed = tmp_path / "pid", tmp_path / "stderr"
    with (
        printed.open("w") as stderr,
        subprocess.Popen([sys.executable, script, mark], stderr=stderr, text=True) as caller,
    ):
        wait_until(lambda: mark.exists() and bool(mark.read_text()), 60)
        worker = int(mark.read_text())
        assert list(semaphores_of(caller.pid))
        caller.kill()
    wait_until(lambda: not alive(worker), 2)
    wait_until(lambda: not list(semaphores_of(caller.pid)), 5)
    assert printed.read_text() == ""


def wait_until(is_so: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
