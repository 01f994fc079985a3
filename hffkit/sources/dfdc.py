"""Reader of DFDC: its parts with metadata.json, its validation and test sets with labels.csv."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hffkit.errors import CorpusError
from hffkit.manifest.classes import numbered
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Split
from hffkit.media.walk import MediaFile, Rest, walk
from hffkit.sources.entries import Entry
from hffkit.sources.folders import selected, split_named
from hffkit.sources.listing import Listing, as_listing, folders_in, read_text
from hffkit.sources.options import VideoOptions

DFDC = numbered(fake=["DFDC-fake"], real=["DFDC-real"])
_METADATA, _LABELS = "metadata.json", "labels.csv"
_CSV_LABELS = {"0": "REAL", "1": "FAKE", "0.0": "REAL", "1.0": "FAKE"}


@dataclass(frozen=True, slots=True)
class _Labelled:
    """The line of a video in a table."""

    name: str  # of the file
    cls: str
    group: str
    split: Split | None


@dataclass(frozen=True, slots=True)
class _LabelTable:
    """A table of videos; it holds for its folder and those below without a table."""

    path: PurePosixPath  # relative to the root
    rows: Mapping[str, _Labelled]  # by name without suffix

    def row_of(self, file: MediaFile) -> _Labelled | None:
        """Return the row of a video, or of the video that an image is a frame of."""
        path = PurePosixPath(file.path)
        return self.rows.get(path.stem if file.is_video else path.parent.name)


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
    tables = {table.path.parent: table for table in (_table(options.src, name) for name in names)}
    classes = selected(DFDC, options)
    entries: list[Entry] = []
    failures: list[Failure] = []
    there: set[tuple[PurePosixPath, str]] = set()
    for file in files:
        table = next((tables[up] for up in PurePosixPath(file.path).parents if up in tables), None)
        row = table.row_of(file) if table else None
        if table is None or row is None:
            _leave_out(file, failures, rest)
            continue
        there.add((table.path, row.name))
        if row.cls in classes.names:
            entries.append(Entry(file.path, row.cls, file.is_video, row.split, row.group))
    for table in tables.values():
        for row in table.rows.values():
            if row.cls in classes.names and (table.path, row.name) not in there:
                path = (table.path.parent / row.name).as_posix()
                reason = f"in {table.path.name}, not there"
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


def _table(root: Path, name: str) -> _LabelTable:
    path = PurePosixPath(name)
    if path.name == _METADATA:
        labels, split = _of_json(root / name), None
    else:
        labels, split = _of_csv(root / name), split_named((root / name).resolve().parent.name)
        split = "test" if split is None else split
    rows = {}
    for video, (label, original) in sorted(labels.items()):
        cls = "DFDC-fake" if label == "FAKE" else "DFDC-real"
        rows[PurePosixPath(video).stem] = _Labelled(video, cls, original or video, split)
    return _LabelTable(path, rows)


def _of_json(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return label and original of each video in a metadata.json."""
    try:
        rows: dict[str, dict[str, str]] = json.loads(read_text(path))
        if all(row["label"] in ("FAKE", "REAL") for row in rows.values()):
            return {name: (row["label"], row.get("original")) for name, row in rows.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise CorpusError(f'{path}: must be {{"video": {{"label": "FAKE" or "REAL", ...}}}}.')


def _of_csv(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return the label of each video in a labels.csv."""
    lines = read_text(path).splitlines()
    header = [cell.strip().lower() for cell in next(csv.reader(lines[:1]), [])]
    found: dict[str, tuple[str, str | None]] = {}
    if not {"filename", "label"} <= set(header):
        raise CorpusError(f"{path}: must begin with the columns filename,label; got {header}.")
    for number, row in enumerate(csv.DictReader(lines[1:], fieldnames=header), 2):
        name, label = (row.get("filename") or "").strip(), (row.get("label") or "").strip().upper()
        label = _CSV_LABELS.get(label, label)
        if not name or label not in ("FAKE", "REAL"):
            raise CorpusError(
                f"{path}:{number}: must be the name of a file and 1 for fake or 0 for real, got "
                f"{name!r} and {label!r}."
            )
        found[name] = label, None
    return found
