"""Work that hangs or crashes in a library: it ends, and its input is named."""

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from makers.jobs import jobs_in, reasons

from hffkit.execution.jobs import Job
from hffkit.execution.supervisor import run as run_jobs
from hffkit.execution.watchdog import fate_of, limit_of
from hffkit.manifest.failures import Failure
from hffkit.storage.parts import PartWriter


def hang_in_c() -> None:
    """Sleep without end, and let no other thread of Python run."""
    ctypes.PyDLL(None).sleep(1000)


@dataclass(frozen=True)
class Fragile:
    """Writes a failure for each input; some inputs hang, some crash as a decoder does."""

    hanging: tuple[str, ...] = ()
    crashing: tuple[str, ...] = ()

    def __call__(self, unit: "Several", part: PartWriter) -> None:
        for path in unit.inputs:
            if path in self.hanging:
                hang_in_c()
            if path in self.crashing:
                ctypes.string_at(0)
            part.add(Failure("no-face", path, None, "looked at"))

    def paths(self, unit: "Several") -> Sequence[str]:
        return unit.inputs


@dataclass(frozen=True)
class Several:
    """A unit of several inputs."""

    inputs: tuple[str, ...]

    def singly(self) -> list["Several"]:
        return [Several((path,)) for path in self.inputs]


def several(folder: Path, *, limits_s: Sequence[float]) -> list[Job[Several]]:
    units = [Several(tuple(f"u{i}-{j}" for j in range(3))) for i in range(len(limits_s))]
    return [
        Job(unit, folder / f"u{i}.part", 3, limit_s=limit_s)
        for i, (unit, limit_s) in enumerate(zip(units, limits_s, strict=True))
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("own_workers")
def test_an_input_that_hangs_or_crashes_is_named_and_costs_no_other(tmp_path: Path) -> None:
    work = Fragile(hanging=("u1-1",), crashing=("u2-0",))
    began = time.monotonic()
    done = list(run_jobs(several(tmp_path, limits_s=(600, 3, 600)), work, n_workers=2))
    assert time.monotonic() - began < 300
    found = reasons(tmp_path)
    assert len(found) == 9
    assert {path: why for path, why in found.items() if why != "looked at"} == {
        "u1-1": "not finished in 3 s: its decoder hangs, or its disk does not answer",
        "u2-0": "its decoder crashes: Segmentation fault",
    }
    assert sum(row.failures for row in done) == 2
    assert sum(row.size for row in done) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"u{i}.part" for i in range(3)]


def test_an_unstarted_or_sound_job_has_no_fate(tmp_path: Path) -> None:
    (job, *_) = jobs_in(tmp_path)
    assert job.fate is None
    job.started.touch()
    assert job.fate is None
    assert fate_of(tmp_path / "none", 1) is None


def test_limits_grow_with_the_inputs() -> None:
    assert limit_of(1, 0) == 910
    assert limit_of(256, 25_000_000) == 900 + 2560 + 2500
