"""Media files with random damage, read as `build`, `predict` and `degrade` read them."""

import faulthandler
import functools
import os
import signal
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hffkit.corpus.build import BuildWork
from hffkit.degrade.folder import Files, FileWork
from hffkit.degrade.rework import Treatment
from hffkit.errors import HffkitError, ImageError, StorageError, VideoError
from hffkit.extraction.frames import FramePlan
from hffkit.extraction.settings import Settings
from hffkit.extraction.units import Family, ImageBlock, ImageFile, Video
from hffkit.faces.detection import FaceRule
from hffkit.faces.search import FaceSearch, FrameCounts, faces_in
from hffkit.manifest.classes import BINARY
from hffkit.manifest.failures import FATAL, Failure
from hffkit.media.kinds import is_video_file
from hffkit.storage.datum import decode_datum, encode_datum, raw_datum
from hffkit.storage.parts import FileMade, PartWriter, Record, read_part
from makers.heic import heic
from makers.mutations import encodings, mutations
from makers.trees import face
from makers.videos import encode, ffmpeg

LIMIT_S = 60  # of a file; the slowest takes a second
MAX_BYTES = 3 << 30  # of memory, while a file is read; 178,956,970 pixels are 0.5 GiB of RGB

_MEMORY = Path("/proc/self/status")
_SUFFIXES = {"jpeg2000": "jp2", "jpeg": "jpg"}
_VIDEOS: Mapping[str, tuple[str, ...]] = {  # by suffix and a name
    "mp4-h264": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "6"),
    "mp4-hevc": ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p"),
    "mp4-fragmented": ("-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov"),
    "mov-mjpeg": ("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"),
    "webm-vp9": ("-c:v", "libvpx-vp9", "-deadline", "realtime"),
    "webm-vp8": ("-c:v", "libvpx", "-deadline", "realtime"),
    "mkv-ffv1": ("-c:v", "ffv1"),
    "avi-mpeg4": ("-c:v", "mpeg4", "-bf", "2"),
    "avi-huffyuv": ("-c:v", "huffyuv"),
    "mpg-mpeg2": ("-c:v", "mpeg2video", "-f", "mpeg"),
    "ts-h264": ("-c:v", "libx264", "-f", "mpegts"),
    "flv-h264": ("-c:v", "libx264", "-f", "flv"),
    "wmv-wmv2": ("-c:v", "wmv2", "-f", "asf"),
    "ogv-theora": ("-c:v", "libtheora"),
    "mp4-gif": ("-f", "gif"),  # a GIF by its content
}
_REAL_IMAGES = ("real-dfdc-crop224", "real-ffhq256", "fake-glow256-png", "real-lfw250-gray")
_VIDEO_KINDS = {name.partition("-")[0] for name in _VIDEOS}
_PATTERN = "testsrc2=s=64x48:d=0.4:r=25"  # 10 frames
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 13_000, 1 << 24, 0x7FFFFFFF, 1 << 31,
             0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
_SIZES = (b"IHDR", b"acTL", b"fcTL", b"\xff\xc0", b"\xff\xc2", b"ihdr", b"\xff\x51", b"VP8 ",
          b"VP8L", b"VP8X", b"ispe", b"iloc", b"ipma", b"stsz", b"stsc", b"stco", b"stts", b"ctts",
          b"tkhd", b"mdhd", b"elst", b"stsd", b"traf", b"moov", b"avih", b"strh", b"strf", b"idx1",
          b"GIF8", b"\xb0\x82", b"\xba\x82", b"BM", b"II*", b"\0\0\1\xb3")  # fmt: skip


