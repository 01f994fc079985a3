"""The frames of mates at one number: samples of all of them, or one failure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hffkit.extraction.crop import cut, source_of
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import Video
from hffkit.faces.detection import FaceBox, fits
from hffkit.manifest.failures import Failure, FailureKind
from hffkit.media.video import Frame
from hffkit.storage.parts import Record


@dataclass(frozen=True, slots=True)
class Moment:
    """The frames of mates at one frame number; at least one of them is there."""

    mates: Sequence[Video]
    frames: Sequence[Frame | None]

    @property
    def first(self) -> tuple[Video, Frame]:
        """The first mate that has the frame, and that frame."""
        both = zip(self.mates, self.frames, strict=True)
        return next((video, frame) for video, frame in both if frame is not None)

    def events(
        self, settings: Settings, found: FaceBox | None, detector: str | None
    ) -> Iterator[Record | Failure]:
        """Yield a sample of each mate, cropped to a face or whole, or a failure for all of them."""
        gap = self._gap()
        if gap is not None:
            yield gap
            return
        for video, frame in zip(self.mates, self.frames, strict=True):
            if frame is not None:
                yield from cut(video, frame, found, detector, settings)

    def faces(
        self, settings: Settings, found: FaceBox | None, detector: str
    ) -> Iterator[Record | Failure]:
        """Yield as `events` does, cropped to a face; `found` is None if `detector` found none."""
        height, width = self.first[1].image.shape[:2]
        if found is None:
            yield self._failure("no-face", f"no face by {detector}")
        elif not fits(found.box, self.first[1].image):
            reason = f"box {list(found.box)} lies outside the {width}x{height} frame"
            yield self._failure("unreadable", reason)
        else:
            yield from self.events(settings, found, detector)

    def _failure(self, kind: FailureKind, reason: str) -> Failure:
        return Failure(kind, source_of(*self.first), self.first[1].number, reason)

    def _gap(self) -> Failure | None:
        """Return a failure if a mate lacks the frame or its size differs."""
        lead, first = self.first
        for video, frame in zip(self.mates, self.frames, strict=True):
            if frame is None:
                return self._failure("unpaired", f"{video.path} does not give this frame")
            if frame.image.shape != first.image.shape:
                sizes = [(image.shape[1], image.shape[0]) for image in (frame.image, first.image)]
                reason = other_size(sizes[0], source_of(lead, first), sizes[1])
                return Failure("unpaired", source_of(video, frame), frame.number, reason)
        return None


def other_size(size: tuple[int, int], path: str, wanted: tuple[int, int]) -> str:
    """Return the reason of a failure: frames of `size` where those of `path` are of `wanted`.

    Sizes are (width, height) in pixels.
    """
    texts = [f"{width}x{height}" for width, height in (size, wanted)]
    return f"frames are {texts[0]}, those of {path} {texts[1]}"
