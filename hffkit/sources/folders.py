"""Readers of class folders of images or videos: any tree of them, HFF, Faces-HQ, CelebA."""

import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated

from hffkit.errors import ArgumentError, CorpusError, UnknownNameError
from hffkit.fields import shown
from hffkit.input_files import read_text
from hffkit.manifest.classes import BINARY, HFF_8, ClassTable, numbered
from hffkit.manifest.samples import Split
from hffkit.media.files import is_hidden
from hffkit.media.walk import Rest, some_of, walk
from hffkit.options import Option
from hffkit.sources.class_files import ClassFiles, split_named
from hffkit.sources.columns import whole
from hffkit.sources.entries import Entry
from hffkit.sources.listing import Listing, as_listing, folders_in, subfolders
from hffkit.sources.options import FolderNames, SourceOptions, VideoOptions
from hffkit.wording import counted

FACES_HQ = numbered(fake=["100K-Faces", "ThisPersonDoesNotExist"], real=["CelebA-HQ", "FFHQ"])
# Starts of folder names in the published archive, in lower case and without punctuation.
_FACES_HQ_FOLDERS: Mapping[str, str] = {
    "100k": "100K-Faces",
    "thispersondoesnotexist": "ThisPersonDoesNotExist",
    "thispersondoesntexist": "ThisPersonDoesNotExist",
    "celebahq": "CelebA-HQ",
    "flickrfaceshq": "FFHQ",
    "ffhq": "FFHQ",
}
CELEBA = numbered(fake=[], real=["CelebA"])
_CELEBA_SPLITS: Mapping[str, Split] = {"0": "train", "1": "val", "2": "test"}


@dataclass(frozen=True, kw_only=True)
class FolderOptions(VideoOptions, FolderNames):
    """Options of class folders of images or videos."""


@dataclass(frozen=True, kw_only=True)
class HffOptions(FolderNames):
    """Options of Hybrid Fake Face."""

    paper_split: Annotated[
        bool,
        Option("Split at random over images, as the paper does: one video may be in two splits."),
    ] = False


def read_folder(options: FolderOptions) -> Listing:
    """List the class folders of the named classes, or split folders that hold them."""
    present = subfolders(options.src)
    if not options.real and not options.fake:
        raise CorpusError(
            f"{options.src}: name the real classes in `real` and the fake ones in `fake`. Folders "
            f"there: {', '.join(present) or 'none'}."
        )
    classes = numbered(options.fake, options.real)
    return _class_folders(classes, options, dict(options.folders))


def read_hff(options: HffOptions) -> Listing:
    """List the Hybrid Fake Face dataset: eight class folders, or train|val|test/{fake,real}."""
    present = subfolders(options.src)
    if not options.folders and _has_split_layout(options.src, present, BINARY.names):
        if options.real or options.fake or options.paper_split:
            raise ArgumentError(
                "train|val|test/{fake,real} names classes and splits: leave out `real`, `fake` and "
                "`paper_split`."
            )
        return _class_folders(BINARY, options, {})
    classes = selected(HFF_8, options, dict(options.folders))
    folders = _matched(options, {_plain(name): name for name in classes.names}, present)
    there = _only_present(classes, folders, options)
    missing = [name for name in classes.names if name not in there.names]
    notes = [f"no folder for {', '.join(missing)}: not built."] if missing else []
    return _class_folders(there, options, folders, notes, keeps_groups=not options.paper_split)


def read_faces_hq(options: FolderNames) -> Listing:
    """List Faces-HQ (Durall et al.): two folders of real and two of generated faces."""
    present = subfolders(options.src)
    aliases = {
        _plain(folder): name
        for folder in present
        for start, name in _FACES_HQ_FOLDERS.items()
        if _plain(folder).startswith(start)
    }
    folders = _matched(options, aliases, present)
    classes = _only_present(selected(FACES_HQ, options, dict(options.folders)), folders, options)
    return _class_folders(classes, options, folders)


