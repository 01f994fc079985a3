"""A video family to samples: one plan of frames, one detection, boxes shared where they fit."""

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hffkit.corpus.alignment import (
    Surroundings,
    Verdict,
    choose_probes,
    compare,
    worth_keeping,
)
from hffkit.corpus.cut import NO_OUTLINE, cut
from hffkit.corpus.faces import Boxes, fits, overlap, read_boxes
from hffkit.corpus.pictures import Sink
from hffkit.corpus.units import Family, Settings, Video
from hffkit.errors import VideoError
from hffkit.imaging import Image, grey
from hffkit.manifest.failures import Failure, Kind
from hffkit.manifest.samples import Box, Sample
from hffkit.storage.parts import Record, VideoBoxes
from hffkit.storage.record import store
from hffkit.video.clips import Clip, Frame, VideoFile, common_numbers, open_clip

_TARGET = ""  # name of the target's reference, beside those of the methods
_MIN_OVERLAP = 0.5  # median IoU under which boxes of the target do not fit a derived video


@dataclass(slots=True)
class _Reference:
    """Boxes by frame, where they come from, and what surrounds them."""

    boxes: Mapping[int, Box | None]
    detector: str
    surroundings: Surroundings | None = None  # None: taken as given, not compared


@dataclass(slots=True)
class _Pass:
    """What one forward pass over a clip left behind."""

    boxes: dict[int, Box | None] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)
    greys: dict[int, Image] = field(default_factory=dict)  # the probes


@functools.lru_cache(maxsize=1)
def _boxes_of(path: Path) -> Boxes:
    return read_boxes(path)


def build_family(family: Family, settings: Settings, sink: Sink) -> None:
    """Send the samples and failures of a family to `sink`.

    Every video is decoded once. Only a video that ends before the frames it claims, and before
    those that the plan needs, makes the family begin again over the shorter length.
    """
    builder = _Builder(family, settings, sink)
    start = sink.mark()
    while builder.clips and not builder.build():
        sink.rewind(start)
    builder.report()


