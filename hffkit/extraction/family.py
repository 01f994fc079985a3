"""Extraction of samples from a video family: one frame plan, one detection, shared boxes."""

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hffkit.errors import CorpusError, VideoError, reading_from
from hffkit.extraction.alignment import Alignment, Surroundings, compare, worth_keeping
from hffkit.extraction.moments import Moment, other_size
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import Family, ReducedFamily, Video
from hffkit.faces.detection import Boxes, FaceBox, overlap, read_boxes
from hffkit.manifest.failures import Failure, damage_of
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, grey
from hffkit.media.kinds import misnamed
from hffkit.media.spacing import evenly
from hffkit.media.video import Clip, Frame, VideoFile, common_numbers, in_step, open_clip
from hffkit.storage.parts import Event, PartWriter, VideoBoxes

_TARGET = ""  # key of the target's reference, among those of the forgeries
_N_PROBES = 5  # frames whose surroundings are compared
_MIN_OVERLAP = 0.5  # median IoU below which boxes of the target do not fit a derived video


@dataclass(slots=True)
class _Reference:
    """Boxes that several videos may use."""

    boxes: Mapping[int, FaceBox | None]  # by frame number; None where no face was found
    detector: str  # for the manifest
    surroundings: Surroundings | None = None  # of the detected video; None: boxes from a file


@dataclass(slots=True)
class _Pass:
    """Results of one forward pass over a clip."""

    boxes: dict[int, FaceBox | None] = field(default_factory=dict)
    surroundings: Surroundings = field(default_factory=Surroundings)
    probes: dict[int, Image] = field(default_factory=dict)  # luma, by frame number


