"""The workers of a Dask cluster do what those of this machine do, and outlive what they outlive."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import Result
from makers.jobs import Suicidal, jobs_in, reasons
from makers.trees import hostile_folder, write_families

from hffkit.errors import HffkitError
from hffkit.execution import dask as cluster
from hffkit.execution import supervisor as engine
from hffkit.execution.supervisor import run as run_jobs
from hffkit.storage.corpus import Corpus

Run = Callable[..., Result]


class Dask:
    """A scheduler and workers in processes of their own; a worker that dies is replaced.

    They start in a folder with modules that nobody may import, as the documentation has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hostile"
        self.mark = hostile_folder(self.folder)
        self.file = folder / "scheduler.json"
        self._scheduler = self._start("scheduler", "--port", "0", "--no-dashboard")
        self._workers: list[subprocess.Popen[bytes]] = []
        self.address = ""
        while not self.address:
            assert self._scheduler.poll() is None
            time.sleep(0.05)
            with suppress(OSError, json.JSONDecodeError):  # the file may be half written
                self.address = json.loads(self.file.read_text())["address"]

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        module = f"distributed.cli.dask_{what}"
        words = [sys.executable, "-m", module, *arguments, "--scheduler-file", str(self.file)]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONSAFEPATH": "1"}
        return subprocess.Popen(words, env=env, cwd=self.folder, stderr=subprocess.DEVNULL)

    def start_workers(self, n: int) -> None:
        """Start workers; several have a nanny each, which replaces those that die."""
        how = ("--nworkers", str(n)) if n > 1 else ("--no-nanny",)
        arguments = (*how, "--nthreads", "1", "--no-dashboard")
        self._workers.append(self._start("worker", *arguments))

    def stop_workers(self, how: int = signal.SIGTERM) -> None:
        while self._workers:
            process = self._workers.pop()
            process.send_signal(how)
            process.wait()

    def stop_scheduler(self) -> None:
        self._scheduler.kill()
        self._scheduler.wait()

    def stop(self) -> None:
        for process in (*self._workers, self._scheduler):
            process.terminate()
        for process in (*self._workers, self._scheduler):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:  # a worker may wait for the scheduler, which has gone
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    found = Dask(tmp_path_factory.mktemp("dask"))
    found.start_workers(2)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_families(tmp_path_factory.mktemp("cluster") / "tree")


@pytest.mark.slow
def test_a_cluster_builds_packs_and_degrades_the_same_bytes(
    local: Dask, tree: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(local.folder)
    address = local.address
    digests = []
    for name, how in (("here", ("--workers", 1)), ("there", ("--scheduler", address))):
        built, packed, done = (tmp_path / f"{name}-{verb}.lmdb" for verb in ("b", "p", "d"))
        for words in (
            ("build", "ff++", "--src", tree, "--frames", 2, "--out", built),
            ("pack", built, "--size", 64, "--out", packed),
            ("degrade", built, "--op", "jp-mix", "--limit", 10, "--out", done),
        ):
            result = run(*words, *how)
            assert result.exit_code == 0, result.output
        digests.append([Corpus(path).content_sha256 for path in (built, packed, done)])
    assert digests[0] == digests[1]
    assert not local.mark.exists(), local.mark.read_text("utf-8")


@pytest.mark.slow
def test_the_steps_of_a_recipe_go_to_the_cluster(
    local: Dask, tree: Path, run: Run, tmp_path: Path
) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        'title = "t"\n[data.videos]\nabout = "FF++"\n'
        '[steps.faces]\ndo = "build"\nsource = "ff++"\nsrc = "videos"\nframes = "1"\n'
        '[steps.packed]\ndo = "pack"\nsrc = "faces"\nsize = 32\n'
    )
    words = ("run", recipe, "--data", f"videos={tree}", "--out", tmp_path / "out", "--json")
    with patch.object(engine, "_run_here", side_effect=AssertionError("not on this machine")):
        result = run(*words, "--scheduler", local.address)
    assert result.exit_code == 0, result.output
    packed = json.loads(result.stdout)["packed"]
    here = tmp_path / "here.lmdb"
    built = json.loads(result.stdout)["faces"]
    assert run("pack", built, "--size", 32, "--out", here).exit_code == 0
    assert Corpus(Path(packed)).content_sha256 == Corpus(here).content_sha256


