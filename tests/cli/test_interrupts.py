"""Ctrl-C and SIGTERM at awkward moments of a command."""

import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hffkit.cli.interrupts import Interrupts
from hffkit.cli.main import main
from hffkit.errors import Terminated

Run = Callable[..., Result]
SWALLOW = """
import signal
try:
    for number in numbers:
        signal.raise_signal(number)
        seen.append(number)
except BaseException:
    seen.append("swallowed")
"""


@pytest.fixture
def seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> list[object]:
    """Return what a module notes that sends signals and swallows all errors, as libraries do."""
    (tmp_path / "swallow.py").write_text("from __main__ import numbers, seen" + SWALLOW)
    monkeypatch.syspath_prepend(tmp_path)
    noted: list[object] = []
    monkeypatch.setattr("__main__.numbers", request.param, raising=False)
    monkeypatch.setattr("__main__.seen", noted, raising=False)
    monkeypatch.delitem(sys.modules, "swallow", raising=False)
    return noted


def import_and_wait() -> None:
    importlib.import_module("swallow")
    time.sleep(10)


@pytest.mark.usefixtures("handlers_of_commands")
@pytest.mark.parametrize(
    ("seen", "error"),
    [([signal.SIGINT], KeyboardInterrupt), ([signal.SIGTERM], Terminated)],
    indirect=["seen"],
)
def test_a_signal_amid_an_import_acts_after_it(
    seen: list[object], error: type[BaseException]
) -> None:
    begin = time.monotonic()
    with pytest.raises(error) as raised:
        import_and_wait()
    assert raised.type is error
    assert time.monotonic() - begin < 5
    assert len(seen) == 1
    assert seen != ["swallowed"]


def test_a_late_second_signal_ends_an_import_that_hangs(tmp_path: Path) -> None:
    lines = ("import signal", "signal.raise_signal(2)", "signal.raise_signal(15)",
             "open('in-time', 'w')", "signal.raise_signal(15)", "open('late', 'w')")  # fmt: skip
    (tmp_path / "hangs.py").write_text("\n".join(lines))
    program = (
        "import sys, types; sys.path.append('.')\n"
        "from hffkit.cli import interrupts\n"
        "moments = iter([5.0, 7.9, 8.1])\n"
        "interrupts.time = types.SimpleNamespace(monotonic=lambda: next(moments))\n"
        "interrupts.Interrupts().begin()\n"
        "import hangs"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (143, "")
    assert (tmp_path / "in-time").exists()
    assert not (tmp_path / "late").exists()


@pytest.mark.usefixtures("handlers_of_commands")
def test_ctrl_c_stays_ignored_where_it_was() -> None:
    """As in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Interrupts().begin()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize(
    "body",
    [
        "signal.raise_signal(signal.SIGINT)",
        # As PyTorch and safetensors do.
        "try: signal.raise_signal(signal.SIGINT)\n    finally: [].pop()",
        "try: signal.raise_signal(signal.SIGINT)\n"
        "    except BaseException: pass\n"
        "    raise front.HffkitError('damaged')",
        # Where click itself catches the interrupt: while the demo calls the next command.
        "front.main.make_context = wait.callback; front.main(['wait'], standalone_mode=False)",
    ],
)
def test_an_interrupt_says_that_work_is_kept(body: str) -> None:
    program = (
        "import signal, hffkit.cli.main as front\n"
        "@front.main.command()\n"
        "def wait(*args, **context):\n"
        "    if args: signal.raise_signal(signal.SIGINT)\n"
        f"    {body}\n"
        "import sys; sys.argv = ['hffkit', 'wait']; front.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert "Interrupted. Finished work is kept" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_interrupt_does_not_abort_the_threads_of_pytorch() -> None:
    """Python takes a thread whose join was interrupted for ended, and does not wait for it."""
    program = (
        "import atexit, os, signal, sys, time, torch\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "import hffkit.cli.main as front\n"
        "image = torch.ones(2000, 2000)\n"
        "def work():\n"
        "    end = time.monotonic() + 2\n"
        "    while time.monotonic() < end:\n"
        "        image @ image\n"
        "@front.main.command()\n"
        "def wait():\n"
        "    atexit.register(print, 'closed')\n"
        "    with ThreadPoolExecutor(1) as pool:\n"
        "        pool.submit(work)\n"
        "        time.sleep(0.1)\n"
        "        signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "        raise KeyboardInterrupt\n"
        "sys.argv = ['hffkit', 'wait']\n"
        "front.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, "closed\n")
    assert (
        done.stderr
        == "\nInterrupted. Finished work is kept: run the same command again to resume.\n"
    )


def test_an_interrupted_command_that_keeps_nothing_promises_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.commands["verify"], "invoke", interrupted)
    found = run("verify", "absent.lmdb")
    assert (found.exit_code, found.stderr) == (130, "\nInterrupted. Run the same command again.\n")