def mutated_media(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Read damaged images, videos and records as build, degrade and predict do.

    Each must be read in time and in bounded memory, be named in what became of it, and give the
    same twice.
    """
    found: Counter[str] = Counter()
    originals = _originals(scratch)
    (scratch / "made").mkdir(exist_ok=True)
    for number in range(n):
        name, encoded = damaged(originals, seed, number)
        case = f"seed {seed}, file {number}, {name}"
        with _bounded(case):
            found[_outcome(scratch, name, encoded, case)] += 1
    return found


def damaged(originals: Mapping[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Return the name of an original and a damaged copy of it."""
    rng = np.random.default_rng((seed, number))
    name = sorted(originals)[int(rng.integers(len(originals)))]
    encoded = originals[name]
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        way = _WAYS[int(rng.integers(len(_WAYS)))]
        encoded = way(encoded, rng, originals) or b"\0"
    return name, encoded


def _plain(encoded: bytes, rng: np.random.Generator, _: Mapping[str, bytes]) -> bytes:
    return next(mutations(encoded, 1, int(rng.integers(1 << 30))))


def _doubled(encoded: bytes, rng: np.random.Generator, _: Mapping[str, bytes]) -> bytes:
    begin, end = sorted(rng.integers(len(encoded) + 1, size=2).tolist())
    return encoded[:end] + encoded[begin:end] + encoded[end:]


def _swapped(encoded: bytes, rng: np.random.Generator, _: Mapping[str, bytes]) -> bytes:
    a, b, c, d = sorted(rng.integers(len(encoded) + 1, size=4).tolist())
    return encoded[:a] + encoded[c:d] + encoded[b:c] + encoded[a:b] + encoded[d:]


def _altered_number(encoded: bytes, rng: np.random.Generator, _: Mapping[str, bytes]) -> bytes:
    """Write an extreme number over another one, near the name of a field if there is one."""
    places = [at for name in _SIZES if (at := encoded.find(name)) >= 0]
    at = int(rng.integers(len(encoded)))
    if places and rng.integers(4):
        at = max(0, int(rng.choice(places)) + int(rng.integers(-8, 48)))
    order, n_bytes = str(rng.choice([">", "<"])), int(rng.choice([1, 2, 4, 4, 8]))
    value = int(rng.choice(np.array(_EXTREMES, np.int64))) % (1 << 8 * n_bytes)
    number = struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[n_bytes], value)
    return encoded[:at] + number + encoded[at + n_bytes :]


def _zeroed(encoded: bytes, rng: np.random.Generator, _: Mapping[str, bytes]) -> bytes:
    begin, end = sorted(rng.integers(len(encoded) + 1, size=2).tolist())
    return encoded[:begin] + bytes(end - begin) + encoded[end:]


def _spliced(encoded: bytes, rng: np.random.Generator, originals: Mapping[str, bytes]) -> bytes:
    """Put the beginning of another file in front, or in place of the own one."""
    other = originals[sorted(originals)[int(rng.integers(len(originals)))]]
    length = int(rng.choice([4, 12, 32, 64, 256, 1024]))
    return other[:length] + encoded[length * int(rng.integers(2)) :]


_Way = Callable[[bytes, np.random.Generator, Mapping[str, bytes]], bytes]
_WAYS: tuple[_Way, ...] = (
    _plain, _plain, _plain, _doubled, _swapped, _altered_number, _altered_number, _zeroed, _spliced,
)  # fmt: skip


@functools.cache
def _originals(scratch: Path) -> dict[str, bytes]:
    """Return images, videos and records, by suffix and name."""
    found = {}
    for name, encoded in encodings().items():
        kind = name.partition("-")[0]
        found[f"{_SUFFIXES.get(kind, kind)}-{name}"] = encoded
    small = face(0)[40:104, 40:120]
    found["heic-item"], found["heic-grid"] = heic(small), heic(small, grid=(2, 2))
    for name, options in _VIDEOS.items():
        path = scratch / f"original.{name.partition('-')[0]}"
        found[name] = encode(path, *options, source=_PATTERN).read_bytes()
        path.unlink()
    found["record-raw"] = encode_datum(raw_datum(small, 3))
    found["record-png"] = b"\x22" + _length(encodings()["png"]) + b"\x28\x03\x38\x01"
    return found | _real(scratch)


def _length(data: bytes) -> bytes:
    return bytes([len(data) & 127 | 128, len(data) >> 7]) + data


def _real(scratch: Path) -> dict[str, bytes]:
    """Return a few small images and a short clip of the folder of real data, if there is one."""
    data = os.environ.get("HFFKIT_TEST_DATA")
    if data is None:
        return {}
    found = {}
    for name in _REAL_IMAGES:
        path = min((Path(data) / "data/images" / name).iterdir(), key=lambda p: p.stat().st_size)
        found[f"{path.suffix[1:]}-{name}"] = path.read_bytes()
    video, clip = Path(data) / "data/videos/real-portrait/d19.mp4", scratch / "real.mp4"
    ffmpeg("-i", video, "-an", "-c", "copy", "-frames:v", "12", clip)
    found["mp4-real"] = clip.read_bytes()
    clip.unlink()
    return found


