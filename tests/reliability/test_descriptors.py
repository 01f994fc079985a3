import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from makers.trees import about, records

from hffkit.manifest.classes import numbered
from hffkit.manifest.samples import Sample
from hffkit.storage.corpora import open_corpora, samples_of
from hffkit.storage.corpus import Provenance
from hffkit.storage.parts import PartWriter, Record, read_part
from hffkit.storage.record import store
from hffkit.storage.selection import places_of, samples_at
from hffkit.storage.writer import CorpusWriter

Run = Callable[..., Result]
TABLE = numbered(["Forged"], ["Real"])
PROVENANCE = Provenance(TABLE, None, "multi", "build", {"seed": 0}, {"opencv": "5"})
N = 60


def record_of(number: int) -> Record:

    done = store(np.full((8, 8, 3), number, np.uint8), None, 1, None)
    sample = Sample(
        f"real/{number:04}.png", "Real", "train", f"g{number}", f"real/{number:04}.png",
        done.sha256, None, None, None, done.sha256, done.pixels_sha256,
    )  # fmt: skip
    return Record(sample, done.value)


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Allow this process 40 more descriptors than are open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (top + 40, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("mapped_bytes", [1, 1 << 20])
@pytest.mark.usefixtures("few_descriptors")
def test_any_number_of_parts_is_merged_with_few_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped_bytes: int
) -> None:
    monkeypatch.setattr("hffkit.storage.parts._MAPPED_BYTES", mapped_bytes)
    for number in range(N):
        with PartWriter(tmp_path / f"{number}.part") as part:
            part.add(record_of(number))
    with CorpusWriter(tmp_path / "x.lmdb") as writer:
        for number in range(N):
            writer.append(str(number), read_part(tmp_path / f"{number}.part"))
        assert writer.finish(PROVENANCE).n_samples == N
    assert [value for _, value in records(tmp_path / "x.lmdb")] == [
        record_of(number).value for number in range(N)
    ]


@pytest.mark.usefixtures("few_descriptors")
def test_any_number_of_corpora_is_read_with_few_descriptors(tmp_path: Path, run: Run) -> None:
    (tmp_path / "many").mkdir()
    for number in range(N):
        with CorpusWriter(tmp_path / "many" / f"{number:03}.lmdb") as writer:
            writer.append("one", [record_of(number)])
            writer.finish(PROVENANCE)
    corpora = open_corpora([str(tmp_path / "many")])
    assert len(corpora) == N
    for _ in range(2):
        assert [corpus.datum(sample).encoded for corpus, sample in samples_of(corpora)] == [
            True
        ] * N
    places = places_of(corpora)
    shuffled = samples_at(places[::-1], [corpus.name for corpus in corpora])
    assert [sample.key for _, sample in shuffled][-1] == "real/0000.png"
    result = run("merge", tmp_path / "many", "--out", tmp_path / "merged.lmdb")
    assert result.exit_code == 0, result.output
    assert about(tmp_path / "merged.lmdb")["n_samples"] == N
    result = run("verify", tmp_path / "many", "--workers", 1)
    assert (result.exit_code, result.stdout) == (0, "all records match the manifest\n")


COMMANDS = """
import sys
from hffkit.cli.main import main
for line in sys.argv[1:]:
    sys.argv = ["hffkit", *line.split()]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


# The first file that is opened then has the number of standard error, or all three are missing.
@pytest.mark.parametrize("closed", [pytest.param("2>&-", marks=pytest.mark.slow), "<&- >&- 2>&-"])
def test_commands_work_without_standard_streams(packed: Path, tmp_path: Path, closed: str) -> None:
    out = tmp_path / "out"  # written by a process of its own
    lines = (f"verify {packed}", f"degrade {packed} --op gc:0.6 --workers 1 --out {out}")
    command = f"{shlex.join((sys.executable, '-c', COMMANDS, *lines))} {closed}"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    assert about(out)["n_samples"] == about(packed)["n_samples"]
