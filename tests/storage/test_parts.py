"""Parts of a corpus: written to the end on any disk, and read with few descriptors."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from makers.corpora import text_sample

from hffkit.manifest.failures import Failure
from hffkit.storage import parts
from hffkit.storage.parts import Event, FileMade, PartWriter, Record, VideoBoxes, read_part

EVENTS: Sequence[Event] = (
    FileMade({"path": "a.png"}),
    Record(text_sample("one"), b"first"),
    FileMade({"path": "b.png"}),
    Failure("no-face", "videos/000.mp4", 2, "no face"),
    VideoBoxes("000", {1: (1, 2, 3)}),
    Record(text_sample("two"), b"second"),
)


def written(path: Path) -> Path:
    with PartWriter(path) as part:
        for event in EVENTS:
            part.add(event)
    return path


def read(path: Path) -> list[Event]:
    """Read a part, with the values of its records as bytes."""
    found: list[Event] = []
    for event in read_part(path):
        if isinstance(event, Record):
            assert event.value is not None
            event = Record(event.sample, bytes(event.value))
        found.append(event)
    return found


def test_values_lie_where_their_events_are(tmp_path: Path) -> None:
    assert read(written(tmp_path / "part")) == list(EVENTS)


def test_what_a_system_call_leaves_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is nearly full takes a piece."""
    writev = os.writev
    whole = written(tmp_path / "whole").read_bytes()
    monkeypatch.setattr(os, "writev", lambda file, pieces: writev(file, [b"".join(pieces)[:3]]))
    assert written(tmp_path / "part").read_bytes() == whole
    assert read(tmp_path / "part") == list(EVENTS)


@pytest.mark.parametrize(
    ("least", "most", "is_mapped"), [(1, 1, True), (1, 0, False), (1 << 30, 1, False)]
)
def test_few_parts_are_mapped_and_only_large_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, most: int, *, is_mapped: bool
) -> None:
    monkeypatch.setattr(parts, "_MAPPED_BYTES", least)
    monkeypatch.setattr(parts, "_MAX_MAPS", most)
    path = written(tmp_path / "part")
    values = [event.value for event in read_part(path) if isinstance(event, Record)]
    assert [isinstance(value, memoryview) for value in values] == [is_mapped] * 2
