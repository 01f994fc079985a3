"""Open and decode video files by the FFmpeg in PyAV; no other module reads a video."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.logging
from av.error import FFmpegError
from av.stream import Disposition

from hffkit.errors import VideoError
from hffkit.input_files import check_regular
from hffkit.media.kinds import kind_of_file
from hffkit.media.rgb import MAX_FRAME_PIXELS, Converter, check_frame_size

# Containers that hold a video themselves. FFmpeg also reads playlists, which name other files, and
# takes texts for videos of a terminal.
_CONTAINERS = (
    "mov,matroska,avi,asf,flv,gif,apng,mpeg,mpegts,mpegvideo,m4v,h264,hevc,obu,ivf,ogg,dv,mxf,nut,"
    "rm,yuv4mpegpipe,wtv"
)

MAX_FRAMES = 1 << 20  # of a video: 11 hours

# Messages of FFmpeg tell which frames are damaged. They are captured, and never printed.
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame as FFmpeg decoded it."""

    frame: Any  # av.VideoFrame; PyAV's classes are untyped
    is_damaged: bool  # FFmpeg reported an error in it, or in a frame that it is predicted from


@dataclass(slots=True)
class _Chunks:
    """Packets so far. FFmpeg numbers all chunks of an AVI file, and skips the empty ones."""

    n_read: int = 0
    n_numbered: int = 0


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """A video that is open for reading, from its beginning, once."""

    container: Any
    stream: Any
    converter: Converter
    _chunks: _Chunks = field(default_factory=_Chunks)

    @property
    def n_claimed(self) -> int:
        """Number of frames in the header; 0 if it has none."""
        return int(self.stream.frames)

    @property
    def n_empty(self) -> int:
        """Number of chunks read that hold no frame though the header counts them, as in AVI."""
        return 0 if self.has_times else max(0, self._chunks.n_numbered - self._chunks.n_read)

    @property
    def facts(self) -> dict[str, str | int | float]:
        """Codec, size before rotation, and frames per second if the header states them."""
        context, rate = self.stream.codec_context, self.stream.average_rate
        found = {"codec": str(context.name), "width": context.width, "height": context.height}
        return {**found, "fps": round(float(rate), 3)} if rate else found

    @property
    def has_times(self) -> bool:
        """True if the container stores times; AVI stores none, and PyAV invents wrong ones."""
        return bool(self.container.format.name != "avi")

    @property
    def reorder_depth(self) -> int:
        """Number of frames that can be stored before a frame that is shown before them."""
        return int(self.stream.codec_context.reorder_depth)

    @property
    def is_interlaced(self) -> bool:
        """True if the header states fields in place of frames."""
        return bool(self.stream.codec_context.field_order > 1)  # 0: unknown, 1: progressive

    def packets(self) -> Iterator[Any]:
        """Yield the packets of the video stream; the last, of size 0, ends it.

        A file whose structure is damaged ends at the damage.

        Raises
        ------
        VideoError
            If there are more than `MAX_FRAMES`.
        """
        packets = self.container.demux(self.stream)
        while (packet := _next(packets)) is not None:
            self._chunks.n_read += bool(packet.size) or packet.dts is not None
            if packet.dts is not None:
                self._chunks.n_numbered = packet.dts + 1
            if self._chunks.n_read > MAX_FRAMES:
                raise VideoError(f"too long: at most {MAX_FRAMES} frames are read")
            yield packet

    def frames(self) -> Iterator[Decoded]:
        """Decode all frames, in the order in which they are shown."""
        damage = _Damage()
        for packet in self.packets():
            frames, is_sound = decode_packet(packet)
            damage.follow(packet, is_sound=is_sound)
            for frame in frames:
                yield Decoded(frame, damage.has_reached(frame))


class _Damage:
    """Spread of damage from a packet to the frames that are predicted from it.

    Prediction starts anew at key frames. Frames that are stored after a key frame and shown before
    it can be predicted from what came earlier.
    """

    def __init__(self) -> None:
        self._is_damaged = False
        self._healed_at: int | None = None  # presentation time of the key frame after damage
        self._times: set[int | None] = set()  # presentation times of damaged packets

    def follow(self, packet: Any, *, is_sound: bool) -> None:
        """Note whether a packet decoded without an error."""
        if packet.is_keyframe and packet.size:
            if not self._is_damaged and self._healed_at is None:
                self._times.clear()  # of frames that never came; times can be repeated
            self._healed_at = packet.pts if self._is_damaged else None
            self._is_damaged = False
        self._is_damaged = self._is_damaged or not is_sound
        leads = None not in (self._healed_at, packet.pts) and packet.pts < self._healed_at
        if packet.size and (self._is_damaged or leads):
            self._times.add(packet.pts)

    def has_reached(self, frame: Any) -> bool:
        """Test whether a decoded frame is damaged."""
        is_damaged = frame.is_corrupt or frame.pts in self._times
        self._times.discard(frame.pts)
        return is_damaged


def _next(packets: Iterator[Any]) -> Any:
    with av.logging.Capture(local=True):
        try:
            return next(packets, None)
        except FFmpegError:
            return None


def decode_packet(packet: Any) -> tuple[list[Any], bool]:
    """Return the frames that a packet completes, and whether FFmpeg found no fault.

    A packet without bytes says that the frame before is shown again; the last one has no time.
    """
    if not packet.size and packet.dts is not None:
        return [], True
    with av.logging.Capture(local=True) as messages:
        try:
            frames = packet.decode()
        except FFmpegError:
            return [], False
    # MPEG-TS marks packets where its counters jump, also where two recordings were joined.
    is_cut = packet.is_corrupt and packet.stream.container.format.name != "mpegts"
    return frames, not (is_cut or messages or any(frame.is_corrupt for frame in frames))


@contextmanager
def open_video(path: Path) -> Iterator[OpenVideo]:
    """Open the video in a file; the caller reads it in one thread.

    Raises
    ------
    VideoError
        If the file cannot be read, holds no video, or one of more than `MAX_FRAME_PIXELS` pixels
        in a frame.
    """
    try:
        if check_regular(path) == 0:
            raise VideoError("empty file")
    except OSError as error:
        raise VideoError(f"cannot be read: {error.strerror}") from None
    with av.logging.Capture(local=True):
        try:
            container = av.open(
                f"file:{path}",  # otherwise a name such as `concat:a` would be taken for a protocol
                container_options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        except (FFmpegError, ValueError):
            raise VideoError(_no_video(path)) from None
    with container:
        stream: Any = container.streams.best("video")
        if stream is None or stream.codec_context is None or _is_cover(stream):
            raise VideoError(_no_stream(container))
        codec = stream.codec_context
        check_frame_size(codec.width, codec.height)
        codec.options = {"max_pixels": str(MAX_FRAME_PIXELS)}  # sizes can change later
        codec.thread_count = 1  # the workers are processes already
        codec.thread_type = "NONE"
        yield OpenVideo(container, stream, Converter())


def _no_video(path: Path) -> str:
    kind = kind_of_file(path)
    if kind is not None and kind.medium != "video":
        return f"no video: it is a {kind.title}"
    return "no video: FFmpeg cannot open it (cut short, or another format?)"


def _no_stream(container: Any) -> str:
    if container.streams.video and not all(map(_is_cover, container.streams.video)):
        return "no video: FFmpeg has no decoder for it"
    if container.streams.audio:
        return "no video: it holds sound only"
    return "no video: it has no image stream"


def _is_cover(stream: Any) -> bool:
    """Test for the cover image of a sound file."""
    return bool(stream.disposition & Disposition.attached_pic)
