"""Whatever lies in a folder leaves a trace, and no file is in two classes or two splits."""

import functools
import io
import os
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hffkit.corpus.build import BuildWork, prepare
from hffkit.errors import CorpusError
from hffkit.manifest.failures import Failure
from hffkit.sources.folders import FolderOptions
from hffkit.storage.parts import PartWriter, Record, read_part


@functools.cache
def contents() -> dict[str, bytes]:
    """Return small files of several kinds, whole and damaged."""
    noise = np.random.default_rng(3).integers(0, 255, (8, 8, 3), np.uint8)
    found = {}
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        file = io.BytesIO()
        Image.fromarray(noise).save(file, kind)
        found[kind] = file.getvalue()
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    found["MP4"] = file.getvalue()
    return found | {
        "empty": b"", "text": b"a note\n", "cut": found["PNG"][:40], "lfs": b"version https://git-",
        "zeros": bytes(600),
    }  # fmt: skip


STEMS = ("0", "1", "0001", "a", "A", "a b", "ü", "._0", ".hidden", "x.y", "519", "519_515", "-")
SUFFIXES = (
    "", ".jpg", ".JPG", ".jfif", ".jpe", ".png", ".gif", ".webp", ".tiff", ".bmp", ".mp4", ".avi",
    ".txt", ".json", ".npy", ".ts", ".2",
)  # fmt: skip
DEBRIS = (".DS_Store", "Thumbs.db", "desktop.ini")
names = st.one_of(
    st.tuples(st.sampled_from(STEMS), st.sampled_from(SUFFIXES)).map("".join),
    st.sampled_from(DEBRIS),
)
folders = st.sampled_from(
    ("0", "clip", "videos", "frames", "images", "519", "@eaDir", "__MACOSX", ".git", "train",
     "Test")
)  # fmt: skip
SPLITS = ("train", "test")
HIDDEN = ("Thumbs.db", "desktop.ini", "@eaDir", "__MACOSX")
NO_MEDIA = ("empty", "text", "lfs", "zeros")
NO_MEDIA_SUFFIXES = ("", ".txt", ".json", ".npy", ".ts", ".2", ".y")
PLAIN = ("real", "fake")
SPLIT = ("train/real", "train/fake", "test/real", "test/fake")
BESIDE = ("other", "")


@dataclass(frozen=True)
class Item:
    """Something to lay out: a file, an empty folder, or a name of an earlier item."""

    top: str
    below: tuple[str, ...]
    name: str
    kind: str  # of `contents`, or a way of `make`
    of: int  # an earlier item, for a link


def planned(tops: tuple[str, ...]) -> st.SearchStrategy["Plan"]:
    """Return plans of trees whose classes lie in some folders."""
    items = st.builds(
        Item,
        st.sampled_from((*tops, *tops, *BESIDE)),
        st.lists(folders, max_size=2).map(tuple),
        names,
        st.sampled_from(KINDS),
        st.integers(0, 20),
    )
    return st.builds(Plan, st.just(tops), st.lists(items, min_size=3, max_size=14))