def read_celeba(options: SourceOptions) -> Listing:
    """List CelebA by its partition file, grouped by identity if identity_CelebA.txt is there."""
    partition = _table_file(options.src, "list_eval_partition.txt", "list_eval_partition.csv")
    if partition is None:
        raise CorpusError(
            f"{options.src}: list_eval_partition.txt not found there or one folder below; found "
            f"{folders_in(options.src)}. It comes with CelebA; without it use `hffkit build "
            "folder`."
        )
    classes = selected(CELEBA, options)
    # By stem: the tables name JPEG files, and CelebA is published as PNG as well.
    listed = _columns_of(partition, _CELEBA_SPLITS)
    numbers = {PurePosixPath(name).stem: number for name, number in listed.items()}
    named = _table_file(options.src, "identity_CelebA.txt")
    people = _columns_of(named) if named else {}
    identity = {PurePosixPath(name).stem: person for name, person in people.items()}
    rest = Rest()
    files = walk(options.src, rest=rest)
    entries = [
        Entry(
            path=path,
            cls="CelebA",
            is_video=is_video,
            split=_CELEBA_SPLITS[numbers[name]],
            group=f"identity-{identity[name]}" if name in identity else None,
        )
        for path, is_video in files
        if (name := PurePosixPath(path).stem) in numbers
    ]
    if not entries:
        raise CorpusError(
            f"{partition}: none of its files is in {options.src}: {some_of([*listed])}."
        )
    there = {PurePosixPath(file.path).stem for file in files}
    unlisted = [file.path for file in files if PurePosixPath(file.path).stem not in numbers]
    absent = sorted(name for name in listed if PurePosixPath(name).stem not in there)
    notes = rest.notes()
    if absent:
        n_absent = counted(len(absent), "file")
        notes.append(f"{n_absent} of the partition not there: {some_of(absent)}.")
    if unlisted:
        n_unlisted = counted(len(unlisted), "file")
        notes.append(f"{n_unlisted} not in the partition, not built: {some_of(unlisted)}.")
    return as_listing(entries, classes, options, notes)


def selected(table: ClassTable, options: SourceOptions, folders: Iterable[str] = ()) -> ClassTable:
    """Return a dataset's own table, cut to the named classes, extended by those with a folder.

    Raises
    ------
    CorpusError
        If a real class is named as fake, or the other way round.
    """
    extra = [name for name in folders if name not in table.names]
    for name in extra:
        if name not in options.real + options.fake:
            raise CorpusError(f"Class {name!r} is new: name it in `real` or `fake` as well.")
    added = numbered(
        [name for name in extra if name in options.fake],
        [name for name in extra if name in options.real],
    )
    first = max((row.id for row in table), default=-1) + 1
    table = ClassTable((*table, *(replace(row, id=first + row.id) for row in added)))
    for names, is_fake in ((options.real, False), (options.fake, True)):
        for name in names:
            if table[name].is_fake is not is_fake:
                raise CorpusError(
                    f"Class {name!r} is {'fake' if table[name].is_fake else 'real'} in this "
                    f"dataset, not {'fake' if is_fake else 'real'}."
                )
    named = options.real + options.fake
    return table.only(named) if named else table


def _only_present(
    classes: ClassTable, folders: Mapping[str, str], options: SourceOptions
) -> ClassTable:
    missing = [name for name in classes.names if name not in folders]
    if missing and (options.real or options.fake or len(missing) == len(classes.names)):
        raise CorpusError(
            f"{options.src}: no folder for class {missing[0]!r}. Found: {folders_in(options.src)}. "
            f"Map it with `folders` {missing[0]}=FOLDER."
        )
    return classes.only(folders.keys() & set(classes.names))


def _class_folders(
    classes: ClassTable,
    options: SourceOptions,
    folders: Mapping[str, str],
    notes: Sequence[str] = (),
    *,
    keeps_groups: bool = True,
) -> Listing:
    """List every class's folder, under or above train, val and test folders if there are any."""
    present = subfolders(options.src)
    splits: list[tuple[str, Split | None]] = [("", None)]
    if _has_split_layout(options.src, present, [folders.get(n, n) for n in classes.names]):
        splits = [(f"{name}/", split_named(name)) for name in _split_names(present)]
    rest = Rest()
    found: list[ClassFiles] = []
    _refuse_nested(classes, options, folders)
    for name in classes.names:
        folder = folders.get(name, name)
        there = [each for each in splits if (options.src / each[0] / folder).is_dir()]
        if not there:
            raise UnknownNameError(f"class folder in {options.src}", folder, present)
        for start, split in there:
            here = posixpath.normpath(start + folder)
            files = ClassFiles(name, split, here, walk(options.src, here, rest))
            found += [files] if split else files.by_split()
    has_test = any(each.split == "test" for each in found)
    ratio = options.ratio.without_test() if has_test else options.ratio
    entries = [entry for each in found for entry in each.entries()]
    read = {posixpath.normpath(folders.get(name, name)).split("/")[0] for name in classes.names}
    notes = [*notes, *beside(options.src, splits, read, rest), *rest.notes()]
    if keeps_groups and options.group_by is None:
        notes += [note for each in found for note in each.notes()]
    if not keeps_groups:
        entries = [replace(entry, group=None) for entry in entries]
        options = replace(options, group_by=None)
    return as_listing(entries, classes, options, notes, ratio=ratio)


