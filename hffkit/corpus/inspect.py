"""`hffkit inspect`: what is in a corpus, in numbers and in an image."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hffkit.errors import ImageError
from hffkit.manifest.failures import Failure, read_failures
from hffkit.manifest.samples import SPLITS, Sample
from hffkit.manifest.seeds import rank
from hffkit.media.image import Image
from hffkit.reports.sheet import Tile, contact_sheet, write_sheet
from hffkit.storage.corpora import joint_classes, open_corpora
from hffkit.storage.corpus import FAILURES_FILE, Corpus

_LOOKED_AT = 64  # samples of each class whose pixels are looked at
_FAILURES_SHOWN = 10


@dataclass(slots=True)
class ClassRow:
    """What a corpus holds of one class."""

    id: int
    name: str
    is_fake: bool
    samples: dict[str, int]  # by split
    groups: dict[str, int]  # by split
    n_sources: int
    sizes: str  # smallest to largest of the samples looked at, px


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect` found."""

    corpora: list[str]
    layout: str
    labels: str
    n_samples: int
    n_groups: int
    classes: list[ClassRow]
    failures: dict[str, int]  # by kind
    first_failures: list[Failure]
    content_sha256: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return asdict(self)


def inspect(names: Sequence[str], sheet: Path | None, *, columns: int = 12) -> Inspection:
    """Count what corpora taken as one hold; draw a contact sheet if `sheet` names a PNG.

    The sheet has a row of `columns` faces for each class, drawn at random but the same each time,
    so that wrong crops and mixed-up classes show.
    """
    corpora = open_corpora(names)
    n_samples: Counter[tuple[str, str]] = Counter()
    groups: dict[tuple[str, str], set[str]] = {}
    sources: dict[str, set[str]] = {}
    chosen: dict[str, list[tuple[bytes, int, Sample]]] = {}
    for i, corpus in enumerate(corpora):
        for sample in corpus.samples():
            n_samples[sample.cls, sample.split] += 1
            groups.setdefault((sample.cls, sample.split), set()).add(sample.group)
            sources.setdefault(sample.cls, set()).add(sample.source)
            best = chosen.setdefault(sample.cls, [])
            best.append((rank(0, "inspect", sample.key), i, sample))
            if len(best) > 4 * _LOOKED_AT:
                best[:] = sorted(best, key=lambda row: row[0])[:_LOOKED_AT]
    rows, pictures = [], []
    for face_class in joint_classes(corpora):
        name = face_class.name
        best = sorted(chosen.get(name, []), key=lambda row: row[0])[:_LOOKED_AT]
        images = [image for _, i, s in best if (image := _image(corpora[i], s)) is not None]
        rows.append(
            ClassRow(
                id=face_class.id,
                name=name,
                is_fake=face_class.is_fake,
                samples={split: n_samples[name, split] for split in SPLITS},
                groups={split: len(groups.get((name, split), ())) for split in SPLITS},
                n_sources=len(sources.get(name, ())),
                sizes=_sizes(images),
            )
        )
        total = sum(rows[-1].samples.values())
        title = f"{face_class.id}  {name}  ({face_class.kind}, {total:,} samples)"
        pictures.append((title, [Tile("", image) for image in images]))
    if sheet is not None:
        write_sheet(sheet, contact_sheet(pictures, columns=columns))
    failures = [f for corpus in corpora for f in read_failures(corpus.path / FAILURES_FILE)]
    return Inspection(
        corpora=[str(corpus.path) for corpus in corpora],
        layout=corpora[0].provenance.layout,
        labels=corpora[0].provenance.labels,
        n_samples=sum(n_samples.values()),
        n_groups=len(set().union(*groups.values())),
        classes=rows,
        failures=dict(sorted(Counter(failure.kind for failure in failures).items())),
        first_failures=failures[:_FAILURES_SHOWN],
        content_sha256=[corpus.content_sha256 for corpus in corpora],
    )


def _image(corpus: Corpus, sample: Sample) -> Image | None:
    try:
        return corpus.image(sample)
    except ImageError:
        return None  # `verify` names bad records; here the others are still worth seeing


def _sizes(images: Sequence[Image]) -> str:
    if not images:
        return "-"
    shapes = sorted({(image.shape[0] * image.shape[1], image.shape[:2]) for image in images})
    (height, width), (tallest, widest) = shapes[0][1], shapes[-1][1]
    if len(shapes) == 1:
        return f"{width}x{height}"
    return f"{width}x{height} to {widest}x{tallest}"
