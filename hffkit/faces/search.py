"""Search for faces in image and video files, as prediction and explanation read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hffkit.errors import ArgumentError, ImageError, VideoError
from hffkit.faces.detection import crop, detect, fits, square_crop
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, grey, read_bytes
from hffkit.media.image_files import decode_file
from hffkit.media.kinds import is_video_file
from hffkit.media.spacing import evenly
from hffkit.media.video import open_clip
from hffkit.media.walk import Rest, walk


@dataclass(frozen=True, slots=True)
class FaceSearch:
    """Settings of the search."""

    frames: int  # number of frames of each video, evenly spaced
    whole: bool = False  # images are face crops already: detect nothing
    upsample: int = 1  # see `detect`
    as_grey: bool = False  # whole image files are decoded by `decode_grey`
    accept_damaged: bool = False  # damaged images are searched too


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face in a file."""

    frame: int | None  # number in the video, from 0
    box: Box | None  # None for a whole image
    image: Image  # the crop, (H, W, 3) RGB; (H, W) if whole files are read as grey


@dataclass(slots=True)
class FrameCounts:
    """Numbers of frames of a file that were read and that could not be read, and their damage."""

    n_frames: int = 0
    n_missing: int = 0
    damage: str | None = None  # of an image that was searched in spite of it


def files_of(path: Path, rest: Rest | None = None) -> list[Path]:
    """Return the path of a file, or the sorted images and videos below a folder.

    The other files below it are added to `rest`.

    Raises
    ------
    ArgumentError
        If there is no such file or folder.
    """
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # a name that no file can have
        is_there = False
    if not is_there:
        raise ArgumentError(f"{path}: no such file or folder.")
    if not path.is_dir():
        return [path]
    return [path / file.path for file in walk(path, rest=rest)]


def faces_in(file: Path, search: FaceSearch, counts: FrameCounts) -> Iterator[FoundFace]:
    """Yield the faces of an image, or of frames of a video, the largest of each frame first.

    `counts` is updated as frames are read.

    Raises
    ------
    ImageError, VideoError
        If nothing of the file can be read.
    """
    for number, image in _images(file, search, counts):
        for box in _boxes(image, search):
            yield FoundFace(number, box, image if box is None else crop(image, box))


def _images(
    file: Path, search: FaceSearch, counts: FrameCounts
) -> Iterator[tuple[int | None, Image]]:
    """Yield the image, or evenly spaced frames of the video."""
    if not is_video_file(file):
        found = decode_file(read_bytes(file), as_grey=search.whole and search.as_grey)
        if found.damage is not None and not search.accept_damaged:
            raise ImageError(found.damage)
        counts.n_frames, counts.damage = 1, found.damage
        yield None, found.image
        return
    clip = open_clip(file)
    wanted = frozenset(evenly(clip.numbers, search.frames))
    for frame in clip.frames(wanted, lambda *_: None):
        if frame.damage is not None and not search.accept_damaged:
            continue
        counts.n_frames += 1
        counts.damage = counts.damage or frame.damage
        yield frame.number, frame.image
    counts.n_missing = len(wanted) - counts.n_frames
    if not counts.n_frames:
        raise VideoError("none of the wanted frames can be read")


def _boxes(image: Image, search: FaceSearch) -> list[Box | None]:
    """Return the square crops of an image's faces, the largest first; None is the whole image."""
    if search.whole:
        return [None]
    height, width = image.shape[:2]
    faces = sorted(detect(grey(image), upsample=search.upsample), key=lambda face: -face.side)
    boxes = [square_crop(face, width=width, height=height) for face in faces]
    return [box for box in boxes if fits(box, image)]
