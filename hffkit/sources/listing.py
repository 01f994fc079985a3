"""Listing of a dataset: its files with group and split, as units of work."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hffkit.errors import ArgumentError, CorpusError, reading_from
from hffkit.extraction.units import Family, ImageFile, Unit, Video, blocks
from hffkit.input_files import is_there
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import SPLITS, GroupGuard, Split
from hffkit.manifest.splits import SplitRatio, assign_splits
from hffkit.media.walk import some_of
from hffkit.sources.class_files import split_named
from hffkit.sources.entries import Entry, each_once, with_good_keys
from hffkit.sources.kinship import parted
from hffkit.sources.options import SourceOptions
from hffkit.wording import counted


@dataclass(frozen=True, slots=True)
class Listing:
    """The contents of a dataset."""

    classes: ClassTable
    units: tuple[Unit, ...]
    failures: tuple[Failure, ...] = ()  # inputs that cannot be built
    notes: tuple[str, ...] = ()  # remarks for the user, printed before the work begins


def check_root(root: Path) -> None:
    """Raise CorpusError if a dataset's root is no folder that can be read."""
    if not is_there(root):
        raise CorpusError(f"{root}: no such folder. `src` must be the dataset's root.")
    with reading_from(root, CorpusError):
        next(root.iterdir(), None)


def subfolders(root: Path) -> list[str]:
    """Return the sorted names of the folders in `root`, or raise CorpusError."""
    with reading_from(root, CorpusError):
        return sorted(path.name for path in root.iterdir() if path.is_dir())


def folders_in(root: Path) -> str:
    """Return the names of the folders in `root` for a message, or raise CorpusError."""
    return ", ".join(subfolders(root)) or "no folder"


def check_groups(listing: Listing) -> None:
    """Raise ManifestError if a group is in two splits."""
    guard = GroupGuard()
    for unit in listing.units:
        for item in unit.items:
            guard.check_group(item.group, item.split, item.path)


def as_listing(
    entries: Sequence[Entry],
    classes: ClassTable,
    options: SourceOptions,
    notes: Iterable[str] = (),
    *,
    ratio: SplitRatio | None = None,
) -> Listing:
    """Assign groups and splits to entries and return their units of work.

    Entries without a split are drawn by `ratio`, by default that of the options. Entries whose
    names cannot be keys become failures.
    """
    notes = list(notes)
    ratio = ratio or options.ratio
    entries, failures = with_good_keys(entries)
    entries, again = each_once(entries, options.src)
    if again:
        notes.append(
            f"{counted(len(again), 'further name')} of files that are read once: {some_of(again)}."
        )
    if not entries and not failures:
        raise CorpusError(f"{options.src}: no image or video of the wanted classes in it.")
    grouped, unmatched = _with_groups(entries, options)
    if unmatched:
        notes.append(
            f"{len(unmatched)} of {len(entries)} paths do not match the expression of groups, such "
            f"as '{unmatched[0]}': each of these is a group of its own."
        )
    settled = _with_splits(grouped, ratio, options.seed)
    wanted = [entry for entry in settled if entry.split in options.splits]
    if entries and not wanted:
        raise CorpusError(f"{options.src}: nothing in split {', '.join(options.splits)}.")
    drawn = {entry.cls for entry in grouped if entry.split is None}
    notes += _missing_splits([entry for entry in settled if entry.cls in drawn], ratio)
    notes += parted(settled, classes)
    notes += _drawn_out(grouped, settled)
    return Listing(classes, tuple(_units(wanted, classes)), tuple(failures), tuple(notes))


def _missing_splits(entries: Sequence[Entry], ratio: SplitRatio) -> Iterator[str]:
    """Yield a note for each class without samples in a split that should have some."""
    groups: dict[str, set[str | None]] = defaultdict(set)
    filled: dict[str, set[Split | None]] = defaultdict(set)
    n_files = Counter(entry.cls for entry in entries)
    for entry in entries:
        groups[entry.cls].add(entry.group)
        filled[entry.cls].add(entry.split)
    for name, splits in filled.items():
        missing = [s for s in SPLITS if ratio.of(s) * n_files[name] >= 1 and s not in splits]
        if missing:
            yield (
                f"class {name} has nothing in {', '.join(missing)}: its "
                f"{counted(n_files[name], 'file')} are in {counted(len(groups[name]), 'group')}, "
                "and groups are not cut."
            )


def _drawn_out(drawn: Iterable[Entry], settled: Iterable[Entry]) -> list[str]:
    """Return a note if files below a folder called test or val were drawn into another split."""
    meant: dict[str, set[Split]] = {}  # by folder
    apart = []
    for before, entry in zip(drawn, settled, strict=True):
        folder = entry.path.rpartition("/")[0]
        if folder not in meant:
            words = re.split("[^a-z]+", folder.lower())
            meant[folder] = {split for word in words if (split := split_named(word))} - {"train"}
        if before.split is None and meant[folder] and entry.split not in meant[folder]:
            apart.append(entry)
    if not apart:
        return []
    return [
        f"{counted(len(apart), 'file')} below a folder called test or val drawn into another "
        f"split, such as {apart[0].place}. See docs/sources.md for the folders and columns that "
        "give splits."
    ]


def group_of(path: str, pattern: str | None) -> str | None:
    """Return the first group of a regular expression in a path, or its match; None without one.

    Raises
    ------
    ArgumentError
        If it is an empty text, which would be one group of unrelated files.
    """
    match = None if pattern is None else re.search(pattern, path)
    found = None if match is None else match.group(1 if match.re.groups else 0)
    if found == "":
        raise ArgumentError(
            f"`group_by` '{pattern}' matches an empty text in '{path}', which would join all such "
            "files in one group. Match at least one character, such as with + in place of *."
        )
    return found


def _with_groups(entries: Iterable[Entry], options: SourceOptions) -> tuple[list[Entry], list[str]]:
    """Return the entries with groups, and the paths that `group_by` does not match."""
    grouped, unmatched = [], []
    for entry in entries:
        is_given = options.group_by is None
        group = entry.group if is_given else group_of(entry.path, options.group_by)
        if group is None and not is_given:
            unmatched.append(entry.path)
        grouped.append(replace(entry, group=entry.path if group is None else group))
    return grouped, unmatched


def _with_splits(entries: Sequence[Entry], ratio: SplitRatio, seed: int) -> list[Entry]:
    """Draw the splits of entries without one, by `ratio`; groups with one stay in it."""
    fixed = {entry.group or "": entry.split for entry in entries if entry.split is not None}
    members = [(entry.group or "", entry.cls) for entry in entries if entry.split is None]
    taken = {group: fixed[group] for group, _ in members if group in fixed}
    splits = assign_splits(members, ratio, seed=seed, taken=taken)
    return [replace(entry, split=entry.split or splits[entry.group or ""]) for entry in entries]


def _units(entries: Sequence[Entry], classes: ClassTable) -> Iterator[Unit]:
    """Yield blocks of consecutive images and single videos, in the order of the entries."""
    images: list[ImageFile] = []
    for entry in entries:
        split, group = entry.split, entry.group
        if split is None or group is None:
            raise ValueError(f"entry {entry.path!r} has no split or group")
        if not entry.is_video:
            images.append(ImageFile(entry.path, entry.path, entry.cls, split, group, entry.index))
            continue
        yield from blocks(images)
        images = []
        is_fake = classes[entry.cls].is_fake
        path = entry.path
        yield Family((Video(path, path, entry.cls, split, group, is_fake, name=path),))
    yield from blocks(images)
