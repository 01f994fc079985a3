"""`hffkit equalize`: give all images of corpora one history, so that files reveal no class."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np

from hffkit.degrade.chain import Degraded
from hffkit.degrade.rework import Rework, plan_of
from hffkit.errors import CorpusError, HffkitError, ImageError
from hffkit.execution.assemble import assemble
from hffkit.execution.progress import Progress
from hffkit.execution.versions import versions
from hffkit.json_types import JsonObject
from hffkit.media.headers import read_header
from hffkit.media.image import Image, decode_own_jpeg, encode_jpeg
from hffkit.options import Bounds, check
from hffkit.storage.corpora import identities, joint_classes, open_faces, samples_of
from hffkit.storage.corpus import Corpus, CorpusInfo, Provenance
from hffkit.storage.datum import Datum
from hffkit.storage.selection import places_of

_SHARE = 0.75  # of the shortest side: so all images are resampled, and lose their 8-px grid
_BLOCK = 8  # px of JPEG
_MIN_SIZE = 8
_QUALITY = 75


@dataclass(frozen=True, slots=True)
class EqualizeRequest:
    """The arguments of `hffkit equalize`."""

    size: Annotated[int | None, Bounds(_MIN_SIZE, 4096)] = None  # px; None: 3/4 of the shortest
    quality: Annotated[int, Bounds(1, 100)] = _QUALITY


@dataclass(frozen=True, slots=True)
class Equalizer:
    """The history that every image gets: a square cut, a reduction by area, and one JPEG."""

    size: int  # px
    quality: int

    def prepared(self) -> Callable[[Image, str, int], Degraded]:
        """Return the function of an image, its key, and its number of earlier operations."""
        return lambda image, _key, _position: self._applied(image)

    def _applied(self, image: Image) -> Degraded:
        square = reduced(image, self.size)
        encoded = encode_jpeg(square, self.quality)
        operations: tuple[JsonObject, ...] = (
            {"op": f"area:{self.size}", "size": self.size, "stage": "native"},
            {
                "op": f"jp:{self.quality}",
                "quality": self.quality,
                "achieved_ratio": round(square.nbytes / len(encoded), 4),
                "stage": "native",
            },
        )
        return Degraded(decode_own_jpeg(encoded), operations, encoded)


def reduced(image: Image, size: int) -> Image:
    """Cut the middle square out of an image and reduce it to `size` px, each the mean of its area.

    Raises
    ------
    ImageError
        If the square is not larger than `size`: it would keep its own pixels, or be enlarged.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    if side <= size:
        raise ImageError(f"{width}x{height} pixels cannot be reduced to {size}x{size}")
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def equalize(
    names: Sequence[str],
    out: Path,
    request: EqualizeRequest,
    *,
    n_workers: int,
    scheduler: str | None = None,
) -> CorpusInfo:
    """Give all images of corpora one size and one JPEG history, and write them to the corpus `out`.

    The middle square of each image is reduced to `size` px by averaging areas, and stored as a
    baseline JPEG without metadata, with the tables of one quality and 4:2:0 chroma. Keys, splits,
    groups and classes stay. `out` must not exist; the same call resumes an interrupted one.

    Raises
    ------
    CorpusError
        If an image is not larger than `size`, so that its history would differ.
    """
    check(request)
    corpora = open_faces(names)
    shortest, key = _shortest_side(corpora)
    size = request.size or max(_MIN_SIZE, int(_SHARE * shortest) // _BLOCK * _BLOCK)
    if size >= shortest:
        raise CorpusError(
            f"{key!r} has a side of {shortest} px: it cannot be reduced to {size} px as the others "
            "are. Choose a smaller `size`, or leave it out with `hffkit subset`."
        )
    provenance = Provenance(
        classes=joint_classes(corpora),
        size=None,
        labels=corpora[0].provenance.labels,
        verb="equalize",
        options={**identities(corpora), "size": size, "quality": request.quality},
        versions=versions(),
    )
    sources = tuple(corpus.name for corpus in corpora)
    work = Rework(sources, provenance, Equalizer(size, request.quality))
    plan = plan_of(work, places_of(corpora), "equalize")
    return assemble(out, provenance, plan, n_workers=n_workers, scheduler=scheduler)


def _shortest_side(corpora: Sequence[Corpus]) -> tuple[int, str]:
    """Return the shortest side of all images in px, and the key of one that has it.

    Records that cannot be read are left to the work, which reports them.
    """
    found: list[tuple[int, str]] = []
    total = sum(corpus.n_samples for corpus in corpora)
    with Progress(total, unit="samples", label="sizes") as progress:
        for corpus, sample in samples_of(corpora):
            with suppress(HffkitError):
                row = _shorter_side(corpus.datum(sample)), sample.key
                found = [min([row, *found])]
            progress.step(1)
    if not found:
        raise CorpusError(f"{corpora[0].path}: no record can be read; `hffkit verify` says why.")
    return found[0]


def _shorter_side(datum: Datum) -> int:
    if not datum.encoded:
        return min(datum.height, datum.width)
    header = read_header(bytes(datum.data))
    return min(header.height, header.width)
