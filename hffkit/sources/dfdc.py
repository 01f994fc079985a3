"""Reader of DFDC: its parts with metadata.json, its validation and test sets with labels.csv."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hffkit.errors import CorpusError
from hffkit.fields import Fields, shown
from hffkit.input_files import finite_decoder, json_of, read_text
from hffkit.manifest.classes import numbered
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Split
from hffkit.media.walk import MediaFile, Rest, walk
from hffkit.sources.class_files import split_named
from hffkit.sources.columns import table_of, whole
from hffkit.sources.entries import Entry
from hffkit.sources.folders import selected
from hffkit.sources.listing import Listing, as_listing, folders_in
from hffkit.sources.options import VideoOptions

DFDC = numbered(fake=["DFDC-fake"], real=["DFDC-real"])
_METADATA, _LABELS = "metadata.json", "labels.csv"
_CSV_LABELS = {0: "REAL", 1: "FAKE"}
_Line = tuple[str, str, str | None]  # name, label, original


@dataclass(frozen=True, slots=True)
class _Labelled:
    """The line of a video in a table."""

    name: str  # of the file
    cls: str
    group: str
    split: Split | None
    table: str  # the name of the table

    def __str__(self) -> str:
        """Return what the line says, for messages."""
        return f"{self.cls} of {self.group} in {self.table}"

    def joined(self, other: "_Labelled") -> "_Labelled | None":
        """Return what two lines of a video say together, or None if they contradict each other."""
        groups = {self.group, other.group} - {self.name} or {self.name}
        splits = {self.split, other.split} - {None} or {None}
        if self.cls != other.cls or len(groups) > 1 or len(splits) > 1:
            return None
        return replace(self, group=groups.pop(), split=splits.pop())


@dataclass(frozen=True, slots=True)
class _LabelTable:
    """The tables of a folder; they hold for it and for the folders below without a table."""

    folder: PurePosixPath  # relative to the root
    rows: Mapping[str, _Labelled]  # by name
    by_stem: Mapping[str, Sequence[_Labelled]]  # by name without suffix

    def row_of(self, file: MediaFile, there: Set[str]) -> _Labelled | None:
        """Return the row of a video, or of the video that an image is a frame of.

        A video with another suffix than its row has is that of the row, unless the row's own is
        among the names that are `there`.

        Raises
        ------
        CorpusError
            If several videos are meant, which differ in their suffixes alone.
        """
        path = PurePosixPath(file.path)
        named = path if file.is_video else path.parent
        if named.name in self.rows:
            return self.rows[named.name]
        found = self.by_stem.get(path.stem if file.is_video else named.name, ())
        if file.is_video:
            found = [row for row in found if PurePosixPath(row.name).name not in there]
        if len(found) > 1:
            names = " or ".join(row.name for row in found)
            raise CorpusError(f"{named}: may be {names}. Give it the full name of its video.")
        return found[0] if found else None


def read_dfdc(options: VideoOptions) -> Listing:
    """List DFDC by its tables; an original and its forgeries are a group.

    Parts have metadata.json. The validation and test sets have labels.csv, and stay what they are.
    Images in a folder are frames of the video of its name.

    Raises
    ------
    CorpusError
        If there is no table, or one of another form.
    """
    found = folders_in(options.src)  # refuses what is no folder
    rest = Rest()
    files = walk(options.src, rest=rest)
    names = [path for path in rest.others if PurePosixPath(path).name in (_METADATA, _LABELS)]
    if not names:
        raise CorpusError(
            f"{options.src}: no {_METADATA} or {_LABELS} in it or below it; found "
            f"{found}. A part of DFDC comes with the first, its test set with "
            "the second. Without them use `hffkit build list`."
        )
    rest.others = [path for path in rest.others if path not in names]
    tables = _tables(options.src, names)
    classes = selected(DFDC, options)
    entries: list[Entry] = []
    failures: list[Failure] = []
    there: set[tuple[PurePosixPath, str]] = set()
    file_names = {PurePosixPath(file.path).name for file in files}
    for file in files:
        table = next((tables[up] for up in PurePosixPath(file.path).parents if up in tables), None)
        row = table.row_of(file, file_names) if table else None
        if table is None or row is None:
            _leave_out(file, failures, rest)
            continue
        there.add((table.folder, row.name))
        if row.cls in classes.names:
            entries.append(Entry(file.path, row.cls, file.is_video, row.split, row.group))
    for table in tables.values():
        for row in table.rows.values():
            if row.cls in classes.names and (table.folder, row.name) not in there:
                path = (table.folder / row.name).as_posix()
                reason = f"in {row.table}, not there"
                failures.append(Failure("unreadable", path, None, reason))
    is_held_out = any(entry.split for entry in entries)
    ratio = options.ratio.without_test() if is_held_out else options.ratio
    listing = as_listing(entries, classes, options, rest.notes(), ratio=ratio)
    return replace(listing, failures=(*failures, *listing.failures))


def _leave_out(file: MediaFile, failures: list[Failure], rest: Rest) -> None:
    """Record a video that no table names, and note an image that is no frame of a named one."""
    if file.is_video:
        reason = f"in no {_METADATA} or {_LABELS}: nothing says whether it is real or fake"
        failures.append(Failure("unreadable", file.path, None, reason))
    else:
        rest.unasked.append(file.path)


def _tables(root: Path, names: Sequence[str]) -> dict[PurePosixPath, _LabelTable]:
    """Read the tables of these names, by folder."""
    by_folder: dict[PurePosixPath, list[str]] = defaultdict(list)
    for name in names:
        by_folder[PurePosixPath(name).parent].append(name)
    return {folder: _table(root, folder, each) for folder, each in by_folder.items()}


def _table(root: Path, folder: PurePosixPath, names: Sequence[str]) -> _LabelTable:
    """Read the tables of a folder.

    Raises
    ------
    CorpusError
        If they are of another form, or contradict each other or themselves.
    """
    rows: dict[str, _Labelled] = {}
    for row in (row for name in sorted(names) for row in _rows(root / name)):
        name = PurePosixPath(row.name).name
        known = rows.setdefault(name, row)
        joined = known.joined(row)
        if joined is None:
            raise CorpusError(
                f"{root / folder}: {name} is {known} and {row}. Correct the line that is wrong."
            )
        rows[name] = joined
    rows = dict(sorted(rows.items()))
    by_stem = defaultdict(list)
    for name, row in rows.items():
        by_stem[PurePosixPath(name).stem].append(row)
    return _LabelTable(folder, rows, by_stem)


def _rows(path: Path) -> Iterator[_Labelled]:
    is_part = path.name == _METADATA
    split = None if is_part else split_named(path.resolve().parent.name) or "test"
    for name, label, original in _of_json(path) if is_part else _of_csv(path):
        cls = "DFDC-fake" if label == "FAKE" else "DFDC-real"
        yield _Labelled(name, cls, original or name, split, path.name)


def _of_json(path: Path) -> list[_Line]:
    """Return name, label and original of each video in a metadata.json, doubled keys twice."""
    text = read_text(path, CorpusError)
    found = json_of(text, str(path), CorpusError, finite_decoder(tuple).decode)
    rows = found if isinstance(found, tuple) else [("", found)]  # objects are tuples of pairs
    for name, row in rows:
        if not isinstance(row, tuple):
            raise CorpusError(
                f'{path}: must be {{"video": {{"label": "FAKE" or "REAL", ...}}}}, got '
                f"{shown(row)}."
            )
        if len(dict(row)) < len(row):
            raise CorpusError(f"{path}: {name} has a key twice. Delete the one that is wrong.")
    fields = [(name, Fields(dict(row), f"{path}: {name}", CorpusError)) for name, row in rows]
    return [
        (name, row.one_of("label", ("FAKE", "REAL")), row.optional("original", str))
        for name, row in fields
    ]


def _of_csv(path: Path) -> Iterator[_Line]:
    """Yield name and label of each video in a labels.csv."""
    lines = read_text(path, CorpusError).splitlines()
    table = table_of(lines, {"filename", "label"}, path)
    if table is None:
        raise CorpusError(
            f"{path}: must begin with the columns filename,label; got {shown(lines[:1])}."
        )
    for line, row in table:
        name = row["filename"].strip().replace("\\", "/")
        label = row["label"].strip().upper()
        number = whole(label)
        label = label if number is None else _CSV_LABELS.get(number, label)
        if not name or label not in ("FAKE", "REAL"):
            raise CorpusError(
                f"{path}:{line}: must be the name of a file and 1 for fake or 0 for "
                f"real, got {shown(name)} and {shown(label)}."
            )
        yield name, label, None
