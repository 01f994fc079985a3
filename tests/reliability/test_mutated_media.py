"""Damaged media files never crash or hang a reader, and are always named."""

from pathlib import Path

import pytest
from makers.mutated_media import mutated_media


@pytest.mark.parametrize("n", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused_by_name_and_alike_each_time(
    tmp_path: Path, n: int
) -> None:
    found = mutated_media(tmp_path, n, seed=n)
    assert found.total() == n
    assert found.keys() == {"read", "read in part", "refused"}
