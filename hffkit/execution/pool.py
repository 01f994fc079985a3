"""Worker processes of this machine, and a parallel map over small tasks."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from multiprocessing import resource_tracker
from typing import TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker as loky_resource_tracker
from joblib.externals.loky.process_executor import BrokenProcessPool

from hffkit.errors import HffkitError
from hffkit.execution.memory import keep_memory_of_images

_ALONE = 1.0  # seconds of work without processes, which take about as long to start
_GROUP = 0.1  # seconds of work that are sent to a process at once
_AHEAD = 2  # groups in flight for each process
# Worker processes must not import modules from the current folder, which may not be trusted. loky
# then sends them the sys.path of their parent.
_SAFE_PATH = {"PYTHONSAFEPATH": "1"}
T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def processes(n: int) -> Iterator[ProcessPoolExecutor]:
    """Start `n` processes for work on images; they end with the block, or soon after the parent."""
    _start_resource_trackers()
    pool = ProcessPoolExecutor(n, initializer=_begin, initargs=(os.getpid(),), env=_SAFE_PATH)
    try:
        yield pool
    finally:
        # loky's thread would report results that arrive after the shutdown.
        hook, threading.excepthook = threading.excepthook, lambda _: None
        try:
            pool.shutdown(wait=True, kill_workers=True)
        finally:
            threading.excepthook = hook


def _start_resource_trackers() -> None:
    """Start the resource trackers of Python and loky, which a pool needs, unless they run.

    The pool would start them with the environment of this process.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ.update(_SAFE_PATH)
    try:
        resource_tracker.ensure_running()
        loky_resource_tracker.ensure_running()
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before


def _begin(parent: int) -> None:
    """Set up a worker of this machine, and end it soon after the death of its parent."""
    set_up_worker()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@cache
def set_up_worker() -> None:
    """Limit a worker to one OpenCV thread, and let it keep its memory."""
    import cv2  # late: hffkit.media.image silences it first

    cv2.setNumThreads(1)
    keep_memory_of_images()


def in_order(work: Callable[[T], R], tasks: Iterable[T], *, n_workers: int) -> Iterator[R]:
    """Yield the result of `work` for each task, in order.

    The caller is one of the workers; processes are started only if there is more than a second of
    work. If several tasks raise an HffkitError, the first one is raised, and results shortly before
    it may be lost. `work`, tasks and results must be picklable.

    Raises
    ------
    HffkitError
        If a worker dies.
    """
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
    try:
        with processes(n_workers - 1) as others:
            for done in _together(others, partial(_each, work), groups, (n_workers - 1) * _AHEAD):
                yield from done
    except BrokenProcessPool:
        raise HffkitError(
            "A worker died: too little memory for so many, or an input that crashes its decoder. "
            "Try fewer workers, and leave out an input that crashes even a single one."
        ) from None


def _each(work: Callable[[T], R], group: Sequence[T]) -> list[R]:
    return [work(task) for task in group]


def _together(
    others: ProcessPoolExecutor, work: Callable[[T], R], tasks: Iterable[T], n_sent: int
) -> Iterator[R]:
    """Keep `n_sent` tasks in flight, run the rest here, yield results in order."""
    begun: deque[tuple[T, Future[R]]] = deque()
    for task in tasks:
        is_sent = sum(not future.done() for _, future in begun) < n_sent
        begun.append((task, others.submit(work, task) if is_sent else _done_here(work, task)))
        while begun and begun[0][1].done():
            yield begun.popleft()[1].result()
    for task, future in begun:  # run the unfinished tasks here as well, rather than wait
        yield future.result() if future.done() else work(task)


def _done_here(work: Callable[[T], R], task: T) -> Future[R]:
    done: Future[R] = Future()
    try:
        done.set_result(work(task))
    except HffkitError as error:
        done.set_exception(error)  # raised when its turn comes
    return done
