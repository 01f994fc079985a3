"""Input faces: those found in images and videos, and samples of corpora."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hffkit.errors import ArgumentError
from hffkit.faces.search import FaceSearch, files_of
from hffkit.inference.intake import PixelIntake
from hffkit.inference.reading import FaceReader, ReadFile, read_files
from hffkit.manifest.samples import Sample, Split
from hffkit.media.image import Image
from hffkit.media.walk import Rest
from hffkit.networks.spec import InputSpec
from hffkit.storage.corpora import Item, joint_classes, open_corpora
from hffkit.storage.corpus import CORPUS_FILE
from hffkit.storage.selection import drawn, places_of, samples_at
from hffkit.training.dataset import FaceDataset
from hffkit.wording import counted

NO_FACE = "no face found"


@dataclass(frozen=True, slots=True)
class SampleSelection:
    """The samples of corpora to explain."""

    split: Split | None = "test"  # None: all
    classes: tuple[str, ...] = ()  # empty: all
    limit: int | None = None  # drawn by key and seed; None: all
    seed: int = 0


@dataclass(frozen=True, slots=True)
class InputFace:
    """A face at the network's size."""

    name: str  # path and frame, or the key of a sample
    stem: str | None  # of the file's name; None for a sample
    cls: str | None  # of a sample
    image: Image  # (S, S, 3) RGB


class InputFaces:
    """Faces in order, read while they are iterated over; problems with files are collected."""

    def __init__(
        self,
        paths: Sequence[Path],
        data: Sequence[str],
        *,
        size: int,
        spec: InputSpec,
        search: FaceSearch,
        selection: SampleSelection,
    ) -> None:
        """List files and samples; a path may be a corpus.

        Raises
        ------
        HffkitError
            If a path does not exist, a corpus cannot be read or is packed at another size, or
            nothing is selected.
        """
        corpora = [str(path) for path in paths if _is_corpus(path)]
        plain = [path for path in paths if not _is_corpus(path)]
        rest = Rest()
        self._files = [file for path in plain for file in files_of(path, rest)]
        names = (*corpora, *data)
        if not self._files and not names:
            raise ArgumentError("`paths` and `data` name no image, video or corpus.")
        items = _selected(names, selection) if names else []
        self._samples = FaceDataset(items, size, replace(spec, colour="RGB"))
        self._size, self._reader = size, FaceReader(search, PixelIntake(size, spec))
        self.problems = rest.notes()
        self.n_unreadable = 0
        self.n_begun = 0  # files and samples

    def __len__(self) -> int:
        """Return the number of files and samples; a file may hold any number of faces."""
        return len(self._files) + len(self._samples)

    def __iter__(self) -> Iterator[InputFace]:
        for file, read in zip(self._files, read_files(self._files, self._reader), strict=True):
            self.n_begun += 1
            yield from self._of_file(file, read)
        for number, (_, sample) in enumerate(self._samples.items):
            image = np.empty((self._size, self._size, 3), np.uint8)
            self.n_begun += 1
            self._samples.read(number, 0, image)
            yield InputFace(sample.key, None, sample.cls, image)

    def _of_file(self, file: Path, read: ReadFile) -> Iterator[InputFace]:
        if read.problem is not None:
            self.n_unreadable += 1
            self.problems.append(f"{file}: {read.problem}")
            return
        for face in read.faces:
            at = "" if face.frame is None else f"-{face.frame}"
            name = str(file) if face.frame is None else f"{file} frame {face.frame}"
            yield InputFace(name, f"{file.stem}{at}", None, face.images[0])
        counts = read.counts
        if counts.damage is not None:
            self.problems.append(f"{file}: {counts.damage}")
        if read.misnamed:
            self.problems.append(f"{file}: misnamed: {read.misnamed}")
        if not read.faces:
            self.problems.append(f"{file}: {NO_FACE}")
        if counts.n_missing:
            self.n_unreadable += 1
            n_wanted = counts.n_frames + counts.n_missing
            self.problems.append(
                f"{file}: {counts.n_missing} of {counted(n_wanted, 'frame')} cannot be read"
            )


def _is_corpus(path: Path) -> bool:
    try:
        return (path / CORPUS_FILE).is_file()
    except (OSError, ValueError):  # files_of reports the problem with such a path
        return False


def _selected(names: Sequence[str], selection: SampleSelection) -> list[Item]:
    corpora = open_corpora(names)
    table = joint_classes(corpora)
    wanted = {table[name].name for name in selection.classes}

    def keep(sample: Sample) -> bool:
        is_in_split = selection.split is None or sample.split == selection.split
        return is_in_split and (not wanted or sample.cls in wanted)

    places = places_of(corpora, keep)
    if selection.limit is not None:
        places = drawn(corpora, places, selection.limit, selection.seed)
    return list(samples_at(places, [c.name for c in corpora]))
