"""Frames of a video, or of a folder of numbered frame images, read in one forward pass."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from hffkit.errors import ImageError, VideoError
from hffkit.media.files import IMAGE_SUFFIXES, sha256_of
from hffkit.media.image import Image, decode, from_bgr, read_bytes

OnUnreadable = Callable[[str, int, str], None]
"""Called with file name, frame number and reason for each frame that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame and its origin."""

    number: int  # counted from 0
    image: Image
    file_sha256: str  # of the video, or of the frame's image file
    file_name: str | None  # of the image file in a folder of frames; None in a video
    encoded: bytes | None  # content of the image file; None in a video


class VideoFile:
    """A video that the FFmpeg in OpenCV can open."""

    def __init__(self, path: Path) -> None:
        """Open `path`, or raise VideoError if it holds no video."""
        self._path = path
        try:
            self._sha256 = sha256_of(path)
        except OSError as error:
            raise VideoError(f"cannot be read: {error.strerror}") from None
        if path.stat().st_size == 0:
            raise VideoError("empty file")
        capture = self._open()
        claimed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        # FFmpeg opens some images and texts as videos without a length.
        if not capture.grab():
            raise VideoError("no frame of it can be decoded")
        ok, first = capture.retrieve()
        if not ok:
            raise VideoError("no frame of it can be decoded")
        self.size: tuple[int, int] = (first.shape[1], first.shape[0])
        if claimed < 1:  # a stream without a length in its header
            claimed = 1
            while capture.grab():
                claimed += 1
        self.numbers: Sequence[int] = range(claimed)
        self.n_decoded: int | None = None  # set by `frames`

    def _open(self) -> cv2.VideoCapture:
        # One decoding thread: the workers are processes already, and frames do not change.
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not capture.isOpened():
            raise VideoError("no video: FFmpeg cannot open it (cut short, or another format?)")
        return capture

    def frames(self, wanted: Collection[int], unreadable: OnUnreadable) -> Iterator[Frame]:
        """Yield the wanted frames in order, then set `n_decoded`.

        Every frame is decoded and the wanted ones are converted, because seeking is inexact. A
        video that ends early yields fewer frames without an error.
        """
        capture = self._open()
        number = 0
        while capture.grab():
            if number in wanted:
                ok, bgr = capture.retrieve()
                if ok:
                    yield Frame(number, from_bgr(bgr), self._sha256, None, None)
                else:
                    unreadable("", number, "frame cannot be converted")
            number += 1
        self.n_decoded = number


class FrameFolder:
    """A folder of images named by frame number: 0000.png, 0001.png or 0.png, 1.png."""

    def __init__(self, path: Path) -> None:
        """List `path`, or raise VideoError if it holds no numbered image."""
        self._path = path
        try:
            names = [name.name for name in path.iterdir() if _is_frame(name)]
        except OSError as error:
            raise VideoError(f"cannot be read: {error.strerror}") from None
        self._names: dict[int, str] = {}
        for name in sorted(names):
            match = re.search(r"(\d+)\.\w+$", name)
            if match and self._names.setdefault(int(match[1]), name) != name:
                raise VideoError(f"{self._names[int(match[1])]} and {name} are the same frame")
        if not self._names:
            raise VideoError("holds no numbered frame image such as 0000.png")
        self.numbers: Sequence[int] = sorted(self._names)
        self.n_decoded: int | None = len(self.numbers)
        self.size: tuple[int, int] | None = None  # width, height; set by the first frame

    def frames(self, wanted: Collection[int], unreadable: OnUnreadable) -> Iterator[Frame]:
        """Decode and yield the wanted frames in order."""
        for number in self.numbers:
            if number in wanted:
                name = self._names[number]
                try:
                    name.encode()
                    encoded = read_bytes(self._path / name)
                    image = decode(encoded)
                except UnicodeEncodeError:
                    unreadable(name, number, "the file's name is not UTF-8")
                    continue
                except ImageError as error:
                    unreadable(name, number, str(error))
                    continue
                self.size = (image.shape[1], image.shape[0])
                yield Frame(number, image, hashlib.sha256(encoded).hexdigest(), name, encoded)


def _is_frame(path: Path) -> bool:
    """Test for the name of an image; macOS keeps attributes of x.png in ._x.png."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


Clip = VideoFile | FrameFolder


def open_clip(path: Path) -> Clip:
    """Open a video file or a folder of frame images."""
    return FrameFolder(path) if path.is_dir() else VideoFile(path)


def in_step(streams: Sequence[Iterator[Frame]]) -> Iterator[list[Frame | None]]:
    """Yield the frames of several clips number by number, None for clips without that frame."""
    heads = [next(stream, None) for stream in streams]
    while numbers := [head.number for head in heads if head is not None]:
        number = min(numbers)
        is_here = [head is not None and head.number == number for head in heads]
        yield [head if here else None for head, here in zip(heads, is_here, strict=True)]
        for i, stream in enumerate(streams):
            if is_here[i]:
                heads[i] = next(stream, None)


def common_numbers(clips: Sequence[Clip]) -> Sequence[int]:
    """Return the frame numbers that all clips have; of videos not yet decoded, as claimed."""
    lengths = [
        range(clip.n_decoded)
        if isinstance(clip, VideoFile) and clip.n_decoded is not None
        else clip.numbers
        for clip in clips
    ]
    if all(isinstance(numbers, range) for numbers in lengths):
        return range(min(len(numbers) for numbers in lengths))
    return sorted(set(lengths[0]).intersection(*lengths[1:]))