def _refuse_nested(classes: ClassTable, options: SourceOptions, folders: Mapping[str, str]) -> None:
    """Raise CorpusError if the folder of a class is in that of another, or is the same one."""
    places = {name: posixpath.normpath(folders.get(name, name)) for name in classes.names}
    for (inner, one), (outer, two) in itertools.permutations(places.items(), 2):
        if two == "." or f"{one}/".startswith(f"{two}/"):
            raise CorpusError(
                f"{options.src}: the folder of class {inner!r}, {one}, is in that of class "
                f"{outer!r}, {two}. Name folders that have no file in common."
            )


def beside(
    root: Path, splits: Sequence[tuple[str, Split | None]], read: Set[str], rest: Rest
) -> Iterator[str]:
    """Yield a note on folders beside the class folders; files there are added to `rest`."""
    top = {start.split("/")[0] for start, _ in splits if start}
    places = [(start, read) for start, _ in splits] + ([("", top)] if top else [])
    folders: list[str] = []
    for start, wanted in places:
        for path in sorted((root / start).iterdir()):
            if path.name in wanted:
                continue
            if is_hidden(path.name):
                rest.add_hidden(root, start + path.name)
            elif path.is_dir():
                folders.append(start + path.name)
            else:
                rest.unasked.append(start + path.name)
    if folders:
        yield f"{counted(len(folders), 'other folder')} not read: {', '.join(folders)}."


def _split_names(present: Sequence[str]) -> list[str]:
    return [name for name in present if split_named(name)]


def _has_split_layout(root: Path, present: Sequence[str], names: Sequence[str]) -> bool:
    inside = {child for name in _split_names(present) for child in subfolders(root / name)}
    return bool(inside & set(names))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _matched(
    options: FolderNames, aliases: Mapping[str, str], present: Sequence[str]
) -> dict[str, str]:
    """Return the folder of each class; `aliases` maps plain folder names to classes."""
    named = dict(options.folders)
    folders: dict[str, str] = {}
    for folder in present:
        name = aliases.get(_plain(folder))
        if name is None or name in named:
            continue
        if name in folders:
            raise CorpusError(
                f"{options.src}: {folders[name]} and {folder} both look like class {name!r}. "
                f"Map it with `folders` {name}=FOLDER."
            )
        folders[name] = folder
    return {**folders, **named}


def _table_file(root: Path, *names: str) -> Path | None:
    """Return the first of `names` in the root or a folder of it."""
    found = (path for name in names for path in (root / name, *sorted(root.glob(f"*/{name}"))))
    return next((path for path in found if path.is_file()), None)


def _columns_of(table: Path, allowed: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the second column of a CelebA table by the names of its files, without folders.

    Columns are separated by spaces, commas or semicolons; the first line may be a header.

    Raises
    ------
    CorpusError
        If a line has no value, one that is not allowed, or another than a line before.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(table, CorpusError).split("\n"), 1):
        cells = [cell.strip("\"'") for cell in re.split(r"[\s,;]+", line.strip())]
        name, value = [*cells, ""][:2]
        known = whole(value)
        is_header = number == 1 and known is None and "." not in line
        if is_header or not any(cells):
            continue
        name = PurePosixPath(name.replace("\\", "/")).name
        value = value if known is None else str(known)
        if not name or not value or (allowed is not None and value not in allowed):
            wanted = " or ".join(f"{each} ({what})" for each, what in (allowed or {}).items())
            raise CorpusError(
                f"{table}:{number}: must be the name of a file and {wanted or 'its value'}, got "
                f"{shown(line.strip())}."
            )
        if found.setdefault(name, value) != value:
            raise CorpusError(
                f"{table}:{number}: {name} has {value} here and {found[name]} in a line before. "
                "Remove the line that is wrong."
            )
    return found
