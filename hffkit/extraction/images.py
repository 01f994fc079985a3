"""Extraction of samples from a block of images."""

from hffkit.errors import ImageError
from hffkit.extraction.crop import cut
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import ImageBlock, ImageFile
from hffkit.manifest.failures import Failure, damage_of
from hffkit.media.image import grey, read_bytes
from hffkit.media.kinds import HEAD_BYTES, contradiction, kind_of
from hffkit.media.video import Frame, image_frame
from hffkit.storage.parts import PartWriter


def build_images(block: ImageBlock, settings: Settings, part: PartWriter) -> None:
    """Write each image of a block to `part`, as a sample or a failure."""
    for item in block.items:
        try:
            encoded = read_bytes(settings.root / item.path)
            frame = image_frame(encoded)
        except ImageError as error:
            part.add(Failure("unreadable", item.path, None, str(error)))
            continue
        if why := contradiction(item.path, kind_of(encoded[:HEAD_BYTES])):
            part.add(Failure("misnamed", item.path, None, why))
        if frame.damage is not None:
            is_kept = settings.accept_damaged
            part.add(damage_of(item.path, None, frame.damage, is_kept=is_kept))
            if not is_kept:
                continue
        _add_samples(item, frame, settings, part)


def _add_samples(item: ImageFile, frame: Frame, settings: Settings, part: PartWriter) -> None:
    found = detector = None
    if settings.crop == "face":
        found, detector = settings.rule.find(grey(frame.image)), str(settings.rule)
        if found is None:
            part.add(Failure("no-face", item.path, None, "no face found"))
            return
    for event in cut(item, frame, found, detector, settings):
        part.add(event)
