"""Recognise the kind of a file by its first bytes; its name decides nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hffkit.input_files import check_regular
from hffkit.media.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, suffix_of

Medium = Literal["image", "video", "other"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEAD_BYTES = 512  # of a file: as many as `kind_of` looks at


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file, recognised by its content."""

    name: str  # "jpeg", "mp4"
    title: str  # "JPEG image", "MP4 video", for messages
    medium: Medium


def _image(name: str, title: str) -> Kind:
    return Kind(name, f"{title} image", "image")


def _video(name: str, title: str) -> Kind:
    return Kind(name, f"{title} video", "video")


_AVIF = _image("avif", "AVIF")
_HEIC = _image("heic", "HEIC")
_MP4 = _video("mp4", "MP4")  # also QuickTime and 3GPP

# Bytes at the start of a file; of two that fit, the first.
_STARTS: Sequence[tuple[bytes, Kind]] = (
    (b"\xff\xd8\xff", _image("jpeg", "JPEG")),
    (PNG_SIGNATURE, _image("png", "PNG")),
    (b"GIF87a", _image("gif", "GIF")),
    (b"GIF89a", _image("gif", "GIF")),
    (b"II*\0\x10\0\0\0CR", _image("cr2", "Canon raw")),
    (b"II*\0", _image("tiff", "TIFF")),
    (b"MM\0*", _image("tiff", "TIFF")),
    (b"II+\0", _image("tiff", "TIFF")),  # more than 4 GB
    (b"MM\0+", _image("tiff", "TIFF")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _image("jpeg2000", "JPEG 2000")),
    (b"\xff\x4f\xff\x51", _image("jpeg2000", "JPEG 2000")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _image("jpegxl", "JPEG XL")),
    (b"\xff\x0a", _image("jpegxl", "JPEG XL")),
    (b"8BPS", _image("psd", "Photoshop")),
    (b"v/1\x01", _image("exr", "OpenEXR")),
    (b"#?RADIANCE", _image("hdr", "Radiance")),
    (b"#?RGBE", _image("hdr", "Radiance")),
    (b"\x59\xa6\x6a\x95", _image("sun", "Sun raster")),
    (b"\0\0\1\0", _image("ico", "icon")),
    (b"\x1a\x45\xdf\xa3", _video("matroska", "Matroska or WebM")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _video("asf", "WMV")),
    (b"FLV\1", _video("flv", "Flash")),
    (b"\0\0\1\xba", _video("mpeg", "MPEG")),
    (b"\0\0\1\xb3", _video("mpeg", "MPEG")),
    (b"OggS", _video("ogg", "Ogg")),
    (b"YUV4MPEG2", _video("y4m", "Y4M")),
    (b"DKIF", _video("ivf", "IVF")),
    (b".RMF", _video("rm", "RealMedia")),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", _video("mxf", "MXF")),
    (b"\x1f\x07\0", _video("dv", "DV")),
    *(  # a set of parameters, or what may come before it
        (code + unit, _video("h264", "H.264"))
        for code in (b"\0\0\0\1", b"\0\0\1")
        for unit in (b"\x67", b"\x27", b"\x06", b"\x09")
    ),
    *(
        (code + unit, _video("hevc", "HEVC"))
        for code in (b"\0\0\0\1", b"\0\0\1")
        for unit in (b"\x40\1", b"\x46\1")
    ),
    (b"nut/multimedia container", _video("nut", "NUT")),
    (b"\x12\0\x0a", _video("obu", "AV1")),
    (b"\xb7\xd8\x00\x20\x37\x49\xda\x11", _video("wtv", "WTV")),
    (b"Pf\n", _image("pfm", "PFM")),
    (b"PF\n", _image("pfm", "PFM")),
    (b"PK\3\4", Kind("zip", "ZIP archive", "other")),
    (b"\x1f\x8b", Kind("gzip", "gzip archive", "other")),
    (b"7z\xbc\xaf\x27\x1c", Kind("7z", "7-Zip archive", "other")),
    (b"Rar!\x1a\x07", Kind("rar", "RAR archive", "other")),
    (b"%PDF-", Kind("pdf", "PDF document", "other")),
    (b"ID3", Kind("mp3", "MP3 sound file", "other")),
    (b"fLaC", Kind("flac", "FLAC sound file", "other")),
    (b"\0\5\x16\7", Kind("appledouble", "AppleDouble file (attributes kept by macOS)", "other")),
    (b"version https://git-lfs", Kind("lfs", "Git LFS pointer, not the file itself", "other")),
)

