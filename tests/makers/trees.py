"""Small source trees for tests, and corpora read without hffkit's own readers."""

import functools
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2
import lmdb
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.data import astronaut

from hffkit.corpus.build import build, prepare
from hffkit.extraction.units import ImageFile, Video
from hffkit.media.h264 import write_video
from hffkit.sources.listing import Listing
from hffkit.sources.table import SOURCES

Pixels = npt.NDArray[np.uint8]

FFPP_FAKES = (
    "Deepfakes",
    "DeepFakeDetection",
    "Face2Face",
    "FaceSwap",
    "NeuralTextures",
    "FaceShifter",
)


@functools.cache
def portrait() -> Pixels:
    """Return the public-domain portrait that scikit-image ships: (512, 512, 3) RGB."""
    return np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]


SMALL_BOX = [72, 63, 117]  # of the face in `small_portrait`: 1.3 times what dlib finds


def small_portrait() -> Pixels:
    """Return the part of the portrait around its face, where dlib takes a third of the time."""
    return portrait()[:256, 96:352].copy()


def face(number: int = 0) -> Pixels:
    """Return a (160, 160, 3) cut of the portrait with the face in it, another for each number."""
    x, y = 144 + 2 * (number % 8), 40 + 2 * (number // 8 % 8)
    return portrait()[y : y + 160, x : x + 160]


def touch(root: Path, *paths: str) -> Path:
    """Make empty files: enough for what only lists."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def write_image(
    path: Path, number: int = 0, *, size: tuple[int, int] = (40, 32), **how: Any
) -> Path:
    """Write a cut of the portrait of (width, height), another for each number, by Pillow."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = 7 * number % 400, 3 * number % 300
    Image.fromarray(portrait()[y : y + size[1], x : x + size[0]]).save(path, **how)
    return path


def write_clip(path: Path, *, n_frames: int = 6, first: int = 0, crf: int = 18) -> Path:
    """Write a clip of 160x160 that shows the portrait's face, a little elsewhere each frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_clip(path.suffix, n_frames, first, crf))
    return path


@functools.cache
def _clip(suffix: str, n_frames: int, first: int, crf: int) -> bytes:
    """Return the bytes of a clip, which many trees hold under several names."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{suffix}"
        write_video(path, [face(first + i) for i in range(n_frames)], crf=crf)
        return path.read_bytes()


def frames_of(path: Path, start: int, stop: int) -> Iterator[Pixels]:
    """Yield frames `start` to `stop` - 1 of a video, or to its end, as OpenCV reads them."""
    capture = cv2.VideoCapture(str(path))
    for number in range(stop):
        if not capture.grab():
            return
        if number >= start:
            bgr = capture.retrieve()[1]
            yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def shorten(clips: Path, out: Path, n_frames: int) -> None:
    """Write the first frames of every clip, of 360 lines, to the same place below a folder."""
    for clip in clips.rglob("*.mp4"):
        short = out / clip.relative_to(clips)
        short.parent.mkdir(parents=True, exist_ok=True)
        frames = [
            np.asarray(
                cv2.resize(image, (image.shape[1] * 180 // image.shape[0] * 2, 360)), np.uint8
            )
            for image in frames_of(clip, 0, n_frames)
        ]
        with av.open(str(short), "w") as file:
            quick = {"crf": "18", "preset": "superfast"}
            stream = file.add_stream("libx264", rate=25, options=quick)
            stream.height, stream.width = frames[0].shape[:2]
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode(None))


def png_that_claims(width: int, height: int) -> bytes:
    """Return a PNG whose header says so much and whose pixels are nearly none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def ffpp_paths(real: str, fake: str, *, quality: str = "c23", ending: str = ".mp4") -> list[str]:
    """Return where the official layout has one video of youtube and of each manipulation of it."""
    return [
        f"original_sequences/youtube/{quality}/videos/{real}{ending}",
        *(
            f"manipulated_sequences/{name}/{quality}/videos/{fake}{ending}"
            for name in FFPP_FAKES
            if name != "DeepFakeDetection"
        ),
    ]


def write_families(root: Path, *, qualities: Sequence[str] = ("c23",), n_frames: int = 3) -> Path:
    """Write two videos of FaceForensics++ and, as forgeries, other encodings of each."""
    for first, names in ((0, ("054", "054_071")), (16, ("071", "071_054"))):
        for quality in qualities:
            for number, name in enumerate(ffpp_paths(*names, quality=quality)):
                crf = int(quality[1:]) + number
                write_clip(root / name, n_frames=n_frames, first=first, crf=crf)
    return root


def listing(source: str, root: Path, **arguments: Any) -> Listing:
    """Return what `hffkit build SOURCE --src ROOT` would work on."""
    return prepare(SOURCES[source].options(source, root, **arguments)).listing


def items(found: Listing) -> list[ImageFile | Video]:
    """Return the images and videos of a listing in order."""
    return [item for unit in found.units for item in unit.items]


def build_corpus(
    source: str, root: Path, out: Path, *, shard: tuple[int, int] | None = None, **arguments: Any
) -> Path:
    """Build a corpus with one worker and return its path."""
    job = prepare(SOURCES[source].options(source, root, **arguments))
    build(job, out, n_workers=1, shard=shard)
    return out


def build_two_classes(
    folder: Path, n_images: int, *, size: tuple[int, int] = (40, 32), split: str = ""
) -> Path:
    """Build the corpus folder/x.lmdb of small images, by turns of class a, real, and b, fake."""
    for number in range(n_images):
        name = f"in/{split}/{'ab'[number % 2]}/{number:04}.png"
        write_image(folder / name, number, size=size)
    return build_corpus("folder", folder / "in", folder / "x.lmdb", real=("a",), fake=("b",))


def records(path: Path) -> list[tuple[bytes, bytes]]:
    """Return the records of an LMDB in key order, read by lmdb itself."""
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]


Stored = dict[str, tuple[dict[str, Any], bytes]]


def stored(name: str | Path) -> Stored:
    """Return each sample's manifest line but for its index, and its record, by key in order.

    The corpus may be a folder of corpora.
    """
    path, found = Path(name), {}
    for corpus in [path] if (path / "data.mdb").exists() else sorted(path.iterdir()):
        for row, (key, value) in zip(rows(corpus / "manifest.jsonl"), records(corpus), strict=True):
            assert key == f"{row.pop('index'):08d}_{row['key']}".encode()
            found[row["key"]] = (row, value)
    return found


def change_records(path: Path, change: Callable[[Any], None]) -> None:
    """Let `change` work on a write transaction of an LMDB."""
    with (
        lmdb.open(str(path), lock=False, map_size=1 << 26) as env,
        env.begin(write=True) as transaction,
    ):
        change(transaction)


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def make_older(path: Path) -> None:
    """Take the digests of files out of a corpus.json, which older versions of hffkit lack."""
    rest = {k: v for k, v in about(path).items() if k not in ("files_sha256", "own_sha256")}
    (path / "corpus.json").write_text(json.dumps(rest), "utf-8")


def change_manifest(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Let `change` work on the manifest of a corpus, which then looks like one made before."""
    make_older(path)
    found = rows(path / "manifest.jsonl")
    change(found)
    lines = [json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in found]
    (path / "manifest.jsonl").write_text("".join(lines), "utf-8")


def about(path: Path) -> dict[str, Any]:
    """Return the corpus.json of a corpus."""
    found: dict[str, Any] = json.loads((path / "corpus.json").read_text("utf-8"))
    return found


def encoded_data(value: bytes) -> tuple[bytes, int]:
    """Return (data, label) of an encoded Datum, taken apart by its known field order."""
    n_bytes, at = _varint(value, 1)
    if value[:1] != b"\x22" or value[at + n_bytes : at + n_bytes + 1] != b"\x28":
        raise ValueError(f"no encoded Datum: {value[:16]!r}")
    label, end = _varint(value, at + n_bytes + 1)
    if value[end:] != b"\x38\x01":
        raise ValueError(f"encoded is not set: {value[end:]!r}")
    return value[at : at + n_bytes], label


def raw_pixels(value: bytes, size: int) -> tuple[Pixels, int]:
    """Return (RGB pixels, label) of a raw Datum, whose bytes around the pixels are known.

    For 128x128x3: 08 03 10 80 01 18 80 01 22 80 80 03, the pixels, 28 LABEL 38 00.
    """
    side, n_bytes = _as_varint(size), 3 * size * size
    head = b"\x08\x03\x10" + side + b"\x18" + side + b"\x22" + _as_varint(n_bytes)
    tail = value[len(head) + n_bytes :]
    if not value.startswith(head) or tail[:1] != b"\x28" or tail[2:] != b"\x38\x00":
        raise ValueError(f"no raw Datum of {size}x{size}: {value[:16]!r} ... {tail!r}")
    planes = np.frombuffer(value[len(head) : len(head) + n_bytes], np.uint8)
    bgr = planes.reshape(3, size, size)
    return np.ascontiguousarray(bgr[::-1].transpose(1, 2, 0)), tail[1]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1


def _as_varint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    return bytes([value & 0x7F | 0x80]) + _as_varint(value >> 7)


def all_files(root: Path) -> dict[str, bytes]:
    """Return every file below `root` with its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in _files(root)}


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())


# What `python -m` imports itself, before any of our code.
OF_PYTHON = ("hffkit", "weakref")
HOSTILE = (
    *OF_PYTHON, "av", "click", "cv2", "dlib", "joblib", "json", "lmdb", "matplotlib",
    "multiprocessing", "numpy", "queue", "random", "scipy", "sklearn", "skops", "socket",
    "tomllib", "torch",
)  # fmt: skip


def hostile_folder(folder: Path, names: Iterable[str] = HOSTILE) -> Path:
    """Write modules that shadow what Python and our workers import; return where they leave marks.

    No file is there until one of them was executed.
    """
    mark = folder / "executed"
    (folder / "PIL").mkdir(parents=True)
    for path in (*(f"{name}.py" for name in names), "PIL/__init__.py"):
        text = f"with open({str(mark)!r}, 'a') as file:\n    print({path!r}, file=file)\n"
        (folder / path).write_text(text, "utf-8")
    return mark
