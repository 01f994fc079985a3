"""Frames of a video, or of a folder of numbered frame images, read in one forward pass."""

import hashlib
import heapq
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hffkit.errors import ImageError, VideoError
from hffkit.media.ffmpeg import OpenVideo, decode_packet, open_video
from hffkit.media.files import frame_number, sha256_of
from hffkit.media.image import Image, read_bytes
from hffkit.media.image_files import decode_file
from hffkit.media.source_facts import SourceFacts, image_facts

_THIN_BYTES = 64  # of a packet on average; frames of less are decoded to count them
_DAMAGED = "damaged video: FFmpeg reports an error in this frame, or in one it is predicted from"

OnUnreadable = Callable[[str, int, str], None]
"""Called with file name, frame number and reason for each frame that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame and its origin."""

    number: int  # counted from 0
    image: Image
    file_sha256: str  # of the video, or of the frame's image file
    file_name: str | None  # of the image file in a folder of frames; None in a video
    encoded: bytes | None  # content of the image file, if it holds these pixels; None in a video
    damage: str | None = None  # what the decoder complained of
    facts: SourceFacts | None = None  # of the file; None where `encoded` has them


def image_frame(encoded: bytes, number: int = 0, file_name: str | None = None) -> Frame:
    """Decode an image file to a frame.

    Raises
    ------
    ImageError
        As `decode_file`.
    """
    found = decode_file(encoded)
    digest = hashlib.sha256(encoded).hexdigest()
    if found.keeps_file:
        return Frame(number, found.image, digest, file_name, encoded)
    facts = image_facts(encoded)
    return Frame(number, found.image, digest, file_name, None, found.damage, facts)


class VideoFile:
    """A video file, whose frames are numbered from 0 in the order in which they are shown."""

    def __init__(self, path: Path) -> None:
        """Open `path` and count its frames, or raise VideoError if it holds no video.

        The count in the header may be wrong. If each packet has a presentation time of its own,
        their order numbers the frames, and a frame that cannot be decoded shifts no other.
        Otherwise (raw streams, AVI and WMV with reordered frames, interlaced video, files that were
        cut short, packets that are too small for frames) all frames are decoded to count them.
        """
        self._path = path
        try:
            self._sha256 = sha256_of(path)
        except OSError as error:
            raise VideoError(f"cannot be read: {error.strerror}") from None
        with open_video(path) as video:
            found = _scan(video)
            times, first = found.times, found.first
            self.n_claimed = video.n_claimed  # in the header; 0 if it has no count
            self.is_short = len(times) + found.n_without_frame < video.n_claimed
            is_timed = _are_in_order(times, video) and first.pts in times
            is_interlaced = first.interlaced_frame or video.is_interlaced
            image, facts = video.converter.rgb(first), video.facts
        self.size: tuple[int, int] = (image.shape[1], image.shape[0])
        self._numbers: dict[int, int] | None = None  # by presentation time
        if is_timed and not is_interlaced and not self.is_short and not found.is_thin:
            self._numbers = {time: number for number, time in enumerate(sorted(times))}
            n_frames = len(times)
        else:
            n_frames = _count(path)
            if found.is_thin and n_frames < len(times):
                self.is_short, self.n_claimed = True, max(self.n_claimed, len(times))
        self.numbers: Sequence[int] = range(n_frames)
        if "fps" in facts:
            facts["bit_rate"] = round(8 * path.stat().st_size * float(facts["fps"]) / n_frames)
        self._facts = facts

    def frames(self, wanted: Collection[int], unreadable: OnUnreadable) -> Iterator[Frame]:
        """Yield the wanted frames in order.

        Every frame is decoded and the wanted ones are converted, because seeking is inexact.
        """
        last = -1
        missing = set(wanted).intersection(self.numbers)
        with open_video(self._path) as video:
            for decoded in video.frames():
                frame = decoded.frame
                number = last + 1 if self._numbers is None else self._numbers.get(frame.pts, -1)
                if number <= last:
                    continue
                last = number
                if number not in missing:
                    continue
                missing.remove(number)
                try:
                    image = video.converter.rgb(frame)
                except VideoError as error:
                    unreadable("", number, str(error))
                    continue
                damage = _DAMAGED if decoded.is_damaged else None
                yield Frame(number, image, self._sha256, None, None, damage, self._facts)
        for number in sorted(missing):
            unreadable("", number, "FFmpeg cannot decode this frame")


