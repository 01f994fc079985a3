"""Facts of a source file that are lost when its pixels are cropped, resized or encoded again."""

from hffkit.errors import ImageError
from hffkit.media.headers import kind_of_image, read_header
from hffkit.media.jpeg_facts import jpeg_facts
from hffkit.media.png_facts import png_header

SourceFacts = dict[str, str | int | float]


def image_facts(encoded: bytes) -> SourceFacts:
    """Return container, size and encoder settings of an image file that can be decoded.

    Header fields that only another parser could read are left out.
    """
    try:
        kind = kind_of_image(encoded).name
        if kind == "jpeg":
            return _of_jpeg(encoded)
        if kind == "png":
            png = png_header(encoded)
            return {"codec": "png", "width": png.width, "height": png.height, "bits": png.bits}
        header = read_header(encoded)
    except ImageError:
        return {}
    return {"codec": header.format.lower(), "width": header.width, "height": header.height}


def _of_jpeg(encoded: bytes) -> SourceFacts:
    found = jpeg_facts(encoded)
    return {
        "codec": "jpeg",
        "width": found.width,
        "height": found.height,
        "quality": found.quality,
        "tables": found.tables,
        "subsampling": found.subsampling,
        "has_exif": int(found.has_exif),
    }
