"""Work survives the processes that do it."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from click.testing import Result
from makers.jobs import Suicidal, jobs_in, reasons
from makers.programs import HFFKIT
from makers.trees import write_families

from hffkit.execution.jobs import Job
from hffkit.execution.supervisor import run as run_jobs
from hffkit.manifest.failures import Failure
from hffkit.storage.corpus import Corpus
from hffkit.storage.parts import PartWriter, read_part
from hffkit.storage.staging import partial_path


@pytest.mark.slow
@pytest.mark.usefixtures("own_workers")
def test_a_unit_that_always_kills_its_worker_is_given_up_and_the_rest_is_done(
    tmp_path: Path,
) -> None:
    (tmp_path / "marks").mkdir()
    (tmp_path / "parts").mkdir()
    work = Suicidal(deadly=("u7",), deadly_once=("u0",), marks=tmp_path / "marks")
    done = list(run_jobs(jobs_in(tmp_path / "parts"), work, n_workers=2))
    found = reasons(tmp_path / "parts")
    assert len(found) == 12
    assert {unit for unit, reason in found.items() if "killed its worker" in reason} == {"u7"}
    assert sum(row.failures for row in done) == 1
    assert sorted(p.suffix for p in (tmp_path / "parts").iterdir()) == [".part"] * 12
    assert {path.stem for path in (tmp_path / "marks").iterdir()} == {"u0"}


def test_finished_parts_are_not_done_again(tmp_path: Path) -> None:
    jobs = jobs_in(tmp_path)
    list(run_jobs(jobs[:5], Suicidal(), n_workers=1))
    before = {job.part: job.part.stat().st_mtime_ns for job in jobs[:5]}
    assert len(list(run_jobs(jobs, Suicidal(), n_workers=1))) == 7
    assert before == {job.part: job.part.stat().st_mtime_ns for job in jobs[:5]}


@dataclass(frozen=True)
class Logging:
    """Notes in a file which process does which unit; one unit kills its worker the first time."""

    log: Path
    deadly_once: str = ""

    def __call__(self, unit: str, part: PartWriter) -> None:
        is_first = f" {unit}\n" not in self._lines()
        with self.log.open("a") as log:  # one short write: lines of two workers do not mix
            log.write(f"{os.getpid()} {unit}\n")
        part.add(Failure("unreadable", unit, None, "looked at"))
        if unit == self.deadly_once and is_first:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)

    def paths(self, unit: str) -> Sequence[str]:
        return [unit]

    def _lines(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def units(self) -> list[str]:
        """Return the units in the order in which they were begun."""
        return [line.split()[1] for line in self._lines().splitlines()]

    def pids(self) -> set[str]:
        """Return the processes that began units."""
        return {line.split()[0] for line in self._lines().splitlines()}


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize("is_durable", [True, False])
def test_a_job_is_done_once_though_its_part_is_used_up_at_once(
    tmp_path: Path,
    n_workers: int,
    is_durable: bool,  # noqa: FBT001
) -> None:
    work = Logging(tmp_path / "log")
    jobs = [Job(f"u{i}", tmp_path / f"u{i}.part", i, is_durable) for i in range(20)]
    done = []
    for row in islice(run_jobs(jobs, work, n_workers=n_workers), 100):
        assert [event.path for event in read_part(row.part) if isinstance(event, Failure)] == [
            row.part.stem
        ]
        row.part.unlink()
        done.append(row)
    assert sorted(work.units()) == sorted(job.unit for job in jobs)
    assert sorted((row.part, row.size, row.failures) for row in done) == sorted(
        (job.part, job.size, 1) for job in jobs
    )
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.usefixtures("own_workers")
def test_a_part_that_is_used_up_is_not_made_again_when_a_worker_dies(tmp_path: Path) -> None:
    work = Logging(tmp_path / "log", deadly_once="u9")
    jobs = [Job(f"u{i}", tmp_path / f"u{i}.part", 1) for i in range(20)]
    used = []
    for row in islice(run_jobs(jobs, work, n_workers=1), 100):
        row.part.unlink()
        used.append(row.part.stem)
    left = [path.stem for path in tmp_path.glob("*.part")]  # finished as the worker died
    assert sorted(used + left) == sorted(job.unit for job in jobs)
    assert sorted(work.units()) == sorted([*(job.unit for job in jobs), "u9"])


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_first_workers_do_all_the_jobs(tmp_path: Path, n_workers: int) -> None:
    work = Logging(tmp_path / "log")
    n_jobs = 4 * n_workers + 3  # more than wait in a pool's queue at once
    jobs = [Job(f"u{i:02d}", tmp_path / f"u{i:02d}.part", 1) for i in range(n_jobs)]
    assert len(list(run_jobs(jobs, work, n_workers=n_workers))) == n_jobs
    assert len(work.pids()) <= n_workers
    assert sorted(work.units()) == [job.unit for job in jobs]
    if n_workers == 1:
        assert work.units() == [job.unit for job in jobs]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree") / "ff++"
    return write_families(root, qualities=("c23", "c40"), n_frames=8)


def command(tree: Path, out: Path, *more: str) -> list[str]:
    arguments = ["build", "ff++", "--src", str(tree), "--quality", "c23,c40", "--frames", "8/4"]
    return [*HFFKIT, *arguments, "--out", str(out), "--workers", "2", *more]


@pytest.fixture(scope="module")
def whole(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The corpus of an undisturbed build."""
    out = tmp_path_factory.mktemp("whole") / "data.lmdb"
    subprocess.run(command(tree, out), check=True, capture_output=True)
    return Corpus(out)


