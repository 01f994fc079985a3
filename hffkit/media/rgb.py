"""Convert the frames that FFmpeg decoded to upright RGB images."""

from fractions import Fraction
from typing import Any

import av
import av.filter
import av.logging
from av.error import FFmpegError

from hffkit.errors import VideoError
from hffkit.media.image import Image
from hffkit.media.turn import UPRIGHT, Turn

MAX_FRAME_PIXELS = 8192 * 4320  # the largest size of 8K; headers can claim more
_TICK = Fraction(1, 25)  # of a filter; the times of frames are not used


class Converter:
    """Conversion of the frames of one video."""

    def __init__(self) -> None:
        self._turns: dict[int, Turn] = {}  # by the angle that PyAV reports
        self._filters: dict[tuple[object, ...], Any] = {}  # by kind of frame

    def rgb(self, frame: Any) -> Image:
        """Convert a decoded frame to an (H, W, 3) uint8 RGB image, upright, as `ffmpeg` does.

        Colour matrix and range are those that the video states; BT.601 if it states none.

        Raises
        ------
        VideoError
            If the frame is too large, or FFmpeg cannot convert it.
        """
        check_frame_size(frame.width, frame.height)
        with av.logging.Capture(local=True):
            try:
                image = self._converted(frame).to_ndarray()
            except (FFmpegError, ValueError):
                raise VideoError(
                    f"FFmpeg cannot convert it to RGB: pixel format {frame.format.name}, colour "
                    f"matrix {frame.colorspace}"
                ) from None
        return self.turn(frame).upright(image)

    def turn(self, frame: Any) -> Turn:
        """Return how a frame is turned and mirrored to be upright.

        The display matrix is read once for each angle, because it keeps its frame in memory.
        """
        if frame.rotation not in self._turns:
            data = frame.side_data.get("DISPLAYMATRIX")
            self._turns[frame.rotation] = UPRIGHT if data is None else Turn.of_matrix(bytes(data))
        return self._turns[frame.rotation]

    def _converted(self, frame: Any) -> Any:
        """Convert to RGB by the filter that `ffmpeg` uses.

        PyAV's own conversion differs for interlaced frames and for more than 8 bits.
        """
        size, pixels = (frame.width, frame.height), frame.format.name
        kind = (*size, pixels, frame.colorspace, frame.color_range, frame.interlaced_frame)
        if kind not in self._filters:
            graph = av.filter.Graph()
            graph.threads = 1
            source = graph.add_buffer(width=size[0], height=size[1], format=pixels, time_base=_TICK)
            scale, rgb = graph.add("scale"), graph.add("format", "rgb24")
            graph.link_nodes(source, scale, rgb, graph.add("buffersink")).configure()
            self._filters[kind] = graph
        self._filters[kind].push(frame)
        return self._filters[kind].pull()


def check_frame_size(width: int, height: int) -> None:
    """Raise VideoError if a frame has more than `MAX_FRAME_PIXELS` pixels."""
    if width * height > MAX_FRAME_PIXELS:
        raise VideoError(
            f"too large: frames of {width}x{height}; at most {MAX_FRAME_PIXELS} pixels are read"
        )
