"""What of an image or frame is stored: all of it, a face's square, or a face's outline."""

from dataclasses import dataclass

from hffkit.extraction.settings import Settings
from hffkit.faces.detection import crop, face_of
from hffkit.faces.landmarks import landmarks_of
from hffkit.faces.outline import black_outside
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, grey

NO_OUTLINE = "no face to outline; kept whole"


@dataclass(frozen=True, slots=True)
class Cut:
    """Pixels to store and where they are from."""

    image: Image
    original: bytes | None  # the file, where the pixels are all of it, untouched
    detector: str | None  # what found the face; None where none was looked for, or none found


def cut(
    image: Image, encoded: bytes | None, box: Box | None, detector: str | None, settings: Settings
) -> Cut:
    """Return what is stored of an image.

    Parameters
    ----------
    image : (H, W, 3) uint8
        The whole image.
    encoded : bytes, optional
        Its file.
    box : (x, y, size), optional
        The crop; None takes the image whole.
    detector : str, optional
        What found the box.
    settings : Settings
        Where they have a predictor, all outside of the face's outline becomes black. The face is
        that of the crop, or is looked for in a whole image; one without a face stays as it is.
    """
    if settings.outline is not None:
        grey_image = grey(image)
        face = settings.rule.face(grey_image) if box is None else face_of(box)
        if face is not None:
            image = black_outside(image, landmarks_of(settings.outline, grey_image, face))
            encoded = None
            detector = f"{detector or settings.rule}; outline by {settings.outline}"
    if box is not None:
        image, encoded = crop(image, box), None
    return Cut(image, encoded, detector)