_RIFF = {
    b"WEBP": _image("webp", "WebP"),
    b"AVI ": _video("avi", "AVI"),
    b"WAVE": Kind("wav", "WAV sound file", "other"),
}
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"}
)
_M4A_BRANDS = frozenset({b"M4A ", b"M4B "})
# First boxes of QuickTime files, which may have no `ftyp`.
_QUICKTIME = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof"})
_BMP = _image("bmp", "BMP")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # lengths of the header in its versions
_PNM = _image("pnm", "PNM")
_TS_STEP = 188  # bytes of a packet of an MPEG transport stream, each begins with 0x47


def kind_of(head: bytes) -> Kind | None:
    """Recognise a file by its first `HEAD_BYTES` bytes; None if nothing is recognised."""
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    return _of_boxes(head) or _of_structure(head)


def _of_boxes(head: bytes) -> Kind | None:
    """Tell files of the MP4 family apart by their brands."""
    if head[4:8] != b"ftyp":
        return _MP4 if head[4:8] in _QUICKTIME else None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]
    if brands[0] == b"crx ":
        return _image("cr3", "Canon raw")
    if brands[0] in _M4A_BRANDS:
        return Kind("m4a", "M4A sound file", "other")
    if brands[0] in _AVIF_BRANDS | _HEIC_BRANDS:
        return _AVIF if _AVIF_BRANDS.intersection(brands) else _HEIC
    return _MP4


def _of_structure(head: bytes) -> Kind | None:
    """Recognise what a few bytes at the start would not prove."""
    # A bitmap's two reserved numbers are zero, and its header has one of few lengths.
    if head[:2] == b"BM" and head[6:10] == bytes(4) and _is_bitmap(head[14:18]):
        return _BMP
    if re.match(rb"P[1-7][ \t\r\n]+(\d|#|WIDTH)", head):
        return _PNM
    for first in (0, 4):  # 4: the packets of a camcorder or Blu-ray begin with a time
        step = _TS_STEP + first
        syncs = head[first : 2 * step + first + 1 : step]
        if syncs == b"GGG":
            return _video("mpegts", "MPEG-TS")
    if head[:256].lstrip(b"\xef\xbb\xbf \t\r\n")[:9].lower().startswith((b"<!doctype", b"<html")):
        return Kind("html", "HTML page", "other")
    return None


def _is_bitmap(length: bytes) -> bool:
    return len(length) == 4 and int.from_bytes(length, "little") in _BMP_HEADERS


def kind_of_file(path: Path) -> Kind | None:
    """Recognise a regular file; see `kind_of`.

    Raises
    ------
    OSError
        If it cannot be read or is no regular file.
    """
    check_regular(path)
    with path.open("rb") as file:
        return kind_of(file.read(HEAD_BYTES))


# Suffixes that other files have as well, such as programs in TypeScript.
_SHARED_SUFFIXES = {".ts": "mpegts"}
_CLAIMS: Mapping[str, str] = {  # kinds that suffixes stand for; others claim nothing
    **IMAGE_SUFFIXES,
    **VIDEO_SUFFIXES,
    **_SHARED_SUFFIXES,
    **dict.fromkeys(
        (".csv", ".gz", ".htm", ".html", ".json", ".log", ".md", ".mp3", ".npy", ".pdf", ".tar",
         ".tsv", ".txt", ".wav", ".xml", ".zip"), "other"
    ),
}  # fmt: skip
# Raw images of cameras begin as TIFF, with a thumbnail in place of the image.
_RAW_SUFFIXES = frozenset(
    {".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"}
)


def medium_of(path: Path) -> Medium:
    """Tell an image or a video from other files: by its suffix, or else by its content.

    A file with a suffix of images or videos is not opened, for opening each of millions of files
    takes as long as listing them ten times, and hours on a network disk; readers decode by content
    and report what is something else.

    Raises
    ------
    OSError
        If the content decides and cannot be read, or the file is no regular one.
    """
    suffix = suffix_of(path.name)
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    kind = None if suffix in _RAW_SUFFIXES else kind_of_file(path)
    return "other" if kind is None else kind.medium


def is_video_file(path: Path) -> bool:
    """Test for a video by `medium_of`; a file that cannot be read is none."""
    try:
        return medium_of(path) == "video"
    except (OSError, ValueError):  # or its name is none that a file can have
        return False


def contradiction(name: str, kind: Kind | None) -> str:
    """Return how the content of a file differs from what its suffix says; empty if it does not."""
    suffix = suffix_of(name)
    claimed = _CLAIMS.get(suffix)
    if kind is None or claimed in (None, kind.name):
        return ""
    return f"{suffix} by its name, {kind.title} by its content"


def misnamed(path: Path) -> str:
    """Return the `contradiction` of a file; empty also if it cannot be read."""
    try:
        return contradiction(path.name, kind_of_file(path))
    except OSError:
        return ""