class _Builder:
    """The work on one family."""

    def __init__(self, family: Family, settings: Settings, sink: Sink) -> None:
        self._family = family
        self._settings = settings
        self._sink = sink
        self._found: dict[tuple[str, int], Box | None] = {}  # detections, kept over restarts
        self.clips: dict[str, Clip] = {}
        for path in family.paths:
            try:
                self.clips[path] = open_clip(settings.root / path)
            except VideoError as error:
                sink.add(Failure("unreadable", path, None, str(error)))
        self._videos = [video for video in family.videos if video.path in self.clips]
        if not self._videos:
            self.clips = {}

    def build(self) -> bool:
        """Send all samples; return False as soon as a clip is shorter than the plan assumed."""
        numbers = common_numbers(list(self.clips.values()))
        if not numbers:
            for video in self._videos:
                reason = "shares no frame number with the rest of its family"
                self._sink.add(Failure("unreadable", video.path, None, reason))
            return True
        real, fake = self._settings.plan.choose(numbers)
        self._probes = choose_probes(fake)
        self._references: dict[str, _Reference] = {}
        self._boxes: dict[str, dict[int, Box]] = {}
        lender = self._family.detect_on
        if lender in self.clips and lender is not None:
            self._references[_TARGET] = self._reference(lender, self._look(lender, real))
            if self._is_short(lender, numbers):
                return False
        for video in self._videos:
            self._build_video(video, fake if video.is_fake else real)
            if self._is_short(video.path, numbers):
                return False
        for name, boxes in self._boxes.items():
            self._sink.add(VideoBoxes(name, boxes))
        return True

    def report(self) -> None:
        """Record the videos that hold fewer frames than they claim."""
        for path, clip in self.clips.items():
            if self._is_short(path, clip.numbers):
                self._sink.add(
                    Failure(
                        "short-read",
                        path,
                        None,
                        f"claims {len(clip.numbers)} frames, {clip.n_decoded} can be decoded",
                    )
                )

    def _is_short(self, path: str, numbers: Sequence[int]) -> bool:
        clip = self.clips[path]
        n_decoded = numbers[-1] + 1 if clip.n_decoded is None else clip.n_decoded
        return isinstance(clip, VideoFile) and n_decoded <= numbers[-1]

    def _build_video(self, video: Video, frames: Sequence[int]) -> None:
        if video.is_cropped or self._settings.crop_videos == "none":
            self._pass_whole(video, frames)
            return
        reference = self._known(video)
        if reference is not None and not reference.boxes and reference.surroundings is None:
            reason = f"no box for it: {reference.detector} names neither it nor its target"
            self._sink.add(Failure("unreadable", video.path, None, reason))
            return
        mark = self._sink.mark()
        if reference is not None:
            done = self._pass(video, frames, reference)
            why = self._misfit(reference, done)
            if not why:
                self._keep_boxes(video, done.boxes)
                return
            self._sink.rewind(mark)
            self._sink.add(Failure("own-boxes", video.path, None, why))
        done = self._pass(video, frames, None)
        self._keep_boxes(video, done.boxes)
        is_target = not video.is_fake and _TARGET not in self._references
        self._references[_TARGET if is_target else _method(video)] = self._reference(
            video.path, done
        )

    def _reference(self, path: str, done: _Pass) -> _Reference:
        return _Reference(done.boxes, f"{self._settings.rule} on {path}", done.surroundings)

    def _known(self, video: Video) -> _Reference | None:
        """Return the boxes that a video may use without looking for faces itself."""
        path = self._settings.boxes_file
        if path is not None:
            known = _boxes_of(path)
            names = (video.key, f"{video.cls}/{video.name}", video.name, video.target_name)
            boxes = next((known[name] for name in names if name in known), {})
            return _Reference(boxes, f"boxes {path.name}")
        if self._settings.detect_each:
            return None
        return self._references.get(_method(video), self._references.get(_TARGET))

    def _look(self, path: str, frames: Sequence[int]) -> _Pass:
        """Detect faces in a clip without storing samples of it."""
        done = _Pass()
        wanted, thumbs = set(frames), worth_keeping(frames, self._probes)
        for frame in self._frames(path, wanted, thumbs):
            grey_image = grey(frame.image)
            if frame.number in thumbs:
                done.surroundings.add(frame.number, grey_image)
            if frame.number in wanted:
                done.boxes[frame.number] = self._find(path, frame.number, grey_image)
        return done

    def _pass(self, video: Video, frames: Sequence[int], reference: _Reference | None) -> _Pass:
        """Read a clip once and send a sample or a failure for each wanted frame.

        Without a reference faces are looked for, and what the clip needs to be one is kept.
        """
        done = _Pass()
        wanted = set(frames)
        thumbs = set(self._probes) if reference else worth_keeping(frames, self._probes)
        detector = reference.detector if reference else f"{self._settings.rule} on {video.path}"
        for frame in self._frames(video.path, wanted, thumbs):
            number = frame.number
            grey_image = grey(frame.image) if number in thumbs or not reference else None
            if grey_image is not None and number in thumbs:
                done.surroundings.add(number, grey_image)
            if grey_image is not None and number in self._probes:
                done.greys[number] = grey_image
            if number in wanted:
                if reference is not None:
                    done.boxes[number] = reference.boxes.get(number)
                elif grey_image is not None:
                    done.boxes[number] = self._find(video.path, number, grey_image)
                self._send_face(video, frame, done.boxes[number], detector)
        return done

    def _pass_whole(self, video: Video, frames: Sequence[int]) -> None:
        """Read a clip once and send its wanted frames whole."""
        for frame in self._frames(video.path, set(frames), ()):
            self._send(video, frame, None, None)

    def _frames(self, path: str, planned: set[int], beside: Collection[int]) -> Iterator[Frame]:
        """Yield the planned frames and those `beside` them; only planned ones can be failures."""

        def unreadable(name: str, number: int, reason: str) -> None:
            if number in planned:
                where = f"{path}/{name}" if name else path
                self._sink.add(Failure("unreadable", where, number, reason))

        try:
            yield from self.clips[path].frames(planned.union(beside), unreadable)
        except VideoError as error:  # it was there a moment ago
            raise VideoError(f"{self._settings.root / path}: {error}.") from None

    def _find(self, path: str, number: int, grey_image: Image) -> Box | None:
        if (path, number) not in self._found:
            self._found[path, number] = self._settings.rule.find(grey_image)
        return self._found[path, number]

    def _misfit(self, reference: _Reference, done: _Pass) -> str:
        """Return why the reference's boxes do not fit the clip just read; empty if they do."""
        if reference.surroundings is None:
            return ""
        faces = {number: box for number, box in reference.boxes.items() if box is not None}
        verdict, why = compare(reference.surroundings, done.surroundings, faces, self._probes)
        if verdict is Verdict.UNCLEAR and faces:
            overlaps = []
            for number, grey_image in done.greys.items():
                own = self._settings.rule.find(grey_image)
                if number in faces:
                    overlaps.append(overlap(own, faces[number]) if own else 0.0)
            median = float(np.median(overlaps)) if overlaps else 1.0
            if median < _MIN_OVERLAP:
                return f"{why}; median IoU of its own detection is {median:.2f}"
        return why if verdict is Verdict.SHIFTED else ""

    def _send_face(self, video: Video, frame: Frame, box: Box | None, detector: str) -> None:
        if box is None:
            self._fail("no-face", video, frame, f"no face by {detector}")
        elif not fits(box, frame.image):
            height, width = frame.image.shape[:2]
            reason = f"box {list(box)} lies outside the {width}x{height} frame"
            self._fail("unreadable", video, frame, reason)
        else:
            self._send(video, frame, box, detector)

    def _fail(self, kind: Kind, video: Video, frame: Frame, reason: str) -> None:
        self._sink.add(Failure(kind, _source(video, frame), frame.number, reason))

    def _send(self, video: Video, frame: Frame, box: Box | None, detector: str | None) -> None:
        done = cut(frame.image, frame.encoded, box, detector, self._settings)
        if self._settings.outline is not None and done.detector is None:
            self._fail("no-face", video, frame, NO_OUTLINE)
        label = self._settings.classes[video.cls].id
        stored = store(done.image, done.original, label, self._settings.size)
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
        self._sink.add(Record(sample, stored.value))

    def _keep_boxes(self, video: Video, boxes: Mapping[int, Box | None]) -> None:
        """Keep the boxes under the shortest name that no other boxes have."""
        found = {number: box for number, box in boxes.items() if box is not None}
        for name in (video.name, f"{video.cls}/{video.name}", video.key):
            kept = self._boxes.setdefault(name, found)
            if all(kept.get(number, box) == box for number, box in found.items()):
                kept.update(found)
                return


def _method(video: Video) -> str:
    """Return what a forgery has in common with its other qualities alone."""
    return f"{video.cls}/{video.name}"


def _source(video: Video, frame: Frame) -> str:
    return video.path if frame.file_name is None else f"{video.path}/{frame.file_name}"