def same(out: Path, whole: Corpus) -> None:
    built = Corpus(out)
    for name in ("content_sha256", "pixels_sha256", "sources_sha256", "counts", "failures"):
        assert getattr(built.info, name) == getattr(whole.info, name)
    for name in ("manifest.jsonl", "failures.jsonl", "boxes.json"):
        assert (out / name).read_bytes() == (whole.path / name).read_bytes()
    assert not out.with_name(out.name + ".partial").exists()


@pytest.mark.slow
def test_an_interrupted_build_says_how_to_go_on(tree: Path, tmp_path: Path, whole: Corpus) -> None:
    out = tmp_path / "data.lmdb"
    parts = partial_path(out) / "parts"
    with subprocess.Popen(command(tree, out), stderr=subprocess.PIPE) as process:
        while process.poll() is None and not any(parts.glob("*.started")):
            time.sleep(0.01)  # until a worker is at work
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert b"Interrupted. Finished work is kept" in errors
    assert b"Traceback" not in errors
    assert not out.exists()
    subprocess.run(command(tree, out), check=True, capture_output=True)
    same(out, whole)


@pytest.mark.slow
@pytest.mark.usefixtures("own_workers")
def test_one_worker_and_two_shards_give_the_same_corpus(
    tree: Path, tmp_path: Path, whole: Corpus, run: Callable[..., Result]
) -> None:
    arguments = command(tree, tmp_path / "one.lmdb", "--workers", "1")[3:]
    assert run(*arguments).exit_code == 0
    same(tmp_path / "one.lmdb", whole)
    for shard in ("1/2", "0/2"):
        out = tmp_path / f"shard{shard[0]}.lmdb"
        assert run(*command(tree, out, "--shard", shard)[3:]).exit_code == 0
    merged = run(
        "merge", tmp_path / "shard1.lmdb", tmp_path / "shard0.lmdb", "--out", tmp_path / "m"
    )
    assert merged.exit_code == 0, merged.output
    same(tmp_path / "m", whole)


@pytest.mark.slow
@pytest.mark.usefixtures("own_workers")
def test_a_repaired_video_costs_only_its_own_family(
    tree: Path, tmp_path: Path, whole: Corpus, run: Callable[..., Result]
) -> None:
    broken = tmp_path / "ff++"
    shutil.copytree(tree, broken)
    clip = broken / "manipulated_sequences/FaceSwap/c40/videos/071_054.mp4"
    good = clip.read_bytes()
    clip.write_bytes(b"")
    out = tmp_path / "data.lmdb"
    arguments = command(broken, out)[3:]
    result = run(*arguments)
    assert result.exit_code == 3
    assert "1 unreadable" in result.output
    (failure,) = map(json.loads, (out / "failures.jsonl").read_text().splitlines())
    assert failure["reason"] == "empty file"
    clip.write_bytes(good)
    assert run(*arguments, "--retry-failed").exit_code == 0
    same(out, whole)
    assert run(*arguments, "--retry-failed", "--frames", "7/3").exit_code == 1
