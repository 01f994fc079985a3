"""Samples cut from images and frames: whole, cropped to a face, or blacked out around it."""

from collections.abc import Iterator, Mapping

from hffkit.extraction.settings import Settings
from hffkit.extraction.units import ImageFile, Video
from hffkit.faces.detection import FaceBox, crop, face_of
from hffkit.faces.landmarks import landmarks_of
from hffkit.faces.outline import black_outside
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.media.image import grey
from hffkit.media.source_facts import image_facts
from hffkit.media.video import Frame
from hffkit.storage.parts import Record
from hffkit.storage.record import store


def source_of(item: ImageFile | Video, frame: Frame) -> str:
    """Return the path of the file that a frame was read from, relative to the root."""
    return item.path if frame.file_name is None else f"{item.path}/{frame.file_name}"


def cut(
    item: ImageFile | Video,
    frame: Frame,
    found: FaceBox | None,
    detector: str | None,
    settings: Settings,
) -> Iterator[Record | Failure]:
    """Yield the sample of an image or frame, after a failure if it has no face to outline.

    With a predictor in `settings`, pixels outside the outline of the face become black: of the
    face that was `found`, or of one detected in the whole image. An image without a face stays as
    it is.

    An image is passed as its frame 0; its file is stored if it is used whole and unchanged.
    `detector` describes what found the face, for the manifest.
    """
    image, original = frame.image, frame.encoded
    box, score = (None, None) if found is None else found
    number = frame.number if isinstance(item, Video) else None
    source = source_of(item, frame)
    if settings.outline is not None:
        luma = grey(image)
        face = settings.rule.face(luma) if box is None else face_of(box)
        if face is None:
            yield Failure("no-face", source, number, "no face to outline; kept whole")
        else:
            image = black_outside(image, landmarks_of(settings.outline, luma, face))
            original = None
            score = face.score if found is None else score
            detector = f"{detector or settings.rule}; outline by {settings.outline}"
    if box is not None:
        image, original = crop(image, box), None
    is_stored = original is not None and settings.size is None
    stored = store(image, original, settings.classes[item.cls].id, settings.size)
    sample = Sample(
        key=item.key if number is None else f"{item.key}/{number:04d}",
        cls=item.cls,
        split=item.split,
        group=item.group,
        source=source,
        source_sha256=frame.file_sha256,
        frame=number,
        box=box,
        detector=detector,
        sha256=stored.sha256,
        pixels_sha256=stored.pixels_sha256,
        index=item.index,
        facts=None if is_stored else _facts(frame, score),
    )
    yield Record(sample, stored.value)


def _facts(frame: Frame, score: float | None) -> Mapping[str, str | int | float] | None:
    """Return the facts of the file of a frame and of its face; None if there are none."""
    facts = image_facts(frame.encoded) if frame.encoded is not None else frame.facts
    return {**(facts or {}), **({} if score is None else {"face_score": score})} or None
