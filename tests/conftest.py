"""Fixtures for every test, and the profiles of hypothesis."""

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings
from makers.command_server import MODULES, CommandServer, command_server
from makers.workers import LastingWorkers

from hffkit.cli.interrupts import Interrupts
from hffkit.cli.main import main
from hffkit.execution import guarded, pool, supervisor

if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: more threads hinder each other
    os.environ["OMP_NUM_THREADS"] = "1"

# A hundred processes of the tests import hffkit: without bytecode each compiles it again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Temporary folders in memory, where it has room: tests would wait for a disk.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

# OpenCV writes a line to standard error for a name that it does not know, and so would every
# command of a test: it spells AVX512-SKX.
if "OPENCV_CPU_DISABLE" in os.environ:
    os.environ["OPENCV_CPU_DISABLE"] = os.environ["OPENCV_CPU_DISABLE"].replace("_", "-")

# Without deadlines, for slow machines are no failure. .ci/run asks for the thorough one.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

Run = Callable[..., Result]


# Programs that run in the background are started deaf to Ctrl-C, and so are their children.
signal.signal(signal.SIGINT, signal.default_int_handler)

gc.disable()  # while libraries and thousands of tests are loaded, which stay
_n_loaded = 0  # modules that were there when garbage was looked for last


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Start a worker more than there are cores: tests wait for programs that they start."""
    n_cores = yield
    return n_cores if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else n_cores + 1


def pytest_collection_finish() -> None:
    """Collect garbage of the tests alone: what was loaded would be searched each time."""
    gc.freeze()
    gc.enable()


def pytest_runtest_teardown() -> None:
    """Leave out what a test imported as well: PyTorch alone has half a million objects."""
    global _n_loaded
    if len(sys.modules) > _n_loaded + 50:
        _n_loaded = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture
def handlers_of_commands() -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM as a command does."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {each: signal.getsignal(each) for each in numbers}
    Interrupts().begin()
    yield
    for each, old in before.items():
        signal.signal(each, old)


@pytest.fixture(scope="session")
def data() -> Path:
    """Real faces and clips (data/...), and what the original programs made (golden/...)."""
    folder = os.environ.get("HFFKIT_TEST_DATA")
    if folder is None:
        pytest.skip("HFFKIT_TEST_DATA does not name the folder of real data")
    return Path(folder)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Return an empty folder on another file system than `tmp_path`, on disk if that is not."""
    device = tmp_path.stat().st_dev
    for parent in (Path(tempfile.gettempdir()), _MEMORY):
        if parent.is_dir() and parent.stat().st_dev != device:
            with tempfile.TemporaryDirectory(prefix="hffkit-test-", dir=parent) as folder:
                yield Path(folder)
            return
    pytest.skip("there is no other file system")


@pytest.fixture
def run() -> Run:
    """Call `hffkit` with arguments in this process; a bug keeps its traceback."""

    def invoke(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, [str(part) for part in arguments], catch_exceptions=False)

    return invoke


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """Leave the number of PyTorch's threads as it was: trainings set it."""
    n = torch.get_num_threads() if (torch := sys.modules.get("torch")) else 0
    yield
    if torch:
        torch.set_num_threads(n)


@pytest.fixture(scope="session", autouse=True)
def _workers() -> Iterator[None]:
    """Let the same worker processes serve all commands."""
    workers = LastingWorkers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "processes", workers)
        patch.setattr(guarded, "processes", workers)
        yield
    workers.end()


@pytest.fixture
def own_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each command workers of its own, where they are what is tested."""
    for module in (supervisor, guarded):
        monkeypatch.setattr(module, "processes", pool.processes)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the plots of every evaluation, which take most of the time of a page."""
    monkeypatch.setattr("hffkit.evaluation.page._figures", lambda _: ())


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    """Run commands in processes of their own that need not import anything."""
    said = tmp_path_factory.mktemp("commands") / "said"
    with command_server(said, MODULES, os.environ) as server:
        yield server


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed corpus of 48x48 px: 7 train, 4 val and 2 test images of each of three classes."""
    from makers.trainings import packed_corpus

    return packed_corpus(tmp_path_factory.mktemp("packed"), {"train": 7, "val": 4, "test": 2})


@pytest.fixture(scope="session")
def native(packed: Path) -> Path:
    """The corpus of 56x64 px that `packed` was made of."""
    return packed.with_name("raw")


@pytest.fixture(scope="session")
def finished(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of AMTENnet, trained on `packed` for 12 iterations."""
    from makers.trainings import request_of

    from hffkit.training.train import train

    out = tmp_path_factory.mktemp("finished") / "run"
    train(request_of(packed), out)
    return out


@pytest.fixture(scope="session")
def predictor(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predictor of 68 landmarks, smaller than the published one, which we may not ship."""
    from makers.landmarks import annotated, trained

    folder = tmp_path_factory.mktemp("predictor")
    return trained(annotated(data, "training", folder), folder / "sp68.dat")
