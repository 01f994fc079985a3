"""`hffkit unpack`: the crops of FaceForensics++ as PNG files, in the layout of Cao et al."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hffkit.errors import CorpusError, writing_to
from hffkit.execution.progress import Progress
from hffkit.manifest.pairs import by_key, quality_of
from hffkit.manifest.samples import Sample
from hffkit.media.image import encode_png
from hffkit.media.kinds import PNG_SIGNATURE
from hffkit.sources.ffpp_layout import CROPPED_FOLDERS
from hffkit.sources.ffpp_tree import cropped_path
from hffkit.storage.corpora import Item, identities, open_faces, open_masks, samples_of
from hffkit.storage.staging import Partial, write_bytes_durably


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The files of a tree that was just written."""

    counts: Mapping[str, int]  # number of files by folder, such as face/Deepfakes/c23

    def to_json(self) -> dict[str, object]:
        """Return the counts as JSON values."""
        return {"n_files": sum(self.counts.values()), "folders": dict(sorted(self.counts.items()))}


def unpack(names: Sequence[str], masks: Sequence[str], out: Path) -> Unpacked:
    """Write the samples of corpora, and their masks, to `out`/face/CLASS/QUALITY/VIDEO/N.png.

    N is the frame, counted from 0. Stored PNG files are copied; other pixels are encoded without
    loss. `out` must not exist; the same call resumes an interrupted one.

    Raises
    ------
    CorpusError
        If a sample is no crop of a video of the layout's classes.
    """
    corpora = open_faces(names)
    drawn = open_masks(masks) if masks else []
    items = [*samples_of(corpora), *samples_of(drawn)]
    by_key(items)  # refuses two samples that would be one file
    paths = [_path_of(item) for item in items]
    command = {"verb": "unpack", **identities(corpora), "masks": identities(drawn)}
    with (
        Partial(out, command, product="tree") as partial,
        Progress(len(items), unit="files", label="unpack") as progress,
    ):
        for item, path in zip(items, paths, strict=True):
            target, png = partial.product / path, _png_of(item)
            with writing_to(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                is_written = target.exists() and target.read_bytes() == png
            if not is_written:
                write_bytes_durably(target, png)
            progress.step(1)
        partial.publish()
    return Unpacked(Counter("/".join(path.split("/")[:3]) for path in paths))


def _path_of(item: Item) -> str:
    corpus, sample = item
    frame = _frame_of(sample)
    _, quality, cls, video, *_ = [*sample.key.split("/"), *[""] * 3]
    is_elsewhere = {quality, video} & {"", ".", ".."}  # in the key of a manifest made by anybody
    if frame is None or is_elsewhere or cls not in CROPPED_FOLDERS:
        raise CorpusError(
            f"{corpus.path}: {sample.key} has no place in face/CLASS/QUALITY/VIDEO/N.png. Unpack a "
            f"corpus of `hffkit build ff++` with the classes {', '.join(CROPPED_FOLDERS)}."
        )
    return cropped_path(cls, quality, video, frame)


def _frame_of(sample: Sample) -> int | None:
    """Return the frame in the key of a crop of FaceForensics++; None for other samples."""
    last = sample.key.rpartition("/")[2]
    return int(last) if quality_of(sample.key) is not None and last.isdecimal() else None


def _png_of(item: Item) -> bytes:
    corpus, sample = item
    datum = corpus.datum(sample)
    is_png = datum.encoded and bytes(datum.data[: len(PNG_SIGNATURE)]) == PNG_SIGNATURE
    return bytes(datum.data) if is_png else encode_png(datum.image())
