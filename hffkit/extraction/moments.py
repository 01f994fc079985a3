"""What the mates of a family give of one frame: samples of all of them, or a failure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hffkit.extraction.crop import NO_OUTLINE, cut
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import Video
from hffkit.faces.detection import fits
from hffkit.manifest.failures import Failure, FailureKind
from hffkit.manifest.samples import Box, Sample
from hffkit.media.video import Frame
from hffkit.storage.parts import Record
from hffkit.storage.record import store


@dataclass(frozen=True, slots=True)
class Moment:
    """The frames of mates at one number; at least one of them has it."""

    mates: Sequence[Video]
    frames: Sequence[Frame | None]

    @property
    def first(self) -> tuple[Video, Frame]:
        """The first of the mates that gives a frame, and that frame."""
        both = zip(self.mates, self.frames, strict=True)
        return next((video, frame) for video, frame in both if frame is not None)

    def events(
        self, settings: Settings, box: Box | None, detector: str | None
    ) -> Iterator[Record | Failure]:
        """Yield a sample of each mate, cut to `box` or whole, or why there is none of any."""
        gap = self._gap()
        if gap is not None:
            yield gap
            return
        for video, frame in zip(self.mates, self.frames, strict=True):
            if frame is not None:
                yield from _stored(video, frame, settings, box, detector)

    def faces(
        self, settings: Settings, box: Box | None, detector: str
    ) -> Iterator[Record | Failure]:
        """Yield as `events` does the crops of a face that was found, or not, by `detector`."""
        height, width = self.first[1].image.shape[:2]
        if box is None:
            yield self._failure("no-face", f"no face by {detector}")
        elif not fits(box, self.first[1].image):
            reason = f"box {list(box)} lies outside the {width}x{height} frame"
            yield self._failure("unreadable", reason)
        else:
            yield from self.events(settings, box, detector)

    def _failure(self, kind: FailureKind, reason: str) -> Failure:
        return Failure(kind, _source(*self.first), self.first[1].number, reason)

    def _gap(self) -> Failure | None:
        """Return what keeps the mates from being taken together."""
        lead, first = self.first
        for video, frame in zip(self.mates, self.frames, strict=True):
            if frame is None:
                return self._failure("unpaired", f"{video.path} does not give this frame")
            if frame.image.shape != first.image.shape:
                sizes = [(image.shape[1], image.shape[0]) for image in (frame.image, first.image)]
                reason = other_size(sizes[0], _source(lead, first), sizes[1])
                return Failure("unpaired", _source(video, frame), frame.number, reason)
        return None


def other_size(size: tuple[int, int], path: str, wanted: tuple[int, int]) -> str:
    """Return in words that frames are not of the (width, height) that those of `path` are."""
    texts = [f"{width}x{height}" for width, height in (size, wanted)]
    return f"frames are {texts[0]}, those of {path} {texts[1]}"


def _stored(
    video: Video, frame: Frame, settings: Settings, box: Box | None, detector: str | None
) -> Iterator[Record | Failure]:
    done = cut(frame.image, frame.encoded, box, detector, settings)
    if settings.outline is not None and done.detector is None:
        yield Failure("no-face", _source(video, frame), frame.number, NO_OUTLINE)
    label = settings.classes[video.cls].id
    stored = store(done.image, done.original, label, settings.size)
    sample = Sample(
        key=f"{video.key}/{frame.number:04d}",
        cls=video.cls,
        split=video.split,
        group=video.group,
        source=_source(video, frame),
        source_sha256=frame.file_sha256,
        frame=frame.number,
        box=box,
        detector=done.detector,
        sha256=stored.sha256,
        pixels_sha256=stored.pixels_sha256,
    )
    yield Record(sample, stored.value)


def _source(video: Video, frame: Frame) -> str:
    return video.path if frame.file_name is None else f"{video.path}/{frame.file_name}"