@contextmanager
def _bounded(case: str) -> Iterator[None]:
    """Raise AssertionError if the block takes too long or too much memory; no error passes."""

    def stop(*_: object) -> None:
        raise AssertionError(f"{case}: not read in {LIMIT_S} s")

    faulthandler.dump_traceback_later(2 * LIMIT_S, exit=True)  # if a library hangs
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    _reset_peak()
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{case}: {error!r}") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()
    assert _peak() < MAX_BYTES, f"{case}: {_peak()} bytes of memory"


def _reset_peak() -> None:
    if _MEMORY.exists():
        _MEMORY.with_name("clear_refs").write_text("5")


def _peak() -> int:
    """Return the most bytes of memory since the last reset; 0 where Linux is not there to tell."""
    lines = _MEMORY.read_text().split("\n") if _MEMORY.exists() else []
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def _outcome(scratch: Path, name: str, encoded: bytes, case: str) -> str:
    """Read a damaged copy in all ways, and return what became of it."""
    kind = name.partition("-")[0]
    if kind == "record":
        return _same(lambda: _of_record(encoded), case)
    path = scratch / f"damaged.{kind}"
    path.write_bytes(encoded)
    try:
        built = _same(lambda: _built(scratch, path.name), case)
        degraded = _same(lambda: _degraded(scratch, path.name), case)
        predicted = _same(lambda: _predicted(path), case)
    finally:
        path.unlink()
    if kind in _VIDEO_KINDS:  # each command takes other frames
        return built
    assert built == degraded == predicted, f"{case}: {built}, {degraded}, {predicted}"
    return built


def _same(read: Callable[[], tuple[str, Any]], case: str) -> str:
    one, two = read(), read()
    assert one == two, f"{case}: two readings differ"
    return one[0]


def _of_record(message: bytes) -> tuple[str, Any]:
    try:
        image = decode_datum(message).image()
    except (StorageError, ImageError) as error:
        return "refused", str(error)
    return "read", (image.shape, image.tobytes())


def _settings(root: Path) -> Settings:
    return Settings(root, BINARY, FramePlan.parse("4"), FaceRule(0), crop="none")


def _built(root: Path, path: str) -> tuple[str, Any]:
    if is_video_file(root / path):
        unit: Family | ImageBlock = Family(
            (Video(path, path, "real", "train", path, is_fake=False, name=path),)
        )
    else:
        unit = ImageBlock((ImageFile(path, path, "real", "train", path),))
    return _done(BuildWork(_settings(root)), unit, root, path)


def _degraded(root: Path, path: str) -> tuple[str, Any]:
    steps = ("h264:40",) if is_video_file(root / path) else ("jp:80",)
    treatment = Treatment(steps, None, "native", None, 0)
    return _done(
        FileWork(root, root / "made", treatment, accept_damaged=False), Files((path,)), root, path
    )


def _done(work: Any, unit: Any, root: Path, path: str) -> tuple[str, Any]:
    """Do a unit of one file; an event of it must be a result, or a failure, that names the file."""
    part = root / "unit.part"
    with PartWriter(part, is_durable=False) as writer:
        work(unit, writer)
    events = [*read_part(part)]
    told = [
        (e.sample.key, e.sample.sha256, bytes(e.value or b"")) if isinstance(e, Record) else repr(e)
        for e in events
    ]
    part.unlink()
    failed = [e for e in events if isinstance(e, Failure) and e.kind in FATAL]
    made = [e for e in events if isinstance(e, Record | FileMade)]
    assert made or failed, f"{path} is not named"
    assert all(failure.path == path and failure.reason for failure in failed), failed
    return ("read" if not failed else "read in part" if made else "refused"), told


def _predicted(path: Path) -> tuple[str, Any]:
    counts = FrameCounts()
    try:
        faces = list(faces_in(path, FaceSearch(4, whole=True), counts))
    except (ImageError, VideoError) as error:
        return "refused", str(error)
    except HffkitError as error:
        raise AssertionError(f"{error!r} does not become an entry") from error
    return "read" if not counts.n_missing else "read in part", [
        (face.frame, face.image.shape, face.image.tobytes()) for face in faces
    ]
