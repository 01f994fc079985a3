"""Files and pixels that are in two classes or two splits: wrong labels, or leaks."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import GroupGuard, Sample, Split
from hffkit.storage.corpora import samples_of
from hffkit.storage.corpus import Corpus
from hffkit.wording import counted

_DIGITS = 16  # of a digest: 8 bytes, in which different ones hardly ever agree


class _Place(NamedTuple):
    """The place of a sample among the others."""

    cls: str
    split: Split


class Duplicates:
    """Finds duplicates among samples; it keeps 18 bytes for each."""

    def __init__(self) -> None:
        self._files, self._pixels, self._of_sample = array("Q"), array("Q"), array("H")
        self._places: dict[_Place, int] = {}

    def add(self, sample: Sample) -> None:
        """Take the digests of one more sample."""
        place = _Place(sample.cls, sample.split)
        self._files.append(int(sample.source_sha256[:_DIGITS], 16))
        self._pixels.append(int(sample.pixels_sha256[:_DIGITS], 16))
        self._of_sample.append(self._places.setdefault(place, len(self._places)))

    def failures(self, samples: Callable[[], Iterable[Sample]]) -> Iterator[Failure]:
        """Yield a failure for each file, or else image, that has the content of an earlier one.

        The earlier one is of another class or split. `samples` gives the samples that were added
        again; it is called only if there are duplicates.
        """
        places = np.frombuffer(self._of_sample, np.uint16)
        files, pixels = (_torn(each, places) for each in (self._files, self._pixels))
        if not files and not pixels:
            return
        first: dict[str, Sample] = {}  # with a digest, of a file or of pixels
        told: set[tuple[str, _Place]] = set()
        for sample in samples():
            place = _Place(sample.cls, sample.split)
            for what, digest, torn in (
                ("file", sample.source_sha256, files),
                ("pixels", sample.pixels_sha256, pixels),
            ):
                if int(digest[:_DIGITS], 16) not in torn:
                    continue
                other = first.setdefault(digest, sample)
                name = _file_of(sample) if what == "file" else sample.key
                is_new = place != (other.cls, other.split) and (name, place) not in told
                if is_new and (what == "file" or sample.source_sha256 != other.source_sha256):
                    told.add((name, place))
                    yield _failure(what, sample, other)


def duplicates_among(corpora: Sequence[Corpus]) -> tuple[Failure, ...]:
    """Return the duplicates among the samples of corpora that are taken as one.

    Raises
    ------
    ManifestError
        If a group is in two splits.
    """
    guard, duplicates = GroupGuard(), Duplicates()
    for _, sample in samples_of(corpora):
        guard.check_group(sample.group, sample.split, sample.key)
        duplicates.add(sample)
    return tuple(duplicates.failures(lambda: (sample for _, sample in samples_of(corpora))))


def duplicates_note(found: Sequence[Failure]) -> str | None:
    """Return the number of duplicates with an example; None if there are none."""
    if not found:
        return None
    told = counted(len(found), "file or image", "files or images")
    return (
        f"{told} in two classes or splits, such as {found[0].path}: {found[0].reason}; `hffkit "
        "inspect` names them"
    )


def _torn(digests: "array[int]", places: npt.NDArray[np.uint16]) -> set[int]:
    """Return the digests that are in several places."""
    found = np.frombuffer(digests, np.uint64)
    order = np.lexsort((places, found))
    found, places = found[order], places[order]
    return set(found[1:][(found[1:] == found[:-1]) & (places[1:] != places[:-1])].tolist())


def _failure(what: str, sample: Sample, other: Sample) -> Failure:
    name = _file_of(other)
    if what == "pixels" and other.frame is not None:
        name += f" frame {other.frame}"
    differing = [
        f"{noun} {theirs} and {ours}"
        for noun, theirs, ours in (
            ("classes", other.cls, sample.cls),
            ("splits", other.split, sample.split),
        )
        if theirs != ours
    ]
    reason = f"the same {what} as {name}, in the {' and the '.join(differing)}"
    frame = sample.frame if what == "pixels" else None
    return Failure("duplicate", _file_of(sample), frame, reason)


def _file_of(sample: Sample) -> str:
    """Return the file of a sample; of an image its key, whose prefix names the dataset."""
    return sample.key if sample.frame is None else sample.source
