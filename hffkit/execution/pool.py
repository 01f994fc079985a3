"""Worker processes of this machine, and a parallel map over small tasks."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker as loky_resource_tracker
from joblib.externals.loky.process_executor import BrokenProcessPool

from hffkit.errors import HffkitError
from hffkit.execution.memory import keep_memory_of_images
from hffkit.execution.signals import deferred_signals
from hffkit.wording import counted

_ALONE = 1.0  # seconds of work without processes, which take about as long to start
_GROUP = 0.1  # seconds of work that are sent to a process at once
_AHEAD = 2  # groups in flight for each process
_MOST_BEGUN = 100  # groups for each of those whose results wait for the first one
# Worker processes must not import modules from the current folder, which may not be trusted. loky
# then sends them the sys.path of their parent.
# Nor need they warn again, as joblib does, where there are no semaphores; loky does not read this.
_ENVIRONMENT = {"PYTHONSAFEPATH": "1", "JOBLIB_MULTIPROCESSING": "0"}
# Trackers remove what a killed command left, and need not say so.
_OF_TRACKERS = {**_ENVIRONMENT, "PYTHONWARNINGS": "ignore"}
_DESCRIPTORS = 16  # that a pool needs, besides one for each process; 13 were measured
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_SHARED_MEMORY = Path("/dev/shm")  # where Linux has named semaphores
_TRACKER_SECONDS = 60.0
_UNNOTICED = 2.0  # seconds after which loky has noticed the death of a worker, or never will
T = TypeVar("T")
R = TypeVar("R")
_Begun = deque[tuple[T, Future[R]]]


class _Pool(ProcessPoolExecutor):  # type: ignore[misc]
    """A pool whose processes never get the Ctrl-C of a terminal, which all of its commands get.

    Those that were importing modules would print tracebacks. The parent ends them.
    """

    def submit(self, *task: Any, **more: Any) -> Any:
        with deferred_signals():  # loky keeps locks that an interrupt finds taken
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # for new processes
            try:
                return super().submit(*task, **more)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def processes(n: int) -> Iterator[ProcessPoolExecutor]:
    """Start `n` processes for work on images; they end with the block, or soon after the parent.

    Raises
    ------
    HffkitError
        If this process may not open as many files as that needs.
    """
    _check_descriptors(n)
    _remove_semaphores()
    _start_resource_trackers()
    environment = {**_ENVIRONMENT}
    pool = _Pool(n, initializer=_begin, initargs=(os.getpid(),), env=environment)
    is_over = _break_by_half_results(pool)
    try:
        yield pool
    finally:
        try:
            # Python takes a thread whose join was interrupted for ended. At its exit it would stop
            # that thread at any place, and then wait for a lock that the thread had taken.
            with deferred_signals():
                # loky's thread would report results that arrive after the shutdown.
                if pool._executor_manager_thread is not None:
                    pool._executor_manager_thread._invoke_excepthook = lambda _: None
                pool.shutdown(wait=True, kill_workers=True)
            is_over.set()  # not after an interrupt: then loky's thread may still read
        finally:
            _end_those_with(environment)


def _break_by_half_results(pool: ProcessPoolExecutor) -> threading.Event:
    """Break a pool when its worker is killed while it writes a result, as by any other death.

    loky's thread would read the rest of that result for ever: other workers, and this process, can
    still write to the pipe. Return the event that ends the watch.
    """
    workers, results, is_over = pool._processes, pool._result_queue, threading.Event()

    def watch() -> None:
        before: set[int] = set()
        while not is_over.wait(_UNNOTICED):
            dead = set(_ended([process.sentinel for process in list(workers.values())]))
            if dead & before:
                for process in list(workers.values()):
                    _kill(process)
                # In place of the last end that writes: the read finds the end of the file.
                with Path(os.devnull).open("wb") as nothing:
                    os.dup2(nothing.fileno(), results._writer.fileno(), inheritable=False)
                return
            before = dead

    threading.Thread(target=watch, daemon=True).start()
    return is_over


def _ended(sentinels: Sequence[int]) -> list[int]:
    """Return the sentinels of processes that have ended, none if loky has just closed one."""
    try:
        return [each for each in wait(sentinels, timeout=0) if isinstance(each, int)]
    except (OSError, ValueError):
        return []


def _end_those_with(environment: Mapping[str, str]) -> None:
    """End the workers of a pool, which its object of the environment tells from other processes.

    After an interrupt while workers are started, loky leaves those that it has, and Python would
    wait for them at its exit.
    """
    for process in multiprocessing.active_children():
        if getattr(process, "env", None) is environment:
            _kill(process)
            process.join()


def _kill(process: BaseProcess) -> None:
    if process.pid is not None:
        with suppress(ProcessLookupError):  # loky has joined it
            os.kill(process.pid, signal.SIGKILL)


def _check_descriptors(n: int) -> None:
    """Refuse to start processes that lack descriptors: loky hides the reason, and leaves files."""
    with ExitStack() as opened:
        try:
            for _ in range(_DESCRIPTORS + n):
                opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            raise HffkitError(
                f"{counted(n, 'worker')} cannot be started: {error.strerror}. Raise the limit "
                "(`ulimit -n 1024`) or use fewer workers, and run the same command again; finished "
                "work is kept."
            ) from None


def _remove_semaphores() -> None:
    """Remove the semaphores of processes that were killed together with their resource tracker.

    `timeout -s KILL` and a shell's `kill -9 %1` kill the tracker, too: it is in their group.
    """
    for path in _SHARED_MEMORY.glob("sem.loky-*"):
        with suppress(OSError, ValueError):
            made, pid = path.stat(), int(path.name.split("-")[1])
            # A tracker that is alive removes them itself soon.
            is_old = time.time() - made.st_mtime > _TRACKER_SECONDS
            if made.st_uid == os.getuid() and is_old and not _is_running(pid):
                path.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _start_resource_trackers() -> None:
    """Start the resource trackers of Python and loky, which a pool needs, unless they run.

    The pool would start them with the environment of this process.
    """
    before = os.environ.copy()
    os.environ.update(_OF_TRACKERS)
    try:
        resource_tracker.ensure_running()
        loky_resource_tracker.ensure_running()
    finally:
        for name in _OF_TRACKERS:
            del os.environ[name]
            if name in before:
                os.environ[name] = before[name]


def _begin(parent: int) -> None:
    """Set up a worker of this machine, and end it with its parent."""
    _end_with(parent)
    set_up_worker()


def _end_with(parent: int) -> None:
    """End this process with its parent, whatever it is doing then.

    On Linux the kernel sees to it. On other systems a thread does, which waits while a library
    holds Python's lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@cache
