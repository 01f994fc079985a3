"""Units of build work: a video family, or a block of images."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import Field, asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from hffkit.manifest.samples import Split

IMAGES_PER_UNIT = 256


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file that becomes one sample."""

    path: str  # relative to the root
    key: str
    cls: str
    split: Split
    group: str
    index: int | None = None  # of its record; a list keeps its own numbers


@dataclass(frozen=True, slots=True)
class Video:
    """A video, or a folder of frames, that becomes many samples."""

    path: str  # relative to the root
    key: str  # of its samples, without the frame number
    cls: str
    split: Split
    group: str
    is_fake: bool
    name: str  # in a boxes file
    target_name: str | None = None  # of the video it derives from, in a boxes file
    is_cropped: bool = False  # the frames are face crops already
    is_mask: bool = False  # the frames show which pixels of a forgery are forged


@dataclass(frozen=True, slots=True)
class ImageBlock:
    """A block of images."""

    items: tuple[ImageFile, ...]

    @property
    def keeps_index(self) -> bool:
        """Whether records keep the numbers that the images have in a list."""
        return self.items[0].index is not None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files the unit reads."""
        return tuple(item.path for item in self.items)


@dataclass(frozen=True, slots=True)
class Family:
    """A target video and what derives from it; the order decides who is looked at for faces."""

    videos: tuple[Video, ...]
    detect_on: str | None = None  # a video that only lends its boxes
    is_paired: bool = False
    keeps_index: ClassVar[bool] = False

    @property
    def items(self) -> tuple[Video, ...]:
        """The videos, under the name that a block of images has for its files."""
        return self.videos

    def mates(self) -> list[tuple[Video, ...]]:
        """Return the videos by what gives the same frames in the same boxes, or nothing.

        In a paired family these are the qualities of one video, the best first, and its mask;
        otherwise each video is alone.
        """
        if not self.is_paired:
            return [(video,) for video in self.videos]
        found: dict[tuple[str, str], list[Video]] = {}
        for video in self.videos:
            found.setdefault((video.cls, video.name), []).append(video)
        return [tuple(videos) for videos in found.values()]

    @property
    def paths(self) -> tuple[str, ...]:
        """The files the unit reads."""
        lender = () if self.detect_on is None else (self.detect_on,)
        return (*lender, *(video.path for video in self.videos))


Unit = ImageBlock | Family


def blocks(images: Iterable[ImageFile]) -> Iterator[ImageBlock]:
    """Yield the images in blocks of one unit each."""
    items = list(images)
    for start in range(0, len(items), IMAGES_PER_UNIT):
        yield ImageBlock(tuple(items[start : start + IMAGES_PER_UNIT]))


class Inputs(Protocol):
    """A unit of any work on files: a dataclass that knows its paths."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that the unit reads, relative to the root."""


def identity(unit: Inputs, root: Path) -> str:
    """Return a name for a unit's part: a digest of the unit and of its files' size and time.

    A file that was replaced gives its unit another name, so only that unit is done again.
    """
    digest = hashlib.blake2b(json.dumps(asdict(unit), sort_keys=True).encode(), digest_size=16)
    for path in unit.paths:
        digest.update(f"{_size_and_time(root / path)}\n".encode())
    return digest.hexdigest()


def weight(unit: Inputs, root: Path) -> int:
    """Return the bytes that a unit reads, to begin with the longest work."""
    return sum(_size_and_time(root / path)[0] for path in unit.paths)


def _size_and_time(path: Path) -> tuple[int, int]:
    """Return bytes and last change of a file, or of all files of a folder of frames."""
    try:
        files = os.scandir(path) if path.is_dir() else [path]
        stats = [file.stat() for file in files]
    except OSError:
        return 0, 0  # the worker will report it
    return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)
