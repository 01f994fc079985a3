"""Sources that come with a list of files: any list, Celeb-DF, DFDC."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hffkit.errors import ArgumentError, CorpusError
from hffkit.manifest.classes import ClassTable, FaceClass, numbered
from hffkit.manifest.failures import Failure
from hffkit.media.files import is_video, walk
from hffkit.sources.folders import selected
from hffkit.sources.listing import Entry, Listing, SourceOptions, as_listing, read_text, subfolders

_FAKE_OR_REAL = numbered(fake=["fake"], real=["real"])
CELEB_DF = numbered(fake=["Celeb-synthesis"], real=["Celeb-real", "YouTube-real"])
DFDC = numbered(fake=["DFDC-fake"], real=["DFDC-real"])


def read_list(options: SourceOptions, list_file: Path, prefix: str = "") -> Listing:
    """List the files of a `path label` list, or of a CSV with the columns path and real.

    Labels are the class ids, as in convert_imageset; a list of images keeps its line numbers
    as record numbers, so unreadable ones leave gaps, as there. Every path must begin with
    `prefix`, and what follows it is the path below the root.
    """
    subfolders(options.root)
    lines = [line.rstrip("\r") for line in read_text(list_file).rstrip("\r\n").split("\n")]
    if lines == [""]:
        raise CorpusError(f"{list_file}: lists nothing.")
    header = [cell.strip() for cell in next(csv.reader(lines[:1]), [])]
    if {"path", "real"} <= set(header):
        if options.real or options.fake or options.folders:
            raise ArgumentError("A CSV says itself what is real: no --real, --fake or --class.")
        classes = _FAKE_OR_REAL
        table = csv.DictReader(lines[1:], fieldnames=header)
        rows = [((row["path"] or "").strip(), _real_or_fake(row, list_file)) for row in table]
    else:
        rows = [_split_line(line, number, list_file) for number, line in enumerate(lines, 1)]
        classes = _labelled(sorted({label for _, label in rows}, key=int), options)
        names = {str(row.id): row.name for row in classes}
        rows = [(path, names[label]) for path, label in rows]
    rows = [(_without(prefix, path, list_file), name) for path, name in rows]
    keeps_numbers = not any(is_video(path) for path, _ in rows)
    entries = [
        Entry(path, name, key=path, index=number if keeps_numbers else None)
        for number, (path, name) in enumerate(rows)
    ]
    return as_listing(entries, classes, options)


def _split_line(line: str, number: int, list_file: Path) -> tuple[str, str]:
    path, _, label = line.rstrip().rpartition(" ")  # the last space: paths may hold some
    if not path or not (label.isascii() and label.isdigit()):
        raise CorpusError(
            f"{list_file}:{number}: must be `path label` with a whole number, got {line!r}. "
            "A CSV needs the columns path and real in its first line."
        )
    return path, str(int(label))


def _without(prefix: str, path: str, list_file: Path) -> str:
    if not path.startswith(prefix):
        raise CorpusError(f"{list_file}: {path!r} does not begin with --strip-prefix {prefix!r}.")
    rest = path.removeprefix(prefix)
    return rest.lstrip("/") if prefix else rest


def _real_or_fake(row: Mapping[str, str], list_file: Path) -> str:
    value = (row["real"] or "").strip()
    if value not in ("0", "1"):
        raise CorpusError(f"{list_file}: real must be 0 or 1, got {value!r} for {row['path']!r}.")
    if not row["path"]:
        raise CorpusError(f"{list_file}: a line has no path.")
    return "real" if value == "1" else "fake"


def _labelled(labels: Iterable[str], options: SourceOptions) -> ClassTable:
    """Return a table whose classes are called by their labels, or by --class NAME=LABEL."""
    names = {label: name for name, label in (options.folders or {}).items()}
    rows = []
    for label in labels:
        known = {label, names.get(label, label)}
        if not known & {*options.real, *options.fake}:
            raise CorpusError(
                f"Label {label} of the list is neither real nor fake yet: name each label in "
                "--real or --fake (0 for fake and 1 for real is a habit, not a rule)."
            )
        is_fake = bool(known & set(options.fake))
        if is_fake and known & set(options.real):
            raise CorpusError(f"Label {label} of the list is named in --real and in --fake.")
        rows.append(FaceClass(int(label), names.get(label, label), is_fake))
    return ClassTable(tuple(rows))


def read_celeb_df(options: SourceOptions) -> Listing:
    """List Celeb-DF: its test list is the test split, the rest is train and val.

    Each video is its own group: the official test list takes forgeries without their targets.
    """
    present = subfolders(options.root)
    test_file = options.root / "List_of_testing_videos.txt"
    if not test_file.is_file():
        raise CorpusError(
            f"{test_file}: not there; found {', '.join(present) or 'no folder'}. It comes with "
            "Celeb-DF and names the test split; without it use `hffkit build folder`."
        )
    test = {line.split()[-1] for line in read_text(test_file).splitlines() if line.strip()}
    classes = selected(CELEB_DF, options)
    missing = [name for name in classes.names if name not in present]
    if len(missing) == len(classes.names) or (missing and (options.real or options.fake)):
        raise CorpusError(
            f"{options.root}: no folder {' or '.join(missing)}; found "
            f"{', '.join(present) or 'no folder'}."
        )
    classes = classes.only(name for name in classes.names if name in present)
    entries = [
        Entry(path, name, key=path, split="test" if path in test else None, group=path)
        for name in classes.names
        for path in walk(options.root, name)
    ]
    options = replace(options, ratio=options.ratio.without_test())
    notes = ["Celeb-DF's test list shares people with the rest: see docs/sources.md."]
    wanted = {path for path in test if path.split("/")[0] in classes.names}
    absent = sorted(wanted - {entry.path for entry in entries})
    if absent and len(absent) == len(wanted):
        raise CorpusError(f"{test_file}: none of its videos is there, such as {absent[0]}.")
    if absent:
        notes.append(f"{len(absent)} videos of the test list are not there, such as {absent[0]}.")
    return as_listing(entries, classes, options, notes)


def read_dfdc(options: SourceOptions) -> Listing:
    """List DFDC parts by their metadata.json; a group is an original with its forgeries."""
    present = subfolders(options.root)
    files = sorted(options.root.rglob("metadata.json"))
    if not files:
        raise CorpusError(
            f"{options.root}: no metadata.json in it or below it; found "
            f"{', '.join(present) or 'no folder'}. Each part of DFDC comes with one."
        )
    classes = selected(DFDC, options)
    entries, failures = [], []
    for file in files:
        folder = file.parent.relative_to(options.root).as_posix()
        for name, row in sorted(_metadata(file).items()):
            path = name if folder == "." else f"{folder}/{name}"
            cls = "DFDC-fake" if row["label"] == "FAKE" else "DFDC-real"
            group = row.get("original") or name
            if cls not in classes.names:
                continue
            if (options.root / path).is_file():
                entries.append(Entry(path, cls, key=path, group=group))
            else:
                failures.append(Failure("unreadable", path, None, "in metadata.json, not there"))
    listing = as_listing(entries, classes, options)
    return replace(listing, failures=(*failures, *listing.failures))


def _metadata(path: Path) -> dict[str, dict[str, str]]:
    try:
        rows: dict[str, dict[str, str]] = json.loads(read_text(path))
        if all(row["label"] in ("FAKE", "REAL") for row in rows.values()):
            return rows
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise CorpusError(f'{path}: must be {{"video": {{"label": "FAKE" or "REAL", ...}}}}.')
