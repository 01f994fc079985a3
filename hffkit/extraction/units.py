"""Units of build work: a video family, or a block of images."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import Field, asdict, dataclass, replace
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
    index: int | None = None  # number in a list, which its record keeps


@dataclass(frozen=True, slots=True)
class Video:
    """A video, or a folder of frames, that becomes many samples."""

    path: str  # relative to the root
    key: str  # start of its samples' keys, before the frame number
    cls: str
    split: Split
    group: str
    is_fake: bool
    name: str  # in a file of boxes
    target_name: str | None = None  # name of the video that it derives from
    is_cropped: bool = False  # the frames are face crops already
    is_mask: bool = False  # the frames mark the forged pixels of a forgery
    index: ClassVar[None] = None  # samples of videos are numbered in the corpus alone

    @property
    def box_names(self) -> tuple[str, str, str]:
        """Names in a file of boxes, from the shortest to the unique one."""
        return self.name, f"{self.cls}/{self.name}", self.key


@dataclass(frozen=True, slots=True)
class ImageBlock:
    """A block of images, at most IMAGES_PER_UNIT."""

    items: tuple[ImageFile, ...]

    @property
    def keeps_index(self) -> bool:
        """True if records keep the numbers of the images in a list."""
        return self.items[0].index is not None

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files that the unit reads, relative to the root."""
        return tuple(item.path for item in self.items)

    def singly(self) -> "list[ImageBlock]":
        """Return a unit for each image."""
        return [ImageBlock((item,)) for item in self.items]


@dataclass(frozen=True, slots=True)
class Family:
    """A target video and the videos that derive from it."""

    videos: tuple[Video, ...]  # faces are detected in the first of them
    detect_on: str | None = None  # path of a video that gives boxes, but no samples
    is_paired: bool = False  # see `mates`
    keeps_index: ClassVar[bool] = False

    @property
    def items(self) -> tuple[Video, ...]:
        """The videos, under the name that a block of images has for its files."""
        return self.videos

    def mates(self) -> list[tuple[Video, ...]]:
        """Group the videos that give the same frames in the same boxes, or no frame.

        In a paired family these are the qualities of one video, the best first, and its mask;
        otherwise each video is a group of its own.
        """
        if not self.is_paired:
            return [(video,) for video in self.videos]
        found: dict[tuple[str, str], list[Video]] = {}
        for video in self.videos:
            found.setdefault((video.cls, video.name), []).append(video)
        return [tuple(videos) for videos in found.values()]

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files that the unit reads, relative to the root."""
        lender = () if self.detect_on is None else (self.detect_on,)
        return (*lender, *(video.path for video in self.videos))

    def probes(self) -> "list[Family]":
        """Return a family for each video, to find one that kills workers."""
        plain = [replace(video, is_mask=False) for video in self.videos]
        if self.detect_on is not None:
            plain.append(replace(plain[0], path=self.detect_on, is_fake=False, is_cropped=False))
        return [Family((video,)) for video in plain]

    def without(self, lost: Mapping[str, str]) -> "ReducedFamily":
        """Return the family with some videos recorded as unreadable, by path with the reason."""
        return ReducedFamily(self.videos, self.detect_on, self.is_paired, tuple(lost.items()))


@dataclass(frozen=True, slots=True)
class ReducedFamily(Family):
    """A family of which some videos kill workers and are not opened."""

    lost: tuple[tuple[str, str], ...] = ()  # their paths, with the reasons


Unit = ImageBlock | Family


def blocks(images: Iterable[ImageFile]) -> Iterator[ImageBlock]:
    """Cut a sequence of images into blocks."""
    items = list(images)
    for start in range(0, len(items), IMAGES_PER_UNIT):
        yield ImageBlock(tuple(items[start : start + IMAGES_PER_UNIT]))


class Inputs(Protocol):
    """A unit of any work on files: a dataclass with the paths of its inputs."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files that the unit reads, relative to the root."""


def identity(unit: Inputs, root: Path) -> str:
    """Return the name of a unit's part: a digest of the unit and its files' sizes and times.

    If a file is replaced, its unit gets another name and only that unit is done again.
    """
    digest = hashlib.blake2b(json.dumps(asdict(unit), sort_keys=True).encode(), digest_size=16)
    for path in unit.paths:
        digest.update(f"{_size_and_time(root / path)}\n".encode())
    return digest.hexdigest()


def weight(unit: Inputs, root: Path) -> int:
    """Return the number of bytes that a unit reads; the heaviest units are started first."""
    return sum(_size_and_time(root / path)[0] for path in unit.paths)


def _size_and_time(path: Path) -> tuple[int, int]:
    """Return the bytes and the last change, in ns, of a file or of all files in a folder."""
    try:
        files = os.scandir(path) if path.is_dir() else [path]
        stats = [file.stat() for file in files]
    except OSError:
        return 0, 0  # the worker reports it
    return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)
