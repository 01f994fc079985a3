"""Names that attack what reads, prints or writes them."""

from pathlib import Path

import pytest
from conftest import Run
from makers.hostile_names import hostile_names
from makers.trees import write_image


@pytest.mark.parametrize("n", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_files_of_hostile_names_are_built_or_named(tmp_path: Path, n: int) -> None:
    found = hostile_names(tmp_path, n, seed=n)
    for outcome in ("file of a tree", "line of a list"):
        assert found[f"{outcome} built"] > n / 2
        assert found[f"{outcome} named"] > n / 8


def test_lists_read_nothing_outside_of_their_folder(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "in"
    for number in range(4):
        write_image(root / f"{number}.png", number)
    write_image(tmp_path / "secret.png", 9)
    write_image(tmp_path / "other.png", 8)
    lines = ["../secret.png 0", "x/../../other.png 0", "y" * 600 + ".png 0"]
    (tmp_path / "list.txt").write_text("\n".join(["0.png 1", "1.png 0", *lines]), "utf-8")
    options = ("--list", tmp_path / "list.txt", "--src", root, "--real", "1", "--fake", "0")
    result = run("build", "list", *options, "--out", tmp_path / "x.lmdb")
    assert result.exit_code == 3, result.output
    assert "2 samples" in result.output
    text = (tmp_path / "x.lmdb/failures.jsonl").read_text("utf-8")
    assert text.count("leads out of the dataset's folder") == 2
    assert text.count("LMDB holds 511") == 1


def test_a_name_too_long_to_be_written_costs_degrade_one_file(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "in"
    for name in ("a", "b" * 251, "c"):
        write_image(root / f"{name}.png", len(name))
    result = run("degrade", root, "--op", "jp:60", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.png", "c.png"]
    assert "would be too long for a file" in (tmp_path / "out/failures.jsonl").read_text()
