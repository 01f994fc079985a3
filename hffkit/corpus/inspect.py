"""`hffkit inspect`: statistics and a contact sheet of corpora."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hffkit.errors import ImageError
from hffkit.manifest.failures import Failure, read_failures
from hffkit.manifest.samples import SPLITS
from hffkit.manifest.seeds import rank
from hffkit.media.image import Image
from hffkit.reports.sheet import Tile, check_sheet, contact_sheet, write_sheet
from hffkit.storage.audits import read_summary
from hffkit.storage.corpora import Item, joint_classes, open_corpora, samples_of
from hffkit.storage.corpus import FAILURES_FILE
from hffkit.storage.duplicates import Duplicates
from hffkit.storage.outputs import INSPECT_SHEET

_N_DECODED = 64  # samples of each class, for sizes and the contact sheet
_N_FAILURES = 10  # shown


@dataclass(slots=True)
class ClassRow:
    """The samples of one class."""

    id: int
    name: str
    is_fake: bool
    samples: dict[str, int]  # by split
    groups: dict[str, int]  # by split
    n_sources: int
    sizes: str  # smallest to largest image among the decoded samples, px


@dataclass(frozen=True, slots=True)
class Inspection:
    """The statistics of corpora, treated as one."""

    corpora: list[str]
    layout: str
    labels: str
    n_samples: int
    n_groups: int
    classes: list[ClassRow]
    failures: dict[str, int]  # by kind
    first_failures: list[Failure]
    first_duplicates: list[Failure]
    content_sha256: list[str]
    audits: list[str | None]  # summary of the audit beside each corpus; None: there is none


@dataclass(slots=True)
class _Tally:
    """The samples of a class: counts by split, sources, and a random choice of them."""

    samples: Counter[str] = field(default_factory=Counter)
    groups: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in SPLITS})
    sources: set[str] = field(default_factory=set)
    chosen: list[tuple[bytes, Item]] = field(default_factory=list)

    def add(self, item: Item) -> None:
        sample = item[1]
        self.samples[sample.split] += 1
        self.groups[sample.split].add(sample.group)
        self.sources.add(sample.source)
        self.chosen.append((rank(0, "inspect", sample.key), item))
        if len(self.chosen) > 4 * _N_DECODED:
            self._shorten()

    def _shorten(self) -> None:
        self.chosen = sorted(self.chosen, key=lambda row: row[0])[:_N_DECODED]

    def images(self) -> list[Image]:
        """Decode the chosen samples; `verify` reports those that cannot be decoded."""
        self._shorten()
        images = []
        for _, (corpus, sample) in self.chosen:
            with suppress(ImageError):
                images.append(corpus.image(sample))
        return images


def inspect(names: Sequence[str], sheet: Path | None, *, columns: int = 12) -> Inspection:
    """Count the contents of corpora, and draw a contact sheet if `sheet` is the path of a PNG.

    The sheet has a row of `columns` faces for each class, to reveal wrong crops and confused
    classes. The faces are a random sample, the same in every call.
    """
    corpora = open_corpora(names)
    if sheet is not None:
        check_sheet(sheet)
    classes = joint_classes(corpora)
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    duplicates = Duplicates()
    for item in samples_of(corpora):
        tallies[item[1].cls].add(item)
        duplicates.add(item[1])
    rows, tiles = [], []
    for row in classes:
        tally = tallies[row.name]
        images = tally.images()
        n_groups = {split: len(groups) for split, groups in tally.groups.items()}
        counts: dict[str, int] = {split: tally.samples[split] for split in SPLITS}
        rows.append(
            ClassRow(**asdict(row), samples=counts, groups=n_groups,
                     n_sources=len(tally.sources), sizes=_sizes(images))
        )  # fmt: skip
        title = f"{row.id}  {row.name}  ({row.kind}, {tally.samples.total():,} samples)"
        tiles.append((title, [Tile("", image) for image in images]))
    if sheet is not None:
        write_sheet(sheet, contact_sheet(tiles, columns=columns), INSPECT_SHEET)
    failures = [f for corpus in corpora for f in read_failures(corpus.file(FAILURES_FILE))]
    failures = [failure for failure in failures if failure.kind != "duplicate"]
    twins: list[Failure] = []
    if corpora[0].provenance.holds == "faces":
        twins += duplicates.failures(lambda: (sample for _, sample in samples_of(corpora)))
    return Inspection(
        corpora=[str(corpus.path) for corpus in corpora],
        layout=corpora[0].provenance.layout,
        labels=corpora[0].provenance.labels,
        n_samples=sum(tally.samples.total() for tally in tallies.values()),
        n_groups=len({g for tally in tallies.values() for s in SPLITS for g in tally.groups[s]}),
        classes=rows,
        failures=dict(sorted(Counter(failure.kind for failure in failures + twins).items())),
        first_failures=failures[:_N_FAILURES],
        first_duplicates=twins[:_N_FAILURES],
        content_sha256=[corpus.content_sha256 for corpus in corpora],
        audits=[None if found is None else found.text for found in map(read_summary, corpora)],
    )


def _sizes(images: Sequence[Image]) -> str:
    if not images:
        return "-"
    shapes = sorted({(image.shape[0] * image.shape[1], image.shape[:2]) for image in images})
    (height, width), (tallest, widest) = shapes[0][1], shapes[-1][1]
    if len(shapes) == 1:
        return f"{width}x{height}"
    return f"{width}x{height} to {widest}x{tallest}"
