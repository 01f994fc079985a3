"""Commands that are killed at random moments; `benchmarks/soak.py` tries as many as you like."""

import sys
from pathlib import Path

import pytest
from makers.kills import killed_processes

from hffkit.errors import StorageError
from hffkit.storage.staging import JOURNAL_FILE, Partial, partial_path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_killed_command_gives_the_undisturbed_result_when_it_is_run_again(
    tmp_path: Path,
) -> None:
    outcomes = killed_processes(tmp_path, 11, 0)
    assert outcomes.total() == 11
    assert all(text.endswith(": the same result") for text in outcomes)
    assert any("killed" in text for text in outcomes)


@pytest.mark.parametrize("is_published", [True, False])
def test_only_work_whose_product_has_its_name_is_removed(
    tmp_path: Path, *, is_published: bool
) -> None:
    out, command = tmp_path / "x", {"verb": "x"}
    with Partial(out, command) as partial:
        partial.product.mkdir()
        (partial.product / JOURNAL_FILE).touch()
    if is_published:  # and killed right then
        partial.product.rename(out)
    else:
        out.mkdir()
        (out / JOURNAL_FILE).touch()
    with pytest.raises(StorageError, match="already exists"):
        Partial(out, command)
    assert partial_path(out).exists() != is_published
    assert out.is_dir()
    assert (out / JOURNAL_FILE).exists() != is_published
