"""Fixtures for every test, and hypothesis without its clock: slow machines are no failure."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import settings

from hffkit.cli.main import main

if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: more threads hinder each other
    os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("hffkit", deadline=None)
settings.load_profile("hffkit")

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def data() -> Path:
    """Real faces and clips (data/...), and what the original programs made (golden/...)."""
    folder = os.environ.get("HFFKIT_TEST_DATA")
    if folder is None:
        pytest.skip("HFFKIT_TEST_DATA does not name the folder of real data")
    return Path(folder)


@pytest.fixture
def run() -> Run:
    """Call `hffkit` with arguments in this process; a bug keeps its traceback."""

    def invoke(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, [str(part) for part in arguments], catch_exceptions=False)

    return invoke
