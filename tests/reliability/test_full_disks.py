"""Commands on disks that fill up at their n-th write."""

import subprocess
import sys
from pathlib import Path

import pytest
from makers.full_disks import (
    Case,
    cases_of,
    compiler,
    fill_up,
    full_disk,
    full_disks,
    undisturbed,
)
from makers.trees import build_two_classes

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler")
SAME = "refused in a line, then the same digest"


@pytest.mark.slow
def test_a_sheet_on_a_full_disk_is_whole_or_absent(tmp_path: Path) -> None:
    corpus = build_two_classes(tmp_path, 2)
    with full_disk(tmp_path, ["hffkit.corpus.inspect"]) as disk:
        words = ("inspect", str(corpus), "--out", str(disk.path / "sheet.png"))
        case = undisturbed(disk, Case(words, "sheet.png"))
        assert case.n_writes
        for room in range(case.n_writes):
            assert fill_up(disk, case, room) == SAME


PROGRAM = """
import sys
from pathlib import Path
import click
from hffkit.cli import options
from hffkit.cli.main import main

file = Path(sys.argv.pop())

@click.command()
def test():
    with options.shown({}, 10_000 * "text", as_json=False):
        file.write_text("page")

main.add_command(test)
main()
"""


def test_a_full_standard_output_is_one_line_and_what_is_written_stays(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, "test", str(tmp_path / "page")]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "Error: standard output: cannot be written: No space left on device.\n"
    assert done.returncode == 1
    assert (tmp_path / "page").read_text() == "page"


@pytest.mark.slow
def test_full_disks(tmp_path: Path) -> None:
    assert full_disks(tmp_path, 6, 0) == {SAME: 6}


@pytest.mark.slow
def test_a_build_survives_a_disk_that_is_full_at_any_write(tmp_path: Path) -> None:
    with full_disk(tmp_path, ["hffkit.corpus.build"]) as disk:
        case = undisturbed(disk, cases_of(tmp_path, disk.path)["build"])
        for room in range(case.n_writes):
            assert fill_up(disk, case, room) == SAME