def _boxes_of(path: Path) -> Boxes:
    """Read a file of boxes, again if it changed: workers outlive commands."""
    with reading_from(path, CorpusError):
        state = path.stat()
    return _boxes_at(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _boxes_at(path: Path, _size: int, _mtime_ns: int) -> Boxes:
    return read_boxes(path)


def build_family(family: Family, settings: Settings, part: PartWriter) -> None:
    """Write the samples and failures of a family to `part`; every video is decoded once."""
    builder = _Builder(family, settings, part)
    if builder.clips:
        builder.build()
    builder.report()


class _Builder:
    """The work on one family."""

    def __init__(self, family: Family, settings: Settings, part: PartWriter) -> None:
        self._family = family
        self._settings = settings
        self._part = part
        self._found: dict[tuple[str, int], FaceBox | None] = {}  # detections
        self.clips: dict[str, Clip] = {}
        lost = dict(family.lost) if isinstance(family, ReducedFamily) else {}
        for path in family.paths:
            try:
                if path in lost:
                    raise VideoError(lost[path])
                self.clips[path] = open_clip(settings.root / path)
            except VideoError as error:
                part.add(Failure("unreadable", path, None, str(error)))
        self._mates = [mates for mates in family.mates() if self._are_whole(mates)]
        self._lender = family.detect_on or self._lone_target()
        used = {video.path for mates in self._mates for video in mates} | {self._lender}
        self.clips = {path: clip for path, clip in self.clips.items() if path in used}
        if not self._mates:
            self.clips = {}

    def _lone_target(self) -> str | None:
        """Return a real video without a readable partner: it gives no samples, but boxes."""
        for mates in self._family.mates():
            lead = mates[0]
            is_lone = mates not in self._mates and lead.path in self.clips
            if is_lone and not lead.is_fake and not lead.is_cropped:
                return lead.path
        return None

    def _are_whole(self, mates: Sequence[Video]) -> bool:
        """Test that all mates were opened and have frames of one size."""
        there = [video for video in mates if video.path in self.clips]
        if len(there) < len(mates):  # the reason is recorded already
            for video in there:
                lacking = next(mate.path for mate in mates if mate not in there)
                self._unpaired(video.path, f"{lacking} cannot be read")
            return False
        sizes = [self.clips[video.path].size for video in mates]
        for video, size in zip(mates, sizes, strict=True):
            if size is not None and sizes[0] is not None and size != sizes[0]:
                self._unpaired(video.path, other_size(size, mates[0].path, sizes[0]))
                return False
        return True

    def build(self) -> None:
        """Write all samples."""
        numbers = common_numbers(list(self.clips.values()))
        if not numbers:
            for video in (video for mates in self._mates for video in mates):
                reason = "shares no frame number with the rest of its family"
                self._part.add(Failure("unreadable", video.path, None, reason))
            return
        real, fake = self._settings.plan.choose(numbers, self._family.videos[0].split)
        self._probes = evenly(fake, _N_PROBES)
        self._references: dict[str, _Reference] = {}
        self._boxes: dict[str, dict[int, Box]] = {}
        lender = self._lender
        if lender in self.clips and lender is not None:
            self._references[_TARGET] = self._reference(lender, self._detect(lender, real))
        for mates in self._mates:
            self._build_mates(mates, fake if mates[0].is_fake else real)
        for name, boxes in self._boxes.items():
            self._part.add(VideoBoxes(name, boxes))

    def report(self) -> None:
        """Record videos with fewer frames than they claim, or than their mates have."""
        for path, clip in self.clips.items():
            if isinstance(clip, VideoFile) and clip.is_short:
                reason = f"claims {clip.n_claimed} frames, {len(clip.numbers)} can be decoded"
                self._part.add(Failure("short-read", path, None, reason))
            if isinstance(clip, VideoFile) and (why := misnamed(self._settings.root / path)):
                self._part.add(Failure("misnamed", path, None, why))
        for mates in self._mates if self.clips else ():
            self._report_lengths(mates)
        if not self._family.is_paired:
            self._report_numbers()

    def _report_numbers(self) -> None:
        """Record clips of which fewer frames are taken than if they were alone."""
        common = common_numbers(list(self.clips.values())) if self.clips else ()
        for video in (video for mates in self._mates for video in mates if common):
            numbers = self.clips[video.path].numbers
            n_alone, n = (self._n_planned(some, video) for some in (numbers, common))
            if n < n_alone:
                reason = (
                    f"{n} frames of it in place of {n_alone}: only {len(common)} of its "
                    f"{len(numbers)} frames have a number that its whole family has"
                )
                self._part.add(Failure("other-numbers", video.path, None, reason))

    def _n_planned(self, numbers: Sequence[int], video: Video) -> int:
        real, fake = self._settings.plan.choose(numbers, video.split)
        return len(fake if video.is_fake else real)

    def _report_lengths(self, mates: Sequence[Video]) -> None:
        numbers = {video.path: self.clips[video.path].numbers for video in mates}
        for path, other in itertools.permutations(numbers, 2):
            n_more = len(set(numbers[path]).difference(numbers[other]))
            if n_more:
                n, n_other = len(numbers[path]), len(numbers[other])
                self._unpaired(
                    path, f"{n_more} of its {n} frames are not among the {n_other} of {other}"
                )

    def _build_mates(self, mates: Sequence[Video], frames: Sequence[int]) -> None:
        """Write the samples of mates; all of them use the boxes of the first."""
        lead = mates[0]
        if lead.is_cropped or self._settings.crop == "none":
            for moment in self._in_step(mates, set(frames), ()):
                self._send(moment.events(self._settings, None, None))
            return
        reference = self._known(lead)
        if reference is not None and not reference.boxes and reference.surroundings is None:
            reason = f"no box for it: {reference.detector} names neither it nor its target"
            self._part.add(Failure("unreadable", lead.path, None, reason))
            return
        mark = self._part.mark()
        passes = self._pass(mates, frames, reference)
        if reference is not None and (why := self._misfit(reference, passes[0])):
            self._part.rewind(mark)
            self._part.add(Failure("own-boxes", lead.path, None, why))
            mark, reference = self._part.mark(), None
            passes = self._pass(mates, frames, None)
        if reference is None:
            is_target = not lead.is_fake and _TARGET not in self._references
            name = _TARGET if is_target else _method(lead)
            self._references[name] = self._reference(lead.path, passes[0])
        for video, done in zip(mates[1:], passes[1:], strict=True):
            why = "" if video.is_mask else self._apart(passes[0], done)
            if why:
                self._part.rewind(mark)
                self._unpaired(video.path, f"does not line up with {lead.path}: {why}")
                return
        self._keep_boxes(lead, passes[0].boxes)

    def _reference(self, path: str, done: _Pass) -> _Reference:
        return _Reference(done.boxes, f"{self._settings.rule} on {path}", done.surroundings)

    def _known(self, video: Video) -> _Reference | None:
        """Return boxes that a video may use without detection of its own."""
        path = self._settings.boxes_file
        if path is not None:
            known = _boxes_of(path)
            names = (*reversed(video.box_names), video.target_name)
            boxes = next((known[name] for name in names if name in known), {})
            found = {number: FaceBox(box, None) for number, box in boxes.items()}
            return _Reference(found, f"boxes {path.name}")
        if self._settings.detect_each:
            return None
        return self._references.get(_method(video), self._references.get(_TARGET))

    def _detect(self, path: str, frames: Sequence[int]) -> _Pass:
        """Detect faces in a clip without writing samples."""
        done = _Pass()
        wanted, thumbs = set(frames), worth_keeping(frames, self._probes)
        for frame in self._frames(path, wanted, thumbs):
            if frame.number in thumbs:
                done.surroundings.add(frame.number, grey(frame.image))
            if frame.number in wanted:
                done.boxes[frame.number] = self._find(path, frame)
        return done

    def _pass(
        self, mates: Sequence[Video], frames: Sequence[int], reference: _Reference | None
    ) -> list[_Pass]:
        """Read mates once, in step, and write samples or a failure for each planned frame.

        Without a reference, faces are detected in the first of them.
        """
        lead, passes, wanted = mates[0], [_Pass() for _ in mates], set(frames)
        is_compared = reference is None or len(mates) > 1
        thumbs = worth_keeping(frames, self._probes) if is_compared else set(self._probes)
        for moment in self._in_step(mates, wanted, thumbs):
            for video, frame, done in zip(mates, moment.frames, passes, strict=True):
                if frame is not None and not video.is_mask:
                    self._note(frame, done, thumbs if video is lead else self._probes)
            frame = moment.frames[0]
            if frame is None:  # so no box and no sample
                self._send(moment.events(self._settings, None, None))
            elif frame.number in wanted:
                found, detector = self._box(lead.path, frame, reference)
                passes[0].boxes[frame.number] = found
                self._send(moment.faces(self._settings, found, detector))
        return passes

    def _note(self, frame: Frame, done: _Pass, thumbs: Collection[int]) -> None:
        """Keep the thumbnail and luma that decide later if two videos line up."""
        if frame.number in thumbs:
            grey_image = grey(frame.image)
            done.surroundings.add(frame.number, grey_image)
            if frame.number in self._probes:
                done.probes[frame.number] = grey_image

    def _in_step(
        self, mates: Sequence[Video], planned: set[int], beside: Collection[int]
    ) -> Iterator[Moment]:
        """Yield the planned frames of all mates, and the frames `beside` them of the first."""
        streams = [
            self._frames(video.path, planned, beside if video is mates[0] else ())
            for video in mates
        ]
        for frames in in_step(streams):
            yield Moment(mates, frames)

    def _frames(self, path: str, planned: set[int], beside: Collection[int]) -> Iterator[Frame]:
        """Yield the planned frames and those `beside` them; only planned ones become failures."""

        def unreadable(name: str, number: int, reason: str) -> None:
            if number in planned:
                where = f"{path}/{name}" if name else path
                self._part.add(Failure("unreadable", where, number, reason))

        try:
            for frame in self.clips[path].frames(planned.union(beside), unreadable):
                if frame.damage is None or self._is_kept(path, frame, planned):
                    yield frame
        except VideoError as error:  # it could be opened before
            raise VideoError(f"{self._settings.root / path}: {error}.") from None

    def _box(
        self, path: str, frame: Frame, reference: _Reference | None
    ) -> tuple[FaceBox | None, str]:
        """Return the box of a frame and the name of what found it, or did not.

        If the reference's video lacks the frame, the face is detected in the frame itself.
        """
        if reference is None or (reference.surroundings and frame.number not in reference.boxes):
            return self._find(path, frame), f"{self._settings.rule} on {path}"
        return reference.boxes.get(frame.number), reference.detector

    def _is_kept(self, path: str, frame: Frame, planned: Collection[int]) -> bool:
        """Record a damaged frame, if it is planned; return True if it is still used."""
        is_kept = self._settings.accept_damaged
        if frame.number in planned:
            where = f"{path}/{frame.file_name}" if frame.file_name else path
            reason = frame.damage or ""
            self._part.add(damage_of(where, frame.number, reason, is_kept=is_kept))
        return is_kept

    def _find(self, path: str, frame: Frame) -> FaceBox | None:
        if (path, frame.number) not in self._found:
            self._found[path, frame.number] = self._settings.rule.find(grey(frame.image))
        return self._found[path, frame.number]

    def _apart(self, lead: _Pass, done: _Pass) -> str:
        """Return the reason why two qualities do not line up; empty if they do."""
        verdict, why = compare(lead.surroundings, done.surroundings, None, self._probes)
        return why if verdict in (Alignment.SHIFTED, Alignment.DIFFERENT) else ""

    def _misfit(self, reference: _Reference, done: _Pass) -> str:
        """Return the reason why the reference's boxes do not fit a clip; empty if they do."""
        if reference.surroundings is None:
            return ""
        faces = _boxes(reference.boxes)
        verdict, why = compare(reference.surroundings, done.surroundings, faces, self._probes)
        if verdict in (Alignment.UNCLEAR, Alignment.DIFFERENT) and faces:
            overlaps = []
            for number, grey_image in done.probes.items():
                own = self._settings.rule.find(grey_image)
                if number in faces:
                    overlaps.append(overlap(own.box, faces[number]) if own else 0.0)
            median = float(np.median(overlaps)) if overlaps else 1.0
            if median < _MIN_OVERLAP:
                return f"{why}; median IoU of its own detection is {median:.2f}"
        return why if verdict is Alignment.SHIFTED else ""

    def _send(self, events: Iterable[Event]) -> None:
        for event in events:
            self._part.add(event)

    def _unpaired(self, path: str, reason: str) -> None:
        self._part.add(Failure("unpaired", path, None, reason))

    def _keep_boxes(self, video: Video, boxes: Mapping[int, FaceBox | None]) -> None:
        """Keep boxes under the shortest name that no other boxes of the family have."""
        found = _boxes(boxes)
        for name in video.box_names:
            kept = self._boxes.setdefault(name, found)
            if all(kept.get(number, box) == box for number, box in found.items()):
                kept.update(found)
                return


def _boxes(found: Mapping[int, FaceBox | None]) -> dict[int, Box]:
    """Return the boxes of the frames that have a face."""
    return {number: each.box for number, each in found.items() if each is not None}


def _method(video: Video) -> str:
    """Return the name that a forgery shares with its other qualities only."""
    return f"{video.cls}/{video.name}"
