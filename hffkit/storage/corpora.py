"""Several corpora, or a folder or glob of corpora, treated as one."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hffkit.errors import StorageError
from hffkit.fields import shown
from hffkit.manifest.classes import ClassTable, joined
from hffkit.manifest.samples import Sample
from hffkit.media.walk import walk
from hffkit.storage.corpus import CORPUS_FILE, Corpus, Holds
from hffkit.storage.datasets import told_apart

Item = tuple[Corpus, Sample]
"""A sample and the corpus that holds it."""


def open_corpora(names: Sequence[str]) -> list[Corpus]:
    """Open the corpora that paths, folders of corpora and globs name, in the order given.

    Raises
    ------
    StorageError
        If a name matches no corpus, a corpus is named twice, or corpora differ in content, layout,
        size or labels, or in which classes are fake.
    """
    corpora = check_corpora(names)
    for corpus in corpora:
        len(corpus.records)  # opens the database: one that is cut short fails here
    return told_apart(corpora)


def check_corpora(names: Sequence[str]) -> list[Corpus]:
    """Return the corpora that names stand for, their databases not yet opened.

    Raises
    ------
    StorageError
        As `open_corpora`, for all that corpus.json states.
    """
    corpora = [Corpus(path) for name in names for path in _paths(name)]
    known: set[Path] = set()
    for corpus in corpora:
        path = corpus.path.resolve()
        if path in known:
            raise StorageError(f"{corpus.path} is named twice. Name each corpus once.")
        known.add(path)
    if corpora:
        check_alike(corpora)
    return corpora


def open_faces(names: Sequence[str]) -> list[Corpus]:
    """Open corpora as `open_corpora` does; StorageError also if they hold masks."""
    return _open(names, "faces", "Name the corpus of faces that they belong to.")


def open_masks(names: Sequence[str]) -> list[Corpus]:
    """Open corpora as `open_corpora` does; StorageError also if they hold faces."""
    return _open(names, "masks", "Name the corpus that a build with `pair` and `masks` wrote.")


def _open(names: Sequence[str], wanted: Holds, advice: str) -> list[Corpus]:
    corpora = open_corpora(names)
    held = corpora[0].provenance.holds
    if held != wanted:
        raise StorageError(f"{corpora[0].path} holds {held}, where {wanted} are wanted. {advice}")
    return corpora


def check_alike(corpora: Sequence[Corpus]) -> None:
    """Raise StorageError if corpora differ in content, layout, size, labels or in what is fake."""
    first = corpora[0].provenance
    for corpus in corpora[1:]:
        provenance = corpus.provenance
        for what in ("holds", "layout", "size", "labels"):
            if getattr(provenance, what) != getattr(first, what):
                raise StorageError(
                    f"{corpus.path} and {corpora[0].path} cannot be taken as one: {what} is "
                    f"{shown(getattr(provenance, what))} and {shown(getattr(first, what))}."
                )
    joint_classes(corpora)


def samples_of(corpora: Sequence[Corpus]) -> Iterator[Item]:
    """Yield the samples of corpora, one corpus after another, each in manifest order."""
    return ((corpus, sample) for corpus in corpora for sample in corpus.samples())


def corpora_of(items: Iterable[Item]) -> list[Corpus]:
    """Return the corpora of samples, each once."""
    return list({id(corpus): corpus for corpus, _ in items}.values())


def _paths(name: str) -> list[Path]:
    if not name:
        raise StorageError("A corpus has an empty name. Name its folder.")
    if (Path(name) / CORPUS_FILE).is_file() or not (glob.has_magic(name) or Path(name).is_dir()):
        return [Path(name)]
    pattern = name if glob.has_magic(name) else f"{glob.escape(name)}/*"
    found = [Path(path) for path in sorted(glob.glob(pattern))]  # noqa: PTH207  (absolute or not)
    corpora = [path for path in found if (path / CORPUS_FILE).is_file()]
    return corpora or [Path(name)]  # opening it reports what is missing


def paths_text(corpora: Sequence[Corpus]) -> str:
    """Return the paths of corpora for a message."""
    return ", ".join(str(corpus.path) for corpus in corpora)


def is_dataset(folder: Path) -> bool:
    """Return True for a folder of images or videos, False for a corpus or a folder of corpora.

    A dataset may hold corpora that were built in it; its videos distinguish it from a folder of
    corpora.

    Raises
    ------
    StorageError
        If the folder holds corpora, and folders of images that may be a dataset or drawn of them.
    """
    if not folder.is_dir() or any((folder / name).exists() for name in (CORPUS_FILE, "data.mdb")):
        return False
    corpora = sorted(path.parent for path in folder.glob(f"*/{CORPUS_FILE}"))
    if not corpora:
        return True
    files = walk(folder)
    if any(file.is_video for file in files):
        return True
    if any(
        "/" in file.path for file in files
    ):  # images beside the corpora are their contact sheets
        raise StorageError(
            f"{folder} holds the corpus {corpora[0].name} and folders of images. Name the corpus, "
            "or move it out of the dataset."
        )
    return False


def identities(corpora: Sequence[Corpus]) -> dict[str, list[str]]:
    """Return the digests that identify corpora, as provenance records them."""
    return {
        "content_sha256": [corpus.content_sha256 for corpus in corpora],
        "manifest_sha256": [corpus.manifest_sha256() for corpus in corpora],
    }


def references(corpora: Sequence[Corpus]) -> list[dict[str, str]]:
    """Return the path and the digests of each corpus, as runs and decisions record their data."""
    return [{"path": str(corpus.path), **corpus.identity()} for corpus in corpora]


def joint_classes(corpora: Sequence[Corpus]) -> ClassTable:
    """Join the class tables of corpora; StorageError if a class is real in one, fake in another."""
    known: dict[str, tuple[bool, Corpus]] = {}
    for corpus in corpora:
        for row in corpus.provenance.classes:
            is_fake, other = known.setdefault(row.name, (row.is_fake, corpus))
            if is_fake != row.is_fake:
                kinds = ("fake", "real") if is_fake else ("real", "fake")
                raise StorageError(
                    f"{corpus.path} and {other.path} cannot be taken as one: class {row.name!r} is "
                    f"{kinds[1]} in the first and {kinds[0]} in the second. Build one of them "
                    "again with another name for the class."
                )
    return joined(corpus.provenance.classes for corpus in corpora)
