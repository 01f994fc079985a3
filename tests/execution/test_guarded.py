"""A map over tasks that may hang or crash."""

import ctypes
import os
import signal
import time
from itertools import count

import pytest
from joblib.externals.loky.process_executor import BrokenProcessPool

from hffkit.errors import HffkitError, ImageError
from hffkit.execution.guarded import Lost, guarded


def fragile(task: str) -> str:
    """Do what the name of a task says."""
    match task:
        case "hang":
            ctypes.PyDLL(None).sleep(1000)  # without releasing the interpreter
        case "crash":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "refuse":
            raise ImageError("no")
    time.sleep(0.01)
    return task.upper()


def short(task: str) -> float:
    return 1 if task == "hang" else 60


@pytest.mark.usefixtures("own_workers")
@pytest.mark.parametrize("n_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_task_that_hangs_crashes_or_is_killed_loses_its_own_result_alone(n_workers: int) -> None:
    tasks = ["a", "crash", "b", "hang", "c", "kill", "d"]
    began = time.monotonic()
    found = list(guarded(fragile, tasks, short, n_workers=n_workers))
    assert time.monotonic() - began < 60
    assert found == [
        "A",
        Lost("its decoder crashes: Segmentation fault"),
        "B",
        Lost("not finished in 1 s: its decoder hangs, or its disk does not answer"),
        "C",
        Lost("twice killed its worker: too little memory, or a crash"),
        "D",
    ]


def test_errors_of_hffkit_are_raised_and_no_task_is_no_work() -> None:
    assert list(guarded(fragile, [], short)) == []
    found = guarded(fragile, ["a", "refuse", "b"], short)
    assert next(found) == "A"
    with pytest.raises(ImageError, match="no"):
        next(found)


def test_workers_that_never_begin_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from hffkit.execution import guarded as module

    numbers = count()

    class Dead:
        def __enter__(self) -> "Dead":
            next(numbers)
            return self

        def __exit__(self, *_: object) -> None: ...

        def submit(self, *_: object) -> None:
            raise BrokenProcessPool

    monkeypatch.setattr(module, "processes", lambda _: Dead())
    with pytest.raises(HffkitError, match="Workers die before they begin"):
        list(guarded(fragile, ["a"], short))
    assert next(numbers) == 3