KINDS = (
    "JPEG", "PNG", "JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "MP4", "empty", "text", "cut",
    "lfs", "zeros", "text", "folder", "gone", "link", "hard", "up", "link to folder",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A tree: the folders of its classes, and what is laid out in them and beside."""

    tops: tuple[str, ...]
    items: list[Item]


plans = st.one_of(planned(PLAIN), planned(SPLIT))


def make(path: Path, item: Item, other: Path) -> None:
    """Make one item at a path, if it can be made there."""
    ways: dict[str, Callable[[], object]] = {
        "folder": path.mkdir,
        "gone": lambda: path.symlink_to("nowhere"),
        "link": lambda: path.symlink_to(other),
        "link to folder": lambda: path.symlink_to(other.parent),
        "hard": lambda: os.link(other, path, follow_symlinks=False),
        "up": lambda: path.symlink_to(Path(*[".."] * (1 + item.of % 3))),
    }
    with suppress(OSError):  # a file is where a folder should be
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path):
            ways.get(item.kind, lambda: path.write_bytes(contents()[item.kind]))()


def lay_out(root: Path, plan: Plan) -> None:
    """Make two sound images in each class, and the items one after another."""
    made: list[Path] = []
    for top in plan.tops:
        (root / top).mkdir(parents=True)
        for n in range(2):
            made.append(root / top / f"sound{n}.png")
            made[-1].write_bytes(contents()["PNG"] + f"{top}{n}".encode())
    for item in plan.items:
        path = root.joinpath(item.top, *item.below, item.name)
        make(path, item, made[item.of % len(made)])
        if path.is_file():
            made.append(path)


@dataclass
class Traces:
    """What a build of a tree left: paths in the manifest and in the failures, and notes."""

    places: dict[str, tuple[str, str]]  # class and split of each path that was listed
    stored: set[str]
    failed: set[str]
    notes: str

    def count(self, pattern: str) -> int:
        """Return the number in a note."""
        match = re.search(rf"(\d+) {pattern}", self.notes)
        return int(match[1]) if match else 0

    def is_unread(self, path: Path) -> bool:
        """Test for a file in a folder that a note names as not read."""
        match = re.search(r"other folders? not read: (.*)\.$", self.notes, re.M)
        folders = match[1].split(", ") if match else []
        return any(path.is_relative_to(folder) for folder in folders)


def built(root: Path, work: Path) -> Traces:
    """Build the classes of a tree in this process."""
    options = FolderOptions("folder", root, real=("real",), fake=("fake",), crop="none", frames="1")
    job = prepare(options)
    places: dict[str, tuple[str, str]] = {}
    events = [*job.listing.failures]
    stored = set()
    do = BuildWork(job.settings)
    for number, unit in enumerate(job.listing.units):
        places |= {item.path: (item.cls, item.split) for item in unit.items}
        with PartWriter(work / f"{number}.part", is_durable=False) as part:
            do(unit, part)
        for event in read_part(work / f"{number}.part", with_values=False):
            if isinstance(event, Record):
                stored.add(event.sample.source)
            elif isinstance(event, Failure) and event.kind == "unreadable":
                events.append(event)
    return Traces(places, stored, {event.path for event in events}, "\n".join(job.listing.notes))


def identity(path: Path) -> object:
    """Return what all names of one file share."""
    with suppress(OSError):
        about = path.stat()
        return about.st_dev, about.st_ino
    return path


def files_of(root: Path) -> Iterator[Path]:
    """Yield all regular files of a tree, relative to it; links are not followed."""
    for here, _, names in os.walk(root):
        for path in (Path(here, name) for name in names):
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(root)


def check(root: Path, traces: Traces) -> None:
    """Check that each regular file left a trace, and is in one class and split."""
    assert traces.stored | traces.failed == set(traces.places)
    places = defaultdict(set)
    for path, place in traces.places.items():
        places[identity(root / path)].add(place)
    assert all(len(each) == 1 for each in places.values())
    counts: Counter[str] = Counter()
    for file in files_of(root):
        if identity(root / file) not in places and not traces.is_unread(file):
            kind = fate(file)
            counts[kind] += 1
            if kind == "neither image nor video":
                assert (root / file).read_bytes() in [contents()[kind] for kind in NO_MEDIA]
                assert file.suffix.lower() in NO_MEDIA_SUFFIXES
    for kind, n in counts.items():
        assert traces.count(f"files? {kind}") >= n


def fate(path: Path) -> str:
    """Return the words of the note that must count a file which is not built."""
    if any(part.startswith(".") or part in HIDDEN for part in path.parts):
        return "hidden or made by an operating system"
    in_split = len(path.parts) == 2 and path.parts[0].lower() in SPLITS
    is_beside = len(path.parts) == 1 or in_split
    return (
        "of another kind or folder than this command reads"
        if is_beside
        else "neither image nor video"
    )


def check_tree(plan: Plan) -> None:
    """Lay out a tree, build it, and check it."""
    with tempfile.TemporaryDirectory() as folder:
        root, work = Path(folder, "a/b/c/tree"), Path(folder, "work")
        work.mkdir()
        lay_out(root, plan)
        try:
            traces = built(root, work)
        except CorpusError as error:
            check_refusal(root, str(error))
        else:
            check(root, traces)


def check_refusal(root: Path, message: str) -> None:
    """Check that a tree was refused for a file in two classes or splits."""
    match = re.search(r"tree: (.+) \(class (.+)\) and (.+) \(class (.+)\) are one file", message)
    assert match, message
    assert (root / match[1]).samefile(root / match[3])
    assert match[2] != match[4]


@given(plan=plans)
def test_every_file_leaves_a_trace(plan: Plan) -> None:
    check_tree(plan)


@pytest.mark.slow
@settings(max_examples=600)
@given(plan=plans)
def test_every_file_of_600_trees_leaves_a_trace(plan: Plan) -> None:
    check_tree(plan)
