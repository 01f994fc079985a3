"""Several corpora, or a folder or glob of them, taken as one."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hffkit.errors import StorageError
from hffkit.manifest.classes import ClassTable
from hffkit.storage.corpus import CORPUS_FILE, Corpus, Provenance


def open_corpora(names: Sequence[str]) -> list[Corpus]:
    """Return the corpora behind paths, folders of corpora and globs, in the order given.

    Raises
    ------
    StorageError
        If a name leads to no corpus, or two of them differ in what they hold, in layout, size or
        labels.
    """
    corpora = [Corpus(path) for name in names for path in _paths(name)]
    check_alike(corpora)
    for corpus in corpora:
        len(corpus.records)  # opens it: one that was cut short fails now, not record by record
    return corpora


def open_faces(names: Sequence[str]) -> list[Corpus]:
    """Return corpora as `open_corpora` does, to learn from or to judge.

    Raises
    ------
    StorageError
        Also if they hold masks.
    """
    return _holding("faces", names, "Name the corpus of faces that they belong to.")


def open_masks(names: Sequence[str]) -> list[Corpus]:
    """Return corpora as `open_corpora` does; StorageError also if they hold faces."""
    return _holding("masks", names, "Name the masks that a build with `pair` and `masks` wrote.")


def _holding(what: str, names: Sequence[str], advice: str) -> list[Corpus]:
    corpora = open_corpora(names)
    held = corpora[0].provenance.holds
    if held != what:
        raise StorageError(f"{corpora[0].path} holds {held}, where {what} are wanted. {advice}")
    return corpora


def check_alike(corpora: Sequence[Corpus]) -> None:
    """Raise StorageError if corpora differ in what they are, or their classes clash."""
    first = corpora[0].provenance
    for corpus in corpora[1:]:
        provenance = corpus.provenance
        for what in ("holds", "layout", "size", "labels"):
            if getattr(provenance, what) != getattr(first, what):
                raise StorageError(
                    f"{corpus.path} and {corpora[0].path} cannot be taken as one: {what} is "
                    f"{getattr(provenance, what)!r} and {getattr(first, what)!r}."
                )
    joint_classes(corpora)


def _paths(name: str) -> list[Path]:
    if (Path(name) / CORPUS_FILE).is_file() or not (glob.has_magic(name) or Path(name).is_dir()):
        return [Path(name)]
    pattern = name if glob.has_magic(name) else f"{glob.escape(name)}/*"
    found = [Path(path) for path in sorted(glob.glob(pattern))]  # noqa: PTH207  (absolute or not)
    corpora = [path for path in found if (path / CORPUS_FILE).is_file()]
    return corpora or [Path(name)]  # which then says that it is no corpus


def joint_versions(corpora: Sequence[Corpus]) -> dict[str, str]:
    """Return the versions that corpora were made with; StorageError where two of them differ."""
    found: dict[str, tuple[str, Corpus]] = {}
    for corpus in corpora:
        for name, version in corpus.provenance.versions.items():
            known, other = found.setdefault(name, (version, corpus))
            if known != version:
                raise StorageError(
                    f"{other.path} and {corpus.path} were made by different versions: {name} "
                    f"{known} and {version}. The same pixels cannot be promised; make them with "
                    "the same ones."
                )
    return {name: version for name, (version, _) in found.items()}


def derived_provenance(corpora: Sequence[Corpus], verb: str, options: dict[str, Any]) -> Provenance:
    """Return the provenance of a corpus that takes its records as they are from `corpora`."""
    first = corpora[0].provenance
    return Provenance(
        classes=joint_classes(corpora),
        layout=first.layout,
        size=first.size,
        labels=first.labels,
        verb=verb,
        options=options,
        versions=joint_versions(corpora),
        holds=first.holds,
    )


def joint_classes(corpora: Sequence[Corpus]) -> ClassTable:
    """Return one class table for all; the same name must have the same id and polarity."""
    rows = {row.name: row for row in corpora[0].provenance.classes}
    for corpus in corpora[1:]:
        for row in corpus.provenance.classes:
            known = rows.setdefault(row.name, row)
            twin = next((other for other in rows.values() if other.id == row.id), row)
            if known != row or twin != row:
                raise StorageError(
                    f"{corpus.path} and {corpora[0].path} cannot be taken as one: class "
                    f"{row.name!r} is {row}, in the other {known if known != row else twin}."
                )
    return ClassTable(tuple(sorted(rows.values(), key=lambda row: row.id)))
