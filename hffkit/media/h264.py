"""H.264 by libx264 in one thread, so that the same frames give the same bytes."""

import errno
import math
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from hffkit.errors import ImageError, VideoError, cannot_write
from hffkit.media.ffmpeg import OpenVideo, decode_packet, open_video
from hffkit.media.image import Image
from hffkit.media.turn import UPRIGHT

_TARGET_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


def _encoder(crf: int) -> tuple[str, str]:
    """Return codec and pixel format for a constant rate factor."""
    return ("libx264rgb", "rgb24") if crf == 0 else ("libx264", "yuv420p")


def _options(crf: int, gap: int | None = None) -> dict[str, str]:
    # With AVX-512 x264 reads uninitialised memory, and the same frames give other bytes.
    is_x86 = platform.machine() in {"x86_64", "AMD64"}
    assembly = {"x264-params": "asm=SSE4.2"} if is_x86 else {}
    gaps = {} if gap is None else {"g": str(gap)}
    return {"crf": str(crf), "threads": "1", "preset": "medium", **assembly, **gaps}


def _even(image: Image) -> Image:
    """Repeat the last row or column of an image where a side is odd."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def encode_intra(image: Image, crf: int) -> bytes:
    """Encode an (H, W, 3) uint8 RGB image as one H.264 key frame; odd sides are padded by one.

    Raises
    ------
    ImageError
        If libx264 refuses the image, as it does sides of more than 16384 pixels.
    """
    name, pixels = _encoder(crf)
    codec: Any = av.CodecContext.create(name, "w")
    padded = _even(image)
    codec.height, codec.width = padded.shape[:2]
    codec.pix_fmt = pixels
    codec.time_base = Fraction(1, 25)
    codec.options = _options(crf)
    frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
    try:
        packets = (*codec.encode(frame), *codec.encode(None))
    except FFmpegError as error:
        raise ImageError(f"shape {image.shape}: no H.264 frame: {error.strerror}") from None
    return b"".join(bytes(packet) for packet in packets)


def decode_intra(encoded: bytes) -> Image:
    """Decode one H.264 key frame to an (H, W, 3) uint8 RGB image."""
    codec: Any = av.CodecContext.create("h264", "r")
    codec.thread_count = 1
    frames = [*codec.decode(av.Packet(encoded)), *codec.decode(None)]
    return np.asarray(frames[0].to_ndarray(format="rgb24"), np.uint8)


def write_video(path: Path, frames: Iterable[Image], *, crf: int) -> None:
    """Write (H, W, 3) uint8 RGB frames as H.264 at a constant rate factor, 25 per second."""
    name, pixels = _encoder(crf)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for image in map(_even, frames):
            if stream is None:
                stream = container.add_stream(name, rate=25)
                stream.width, stream.height = image.shape[1], image.shape[0]
                stream.pix_fmt = pixels
                stream.options = _options(crf)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


@dataclass(frozen=True, slots=True)
class Transcoded:
    """Result of `transcode`."""

    n_frames: int  # written
    n_read: int  # of the source; as many as written unless the frame rate was changed
    n_claimed: int  # in the header of the source, without empty chunks; 0 if it has no count


Process = Callable[[Image], Image]
"""Processing of one frame, (H, W, 3) uint8 RGB; it gives all frames of a video the same size."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """The settings of `transcode`."""

    crf: int
    gap: int | None = None  # frames between key frames, at most; None: x264's 250
    process: Process | None = None  # applied to each frame first
    rate: int | None = None  # frames per second; None: the time stamps of the source are kept


def transcode(source: Path, target: Path, encoding: Encoding) -> Transcoded:
    """Encode every frame of a video again as H.264, as `ffmpeg -i SOURCE -an -crf CRF` does.

    Timestamps are kept, or those of a constant rate are made as `-r RATE` does; sound is dropped.
    Pixels are converted to RGB only to be processed.

    Raises
    ------
    VideoError
        If `source` holds no video, or one that is damaged in the middle.
    ImageError
        If a frame cannot be processed.
    StorageError
        If `target` cannot be written.
    """
    try:
        with open_video(source) as video, av.open(str(target), "w", format="mp4") as out:
            return _transcode(video, out, encoding)
    except FFmpegError as error:
        if error.errno in _TARGET_ERRORS:
            raise cannot_write(target, error) from None
        raise VideoError(f"cannot be transcoded: {error.strerror}") from None


def _transcode(video: OpenVideo, out: Any, encoding: Encoding) -> Transcoded:
    given, crf = video.stream, encoding.crf
    name, pixels = _encoder(crf)
    rate = given.average_rate or Fraction(25)
    timed = _Timed(video, rate)
    frames = iter(timed)
    keeps_times = video.has_times
    if encoding.rate is not None:
        frames = at_rate(frames, rate, encoding.rate)
        rate, keeps_times = Fraction(encoding.rate), False
    stream: Any = None
    n_frames = 0
    for frame in _prepared(frames, video, encoding.process):
        if stream is None:
            stream = out.add_stream(name, rate=rate)
            stream.width, stream.height = frame.width, frame.height
            is_full_range = frame.format.name.startswith("yuvj")
            stream.pix_fmt = "yuvj420p" if is_full_range and crf else pixels
            stream.options = _options(crf, encoding.gap)
            stream.codec_context.time_base = given.time_base if keeps_times else 1 / rate
            if crf:  # RGB has no colour matrix
                for what in ("colorspace", "color_range", "color_primaries", "color_trc"):
                    setattr(stream.codec_context, what, getattr(frame, what))
        frame.pict_type = 0  # otherwise the encoder copies the key frames of the source
        out.mux(stream.encode(frame))
        n_frames += 1
    if stream is None:
        raise VideoError("no frame of it can be decoded")
    out.mux(stream.encode(None))
    return Transcoded(n_frames, timed.n_read, video.n_claimed - video.n_empty)


class _Timed:
    """The decoded frames of a video, each with a time, and the number of those read."""

    def __init__(self, video: OpenVideo, rate: Fraction) -> None:
        self._video, self._rate = video, rate
        self.n_read = 0

    def __iter__(self) -> Iterator[Any]:
        for frame in _decoded(self._video):
            if not self._video.has_times:
                frame.pts, frame.time_base = self.n_read, 1 / self._rate
            self.n_read += 1
            yield frame


def at_rate(frames: Iterable[Any], given: Fraction, rate: int) -> Iterator[Any]:
    """Yield frames at a constant rate, as FFmpeg's filter `fps` does.

    Times are rounded to the places of the new rate. Of several frames at one place the last one is
    kept, and an empty place repeats the frame before. The last frame lasts as long as a frame of
    the `given` rate.
    """
    kept: Any = None
    place = end = 0
    for frame in frames:
        begin = frame.pts * frame.time_base
        due, end = _rounded(begin * rate), _rounded((begin + 1 / given) * rate)
        if kept is None:
            place, end = due, max(end, due + 1)
        for _ in range(place, due):
            yield _placed(kept, place, rate)
            place += 1
        kept = frame
    for _ in range(place, end):
        yield _placed(kept, place, rate)
        place += 1


def _rounded(places: Fraction) -> int:
    return math.floor(places + Fraction(1, 2))


def _placed(frame: Any, place: int, rate: int) -> Any:
    frame.pts, frame.time_base = place, Fraction(1, rate)
    return frame


def _prepared(frames: Iterable[Any], video: OpenVideo, process: Process | None) -> Iterator[Any]:
    """Yield frames upright, processed and padded to even sides."""
    for frame in frames:
        if (
            process is None
            and video.converter.turn(frame) == UPRIGHT
            and frame.width % 2 == 0
            and frame.height % 2 == 0
        ):
            yield frame
            continue
        image = video.converter.rgb(frame)
        image = image if process is None else process(image)
        padded = av.VideoFrame.from_ndarray(_even(image), format="rgb24")
        padded.pts, padded.time_base = frame.pts, frame.time_base
        yield padded


def _decoded(video: OpenVideo) -> Iterator[Any]:
    """Yield frames up to the end, or to where the file was truncated."""
    broken: Exception | None = None
    for packet in video.packets():
        if broken is not None and packet.size:  # packets follow: damage, not truncation
            raise broken
        frames, is_sound = decode_packet(packet)
        if not is_sound:
            broken = VideoError("a frame in the middle of it is damaged")
            continue
        yield from frames
