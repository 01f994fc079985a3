"""Temporary folders of processes that were killed, and of those that were not."""

import os
import tempfile
from pathlib import Path

import pytest

from hffkit.execution.temporary import temporary_folder

KILLED, NEW, LINK = (f"hffkit-temporary-{name}" for name in ("killed", "new", "link"))


def test_folders_of_killed_processes_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (KILLED, NEW, "other", "hffkit-demo"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / LINK).symlink_to(tmp_path / "other")
    with temporary_folder() as at_work:
        for name in (KILLED, "other", "hffkit-demo", at_work.name):
            os.utime(tmp_path / name, (0, 0))
        with temporary_folder() as second:
            assert second.parent == tmp_path
            left = {path.name for path in tmp_path.iterdir()}
            assert left == {NEW, LINK, "other", "hffkit-demo", at_work.name, second.name}
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {NEW, LINK, "other", "hffkit-demo"}
    assert (tmp_path / "other/file").exists()