@pytest.mark.slow
def test_relative_paths_mean_on_workers_what_they_mean_here(
    local: Dask, tree: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faces").symlink_to(tree)
    monkeypatch.chdir(tmp_path)
    result = run("build", "ff++", "--src", "faces", "--frames", 1, "--out", "data.lmdb",
                 "--scheduler", local.address)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert Corpus(tmp_path / "data.lmdb").n_samples > 0


def test_a_worker_imports_nothing_from_the_folder_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, name in ((here, "beside_the_worker"), (there, "beside_the_data")):
        folder.mkdir()
        (folder / f"{name}.py").touch()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(cluster, "set_up_worker", lambda: None)  # this process is none
    (job,) = jobs_in(tmp_path, 1)
    cluster._do(job, Suicidal(), cluster._versions(), there)
    assert Path.cwd() == there
    assert find_spec("beside_the_worker")
    assert not find_spec("beside_the_data")


@pytest.mark.slow
def test_videos_are_compressed_on_a_cluster_as_here(
    local: Dask, tree: Path, run: Run, tmp_path: Path
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for path in sorted(tree.rglob("*.mp4"))[:2]:
        (clips / path.name).write_bytes(path.read_bytes())
    for name, how in (("here", ("--workers", 1)), ("there", ("--scheduler", local.address))):
        result = run("degrade", clips, "--op", "h264:40", "--out", tmp_path / name, *how)
        assert result.exit_code == 0, result.output
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.mp4")}
        for name in ("here", "there")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 2


@pytest.mark.slow
def test_a_unit_that_kills_its_workers_is_given_up_and_the_rest_is_done(
    local: Dask, tmp_path: Path
) -> None:
    work = Suicidal(deadly=("u3",), deadly_once=("u0",), marks=tmp_path)
    done = list(run_jobs(jobs_in(tmp_path, 6), work, n_workers=1, scheduler=local.address))
    found = reasons(tmp_path)
    assert len(found) == 6
    assert {unit for unit, reason in found.items() if "killed its worker" in reason} == {"u3"}
    assert sorted(row.failures for row in done) == [0, 0, 0, 0, 0, 1]
    assert not list(tmp_path.glob("*.tmp"))
    assert not list(tmp_path.glob("*.started"))


@pytest.mark.slow
def test_parts_may_be_used_up_before_the_end_of_their_jobs_is_known(
    local: Dask, tmp_path: Path
) -> None:
    """As the writer of a corpus does, which takes every part that is there."""
    n = 0
    for _ in run_jobs(jobs_in(tmp_path, 6), Suicidal(), n_workers=1, scheduler=local.address):
        time.sleep(0.3)  # by now more of them are finished
        for part in tmp_path.glob("*.part"):
            part.unlink()
            n += 1
    assert n == 6
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_workers_with_other_versions_are_refused(
    local: Dask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**cluster._versions(), "dlib": "18.0"}
    monkeypatch.setattr(cluster, "_versions", lambda: own)
    with pytest.raises(HffkitError, match=r"has dlib .*, not 18\.0: its images could differ"):
        list(run_jobs(jobs_in(tmp_path, 6), Suicidal(), n_workers=1, scheduler=local.address))
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_workers_that_do_not_see_the_folder_are_refused(local: Dask, tmp_path: Path) -> None:
    gone = jobs_in(tmp_path / "gone", 6)
    with pytest.raises(HffkitError, match=r"cannot read .*gone.* must have the same folders"):
        list(cluster.run_on_cluster(gone, Suicidal(), local.address))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers there"),
        ("tcp://127.0.0.1:port", "no Dask scheduler answers there"),
        ("node17", "neither an address such as tcp://node:8786 nor a file"),
        ("missing.json", "neither an address such as tcp://node:8786 nor a file"),
    ],
)
def test_an_address_without_scheduler_is_named(
    address: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT", "1s")
    with pytest.raises(HffkitError, match=said):
        list(run_jobs(jobs_in(tmp_path, 6), Suicidal(), n_workers=1, scheduler=address))


@pytest.mark.slow
def test_a_result_that_left_with_its_worker_is_waited_for_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "_CHECK_EVERY_S", 0.5)
    lone = Dask(tmp_path)
    later = threading.Timer(4, lone.start_workers, (1,))
    try:
        lone.start_workers(1)
        with cluster._connected(lone.address) as client:
            future = client.submit(abs, -3)
            while not future.done():
                time.sleep(0.01)
            lone.stop_workers(signal.SIGKILL)
            later.start()
            assert cluster._result(client, future) == 3
        assert "has no workers; waiting for some" in capsys.readouterr().err
    finally:
        later.cancel()
        lone.stop()


@pytest.mark.slow
def test_work_waits_for_workers_and_is_kept_when_the_scheduler_goes_away(tmp_path: Path) -> None:
    """As on a cluster whose queue starts and stops workers when it likes, and then ends."""
    code = (
        "import sys; from pathlib import Path; from makers.jobs import Suicidal, jobs_in\n"
        "from hffkit.execution import dask; dask._CHECK_EVERY_S = 0.5\n"
        "from hffkit.execution.supervisor import run\n"
        "there = jobs_in(Path(sys.argv[1]), 4)\n"
        "doing = run(there, Suicidal(seconds=2), n_workers=1, scheduler=sys.argv[2])\n"
        "for n, _ in enumerate(doing, 1):\n"
        "    print(n, flush=True)"
    )
    empty = Dask(tmp_path)
    try:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        words = [sys.executable, "-c", code, str(tmp_path), str(empty.file)]
        with subprocess.Popen(
            words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as doing:
            assert doing.stderr is not None
            assert "has no workers yet; waiting" in doing.stderr.readline()
            empty.start_workers(1)
            assert doing.stdout is not None
            assert doing.stdout.readline() == "1\n"
            empty.stop_workers()
            assert "has no workers; waiting" in doing.stderr.readline()
            empty.start_workers(1)
            rest, told = doing.communicate(timeout=60)
            assert rest.split() == ["2", "3", "4"]
            assert "no workers" not in told
        (tmp_path / "kept").mkdir()
        jobs = jobs_in(tmp_path / "kept", 6)
        found = run_jobs(jobs, Suicidal(seconds=0.5), n_workers=1, scheduler=empty.address)
        first = next(found)
        empty.stop_scheduler()
        with pytest.raises(HffkitError, match=r"went away.*run the same command again"):
            list(found)
    finally:
        empty.stop()
    assert first.part.exists()
    list(run_jobs(jobs, Suicidal(), n_workers=1))
    assert len(reasons(tmp_path / "kept")) == 6
