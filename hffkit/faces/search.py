"""Faces in images and videos, for what judges or explains them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hffkit.errors import ArgumentError, VideoError
from hffkit.faces.detection import crop, detect, fits, square_crop
from hffkit.manifest.samples import Box
from hffkit.media.files import is_video, walk
from hffkit.media.image import Image, decode, grey, read_bytes
from hffkit.media.spacing import evenly
from hffkit.media.video import open_clip


@dataclass(frozen=True, slots=True)
class FaceSearch:
    """Where in a file faces are looked for."""

    frames: int  # of each video, evenly
    whole: bool = False  # take images as they are: they are crops already
    upsample: int = 1


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face of a file."""

    frame: int | None  # of a video, counted from 0
    box: Box | None  # x, y, size in px; None for a whole image
    image: Image  # the crop


@dataclass(slots=True)
class LookedAt:
    """How many frames of a file were read, and how many could not be."""

    n_frames: int = 0
    n_missing: int = 0


def files_of(path: Path) -> list[Path]:
    """Return a file, or the images and videos below a folder, sorted.

    Raises
    ------
    ArgumentError
        If nothing is there.
    """
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # a name that none can have
        is_there = False
    if not is_there:
        raise ArgumentError(f"{path}: no such file or folder.")
    if not path.is_dir():
        return [path]
    return [path / name for name in sorted(walk(path))]


def faces_in(file: Path, search: FaceSearch, looked_at: LookedAt) -> Iterator[FoundFace]:
    """Yield the faces of an image, or of frames of a video; a frame's largest is the first.

    What was read of the file is told in `looked_at`.

    Raises
    ------
    ImageError, VideoError
        If nothing of it can be read.
    """
    for number, image in _images(file, search.frames, looked_at):
        for box in _boxes(image, search):
            yield FoundFace(number, box, image if box is None else crop(image, box))


def _images(file: Path, n_frames: int, looked_at: LookedAt) -> Iterator[tuple[int | None, Image]]:
    """Yield the image, or evenly spaced frames of the video."""
    if not is_video(file.name):
        looked_at.n_frames = 1
        yield None, decode(read_bytes(file))
        return
    clip = open_clip(file)
    wanted = frozenset(evenly(clip.numbers, n_frames))
    for frame in clip.frames(wanted, lambda *_: None):
        looked_at.n_frames += 1
        yield frame.number, frame.image
    looked_at.n_missing = len(wanted) - looked_at.n_frames
    if not looked_at.n_frames:
        raise VideoError("none of the frames looked for can be read")


def _boxes(image: Image, search: FaceSearch) -> list[Box | None]:
    """Return the crops of an image's faces, the largest first; None is the whole image."""
    if search.whole:
        return [None]
    height, width = image.shape[:2]
    faces = sorted(detect(grey(image), upsample=search.upsample), key=lambda face: -face.side)
    boxes = [square_crop(face, width=width, height=height) for face in faces]
    return [box for box in boxes if fits(box, image)]