@dataclass(frozen=True, slots=True)
class _Scan:
    """The packets of a video."""

    times: list[Any]  # presentation times of those that are shown, in the order of storage
    n_without_frame: int  # an edit list leaves them out, or they are empty
    n_bytes: int
    first: Any  # the first frame

    @property
    def is_thin(self) -> bool:
        """True if many packets may hold no frame; a header can claim a million in a few bytes."""
        return self.n_bytes < _THIN_BYTES * len(self.times)


def _scan(video: OpenVideo) -> _Scan:
    """Read a video to its end, and decode the first frame only.

    Raises
    ------
    VideoError
        If no frame can be decoded, or there are too many.
    """
    times, n_without_frame, n_bytes, first = [], 0, 0, None
    for packet in video.packets():
        if first is None:
            first = next(iter(decode_packet(packet)[0]), None)
        if packet.size and not packet.is_discard:
            times.append(packet.pts)
            n_bytes += packet.size
        elif packet.dts is not None:  # the last packet, which only ends the stream, has no time
            n_without_frame += 1
    if first is None:
        raise VideoError("no frame of it can be decoded")
    return _Scan(times, n_without_frame + video.n_empty, n_bytes, first)


def _count(path: Path) -> int:
    """Decode a video and count its frames up to the last that is sound."""
    n_frames = 0
    with open_video(path) as video:
        for number, decoded in enumerate(video.frames()):
            n_frames = n_frames if decoded.is_damaged else number + 1
    if not n_frames:
        raise VideoError("no frame of it can be decoded without damage")
    return n_frames


def _are_in_order(times: Sequence[Any], video: OpenVideo) -> bool:
    """Test whether the times of packets give the order in which frames are shown."""
    if None in times or len(set(times)) < len(times):
        return False
    # A decoder holds back as many frames as it may have to reorder, and shows the earliest.
    held: list[int] = []
    shown: list[int] = []
    for time in times:
        if len(held) <= video.reorder_depth:
            heapq.heappush(held, time)
        else:
            shown.append(heapq.heappushpop(held, time))
    if shown != sorted(shown):  # times jump back, as in recordings that were joined
        return False
    # Where frames are reordered, times that rise from packet to packet are those of decoding.
    return not video.reorder_depth or (video.has_times and times != sorted(times))


class FrameFolder:
    """A folder of images named by frame number: 0000.png, 0001.png or 0.png, 1.png."""

    def __init__(self, path: Path) -> None:
        """List `path`, or raise VideoError if it holds no numbered image."""
        self._path = path
        try:
            with os.scandir(path) as files:
                names = sorted(file.name for file in files if not file.is_dir())
        except OSError as error:
            raise VideoError(f"cannot be read: {error.strerror}") from None
        self._names: dict[int, str] = {}
        for name in names:
            number = frame_number(name)
            if number is not None and self._names.setdefault(number, name) != name:
                raise VideoError(f"{self._names[number]} and {name} are the same frame")
        if not self._names:
            raise VideoError("holds no numbered frame image such as 0000.png")
        self.numbers: Sequence[int] = sorted(self._names)
        self.size: tuple[int, int] | None = None  # width, height; set by the first frame

    def frames(self, wanted: Collection[int], unreadable: OnUnreadable) -> Iterator[Frame]:
        """Decode and yield the wanted frames in order."""
        for number in self.numbers:
            if number in wanted:
                name = self._names[number]
                try:
                    name.encode()
                    frame = image_frame(read_bytes(self._path / name), number, name)
                except UnicodeEncodeError:
                    unreadable(name, number, "the file's name is not UTF-8")
                    continue
                except ImageError as error:
                    unreadable(name, number, str(error))
                    continue
                self.size = (frame.image.shape[1], frame.image.shape[0])
                yield frame


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
    """Return the frame numbers that all clips have."""
    numbers = [clip.numbers for clip in clips]
    if all(isinstance(own, range) for own in numbers):
        return range(min(len(own) for own in numbers))
    return sorted(set(numbers[0]).intersection(*numbers[1:]))
