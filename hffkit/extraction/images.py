"""A block of images to samples."""

import hashlib
from typing import Protocol

from hffkit.errors import ImageError
from hffkit.extraction.crop import NO_OUTLINE, cut
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import ImageBlock
from hffkit.faces.detection import find_in_image
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample
from hffkit.media.image import decode, read_bytes
from hffkit.storage.parts import Event, Record
from hffkit.storage.record import store


class Sink(Protocol):
    """Where events go: a part that can be rewound."""

    def add(self, event: Event) -> None:
        """Append an event."""

    def mark(self) -> int:
        """Return the present place."""

    def rewind(self, mark: int) -> None:
        """Forget what came after `mark`."""


def build_images(unit: ImageBlock, settings: Settings, sink: Sink) -> None:
    """Send each image of a block to `sink` as a sample or a failure."""
    for item in unit.items:
        try:
            encoded = read_bytes(settings.root / item.path)
            image = decode(encoded)
        except ImageError as error:
            sink.add(Failure("unreadable", item.path, None, str(error)))
            continue
        box = detector = None
        if settings.crop == "face":
            box = find_in_image(settings.rule, image)
            if box is None:
                sink.add(Failure("no-face", item.path, None, "no face found"))
                continue
            detector = str(settings.rule)
        done = cut(image, encoded, box, detector, settings)
        if settings.outline is not None and done.detector is None:
            sink.add(Failure("no-face", item.path, None, NO_OUTLINE))
        label = settings.classes[item.cls].id
        stored = store(done.image, done.original, label, settings.size)
        sample = Sample(
            key=item.key,
            cls=item.cls,
            split=item.split,
            group=item.group,
            source=item.path,
            source_sha256=hashlib.sha256(encoded).hexdigest(),
            frame=None,
            box=box,
            detector=done.detector,
            sha256=stored.sha256,
            pixels_sha256=stored.pixels_sha256,
            index=item.index,
        )
        sink.add(Record(sample, stored.value))