def set_up_worker() -> None:
    """Limit a worker to one OpenCV thread, and let it keep its memory."""
    import cv2  # late: hffkit.media.image silences it first

    cv2.setNumThreads(1)
    keep_memory_of_images()


def in_order(work: Callable[[T], R], tasks: Iterable[T], *, n_workers: int) -> Iterator[R]:
    """Yield the result of `work` for each task, in order.

    The caller is one of the workers, so this process is set up as one; processes are started only
    if there is more than a second of work. If several tasks raise an HffkitError, the first one is
    raised, and results shortly before it may be lost. When a worker dies, the tasks that were under
    way are done again in a process of their own. `work`, tasks and results must be picklable.

    Raises
    ------
    HffkitError
        If that process dies as well.
    """
    set_up_worker()
    waiting = iter(tasks)
    began = time.monotonic()
    n_alone = 0
    while n_workers == 1 or time.monotonic() - began < _ALONE:
        try:
            task = next(waiting)
        except StopIteration:
            return
        yield work(task)
        n_alone += 1
    size = max(1, int(n_alone * _GROUP / _ALONE))
    groups = iter(lambda: list(islice(waiting, size)), [])
    each = partial(_each, work)
    begun: _Begun[list[T], list[R]] = deque()
    is_broken = True
    while is_broken:
        is_broken = False
        try:
            with processes(n_workers - 1) as others:
                for done in _together(others, each, groups, begun, (n_workers - 1) * _AHEAD):
                    yield from done
        except BrokenProcessPool:
            is_broken = True
        while begun:
            yield from _again(each, *begun.popleft())


def _each(work: Callable[[T], R], group: Sequence[T]) -> list[R]:
    return [work(task) for task in group]


def _together(
    others: ProcessPoolExecutor,
    work: Callable[[T], R],
    tasks: Iterable[T],
    begun: _Begun[T, R],
    n_sent: int,
) -> Iterator[R]:
    """Keep `n_sent` tasks in flight, run the rest here, yield results in order.

    `begun` holds the tasks whose results have not been yielded.
    """
    for task in tasks:
        is_sent = sum(not future.done() for _, future in begun) < n_sent
        begun.append((task, _sent(others, work, task) if is_sent else _done_here(work, task)))
        while begun and (begun[0][1].done() or len(begun) > _MOST_BEGUN * n_sent):
            result = begun[0][1].result()
            begun.popleft()
            yield result
    while begun:  # run the unfinished tasks here as well, rather than wait
        task, future = begun[0]
        result = future.result() if future.done() else work(task)
        begun.popleft()
        yield result


def _sent(others: ProcessPoolExecutor, work: Callable[[T], R], task: T) -> Future[R]:
    try:
        sent: Future[R] = others.submit(work, task)
    except BrokenProcessPool as error:
        return _failed(error)
    return sent


def _done_here(work: Callable[[T], R], task: T) -> Future[R]:
    done: Future[R] = Future()
    try:
        done.set_result(work(task))
    except HffkitError as error:
        return _failed(error)  # raised when its turn comes
    return done


def _failed(error: Exception) -> Future[R]:
    done: Future[R] = Future()
    done.set_exception(error)
    return done


def _again(work: Callable[[T], R], task: T, before: Future[R]) -> R:
    """Return the result of a task that was under way when a worker died."""
    if before.done() and not isinstance(before.exception(), BrokenProcessPool):
        return before.result()
    try:
        with processes(1) as other:
            result: R = other.submit(work, task).result()
    except BrokenProcessPool:
        raise HffkitError(
            "Two workers died at the same place: too little memory, or an input that crashes its "
            "decoder. Try fewer workers, and leave out an input that crashes even a single one."
        ) from None
    return result
