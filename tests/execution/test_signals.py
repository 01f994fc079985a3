"""Signals that are deferred to the end of a block."""

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from hffkit.errors import Terminated
from hffkit.execution.signals import ENDING, deferred_signals

pytestmark = pytest.mark.usefixtures("handlers_of_commands")


def run(steps: Sequence[Callable[[], object]], seen: list[bool]) -> None:
    """Run the steps in a block, and note after each one if a signal is waiting."""
    with deferred_signals() as is_interrupted:
        for step in steps:
            step()
            seen.append(is_interrupted())


def fail() -> None:
    raise ValueError


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_first_signal_acts_at_the_end_of_the_block(
    number: signal.Signals, error: type[BaseException]
) -> None:
    before, seen = [signal.getsignal(each) for each in ENDING], list[bool]()
    with pytest.raises(error) as raised:
        run([int, partial(signal.raise_signal, number), int], seen)
    assert raised.type is error
    assert seen == [False, True, True]
    assert [signal.getsignal(each) for each in ENDING] == before


def test_a_second_signal_acts_at_once() -> None:
    seen, interrupt = list[bool](), partial(signal.raise_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run([interrupt, interrupt, int], seen)
    assert seen == [True]


def test_a_signal_is_not_lost_with_an_error() -> None:
    with pytest.raises(KeyboardInterrupt) as raised:
        run([partial(signal.raise_signal, signal.SIGINT), fail], [])
    assert isinstance(raised.value.__context__, ValueError)


def test_an_ignored_signal_stays_ignored() -> None:
    """As under `nohup`, and in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred_signals() as is_interrupted:
        signal.raise_signal(signal.SIGINT)
        assert not is_interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_have_no_signals_to_defer() -> None:
    def tried() -> bool:
        with deferred_signals() as is_interrupted:
            return is_interrupted()

    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(tried).result()
