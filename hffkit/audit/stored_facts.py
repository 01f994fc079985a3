"""Facts of a sample without its pixels: its record's header, its manifest line, its source."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from hffkit.errors import ImageError
from hffkit.manifest.samples import Sample
from hffkit.media.headers import read_header
from hffkit.media.jpeg_facts import JpegFacts, TableKind, jpeg_facts
from hffkit.media.png_facts import PngFacts, png_facts
from hffkit.storage.datum import Datum

NAN = float("nan")
CONTAINERS = ("raw", "JPEG", "PNG", "WEBP", "BMP", "other")
TABLES: tuple[TableKind, ...] = ("ijg", "photoshop", "other")
CODECS = ("jpeg", "png", "webp", "bmp", "h264", "hevc", "vp9", "av1", "mpeg4", "other")
SUBSAMPLINGS = ("grey", "4:4:4", "4:2:2", "4:4:0", "4:2:0", "4:1:1", "other")


@dataclass(frozen=True, slots=True)
class Fact:
    """A column of facts."""

    name: str
    title: str  # for readers, with the unit
    names: tuple[str, ...] = ()  # of the values of a category, by number
    is_content: bool = False  # also depends on what the image shows
    is_hidden: bool = False  # no detector sees it


FACTS: tuple[Fact, ...] = (
    Fact("container", "container", CONTAINERS),
    Fact("width", "width, px"),
    Fact("height", "height, px"),
    Fact("aspect", "width over height"),
    Fact("bytes_per_pixel", "stored bytes per pixel", is_content=True),
    Fact("jpeg_quality", "JPEG quality"),
    Fact("jpeg_tables", "quantisation tables", TABLES),
    Fact("subsampling", "chroma subsampling", SUBSAMPLINGS),
    Fact("is_progressive", "progressive JPEG"),
    Fact("restart_interval", "JPEG restart interval"),
    Fact("has_jfif", "JFIF segment"),
    Fact("has_exif", "EXIF"),
    Fact("has_xmp", "XMP"),
    Fact("has_icc", "colour profile"),
    Fact("has_adobe", "Adobe segment"),
    Fact("has_comment", "comment"),
    Fact("has_own_codes", "optimised Huffman codes"),
    Fact("png_bits", "PNG bit depth"),
    Fact("png_colour_type", "PNG colour type"),
    Fact("png_interlaced", "PNG interlacing"),
    Fact("png_none", "PNG rows without a filter"),
    Fact("png_up", "PNG rows filtered by up"),
    Fact("png_level", "PNG compression level"),
    Fact("box_size", "face box, px"),
    Fact("box_x", "left of the face box, px", is_hidden=True),
    Fact("box_y", "top of the face box, px", is_hidden=True),
    Fact("frame", "frame number", is_hidden=True),
    Fact("source_face_score", "score of the face detector", is_hidden=True),
    Fact("source_codec", "codec of the source", CODECS),
    Fact("source_width", "width of the source, px"),
    Fact("source_height", "height of the source, px"),
    Fact("source_quality", "JPEG quality of the source"),
    Fact("source_tables", "quantisation tables of the source", TABLES),
    Fact("source_subsampling", "chroma subsampling of the source", SUBSAMPLINGS),
    Fact("source_has_exif", "EXIF of the source", is_hidden=True),
    Fact("source_fps", "frames per second of the source", is_hidden=True),
    Fact("source_bit_rate", "bits per second of the source", is_hidden=True),
)


def stored_facts(sample: Sample, datum: Datum) -> dict[str, float]:
    """Return the facts of a sample that it has, by name.

    Raises
    ------
    ImageError
        If the header of the stored file is damaged.
    """
    found = dict(_of_manifest(sample))
    if datum.encoded:
        found |= _of_file(bytes(datum.data))
    else:
        found |= {"container": 0, "width": datum.width, "height": datum.height}
    found["aspect"] = found["width"] / found["height"]
    if datum.encoded:
        found["bytes_per_pixel"] = len(datum.data) / (found["width"] * found["height"])
    return found


def row_of(found: Mapping[str, float]) -> list[float]:
    """Return the facts in the order of FACTS; NaN for those that a sample does not have."""
    return [float(found.get(fact.name, NAN)) for fact in FACTS]


def _of_manifest(sample: Sample) -> Iterator[tuple[str, float]]:
    if sample.box is not None:
        yield from zip(("box_x", "box_y", "box_size"), map(float, sample.box), strict=True)
    if sample.frame is not None:
        yield "frame", sample.frame
    names = {"codec": CODECS, "tables": TABLES, "subsampling": SUBSAMPLINGS}
    for name, value in (sample.facts or {}).items():
        if isinstance(value, str):
            known: Sequence[str] = names.get(name, ())
            value = known.index(value) if value in known else len(known) - 1
        yield f"source_{name}", float(value)


def _of_file(encoded: bytes) -> dict[str, float]:
    if encoded.startswith(b"\xff\xd8\xff"):
        return _of_jpeg(jpeg_facts(encoded))
    if encoded.startswith(b"\x89PNG"):
        return _of_png(png_facts(encoded))
    header = read_header(encoded)
    if not header.width or not header.height:
        raise ImageError("damaged header: no pixels")
    kind = header.format if header.format in CONTAINERS else "other"
    return {
        "container": CONTAINERS.index(kind), "width": header.width, "height": header.height,
    }  # fmt: skip


def _of_jpeg(facts: JpegFacts) -> dict[str, float]:
    found = {
        field.name: float(getattr(facts, field.name))
        for field in fields(facts)
        if field.name.startswith(("has_", "is_"))
    }
    return found | {
        "container": CONTAINERS.index("JPEG"),
        "width": facts.width,
        "height": facts.height,
        "jpeg_quality": facts.quality,
        "jpeg_tables": TABLES.index(facts.tables),
        "subsampling": SUBSAMPLINGS.index(facts.subsampling),
        "restart_interval": facts.restart_interval,
    }


def _of_png(facts: PngFacts) -> dict[str, float]:
    return {
        "container": CONTAINERS.index("PNG"),
        "width": facts.width,
        "height": facts.height,
        "png_bits": facts.bits,
        "png_colour_type": facts.colour_type,
        "png_interlaced": facts.is_interlaced,
        "png_none": facts.filters[0],
        "png_up": facts.filters[2],
        "png_level": facts.zlib_level,
        "has_exif": "eXIf" in facts.chunks,
        "has_icc": "iCCP" in facts.chunks,
        "has_comment": bool(facts.chunks & {"tEXt", "zTXt", "iTXt"}),
    }
