"""Readers of lists of files: any list, and Celeb-DF with its test list."""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, NamedTuple

from hffkit.errors import ArgumentError, CorpusError
from hffkit.fields import shown
from hffkit.input_files import read_text
from hffkit.manifest.classes import BINARY, MAX_LABEL, ClassTable, FaceClass, numbered
from hffkit.manifest.samples import Split
from hffkit.media.kinds import is_video_file
from hffkit.media.walk import MediaFile, Rest, some_of, walk
from hffkit.options import Option
from hffkit.sources.class_files import split_named
from hffkit.sources.columns import table_of, whole
from hffkit.sources.entries import Entry
from hffkit.sources.folders import FolderOptions, beside, selected
from hffkit.sources.listing import Listing, as_listing, folders_in, subfolders
from hffkit.sources.options import VideoOptions
from hffkit.wording import counted

_CELEB_DF_NAMES = {
    "Celeb-synthesis": re.compile(r"id\d+_id\d+_\d{4}(?!\d)"),
    "Celeb-real": re.compile(r"id\d+_\d{4}(?!\d)"),
    "YouTube-real": re.compile(r"(?<!\d)\d{5}(?!\d)"),
}
CELEB_DF = numbered(fake=["Celeb-synthesis"], real=["Celeb-real", "YouTube-real"])


@dataclass(frozen=True, kw_only=True)
class ListOptions(FolderOptions):
    """Options of a list of files."""

    list_file: Annotated[
        Path,
        Option("`path label` lines, or a CSV with path, real and perhaps split.", name="list"),
    ]
    strip_prefix: Annotated[
        str,
        Option(
            "The start of each path in the list that is no part of its path below --src.",
            metavar="TEXT",
        ),
    ] = ""


def read_list(options: ListOptions) -> Listing:
    """List the files of a `path label` list, or of a CSV with path, real and perhaps split.

    Labels are class ids, as in convert_imageset. A list of images keeps its line numbers as
    record numbers, so unreadable images leave gaps, as there. Every path must begin with
    `strip_prefix`; the rest of it is the path below the root.
    """
    list_file = options.list_file
    text = read_text(list_file, CorpusError).replace("\r\n", "\n").replace("\r", "\n")
    lines = text.rstrip("\n").split("\n")
    table = table_of(lines, {"path", "real"}, list_file)
    classes, rows = _of_labels(lines, options) if table is None else _of_csv(table, options)
    if not rows:
        raise CorpusError(f"{list_file}: lists nothing.")
    paths = _paths_of(rows, options)
    videos = {path for path in paths if is_video_file(options.src / path)}
    entries = [
        Entry(path, row.cls, path in videos, row.split, index=None if videos else number)
        for number, (path, row) in enumerate(zip(paths, rows, strict=True))
    ]
    has_test = any(row.split == "test" for row in rows)
    ratio = options.ratio.without_test() if has_test else options.ratio
    return as_listing(entries, classes, options, ratio=ratio)


class _ListLine(NamedTuple):
    """A file in a list."""

    line: int  # its number, from 1
    path: str  # as it is written there
    cls: str
    split: Split | None = None


def _of_csv(
    table: Iterable[tuple[int, Mapping[str, str]]], options: ListOptions
) -> tuple[ClassTable, list[_ListLine]]:
    """Return the classes and files of a CSV with the columns path, real and perhaps split."""
    if options.real or options.fake or options.folders:
        raise ArgumentError(
            "The column real of a CSV gives the classes: leave out `real`, `fake`, `folders`."
        )
    rows = []
    for line, cells in table:
        where = f"{options.list_file}:{line}"
        cls = _real_or_fake(cells, where)
        rows.append(_ListLine(line, cells["path"].strip(), cls, _split_in(cells, where)))
    return BINARY, rows


def _of_labels(lines: Sequence[str], options: ListOptions) -> tuple[ClassTable, list[_ListLine]]:
    """Return the classes and files of `path label` lines."""
    if lines == [""]:
        return ClassTable(()), []
    pairs = [_split_line(line, number, options.list_file) for number, line in enumerate(lines, 1)]
    classes = _labelled(sorted({label for _, label in pairs}, key=int), options)
    names = {str(row.id): row.name for row in classes}
    return classes, [
        _ListLine(line, path, names[label]) for line, (path, label) in enumerate(pairs, 1)
    ]


def _paths_of(rows: Iterable[_ListLine], options: ListOptions) -> list[str]:
    """Return the path of each file below the root.

    Raises
    ------
    CorpusError
        If a file is listed twice, or none of them is there.
    """
    lines: dict[str, int] = {}  # by path
    for row in rows:
        where = f"{options.list_file}:{row.line}"
        path = _below(row.path, where, options)
        if path in lines:
            raise CorpusError(
                f"{where}: {shown(path)} is listed twice, before in line {lines[path]}. List each "
                "file once."
            )
        lines[path] = row.line
    if not any(_is_there(options.src / path) for path in lines):
        raise CorpusError(
            f"{options.list_file}: none of its files is in {options.src}, such as "
            f"{shown(next(iter(lines)))}. If the list was written elsewhere, "
            f"{_prefix_advice(options)}."
        )
    return list(lines)


def _prefix_advice(options: ListOptions) -> str:
    known = options.strip_prefix
    if known:
        return f"another part of its paths than '{known}' may be missing or too much"
    return "give the start of its paths as `strip_prefix`"


def _split_line(line: str, number: int, list_file: Path) -> tuple[str, str]:
    match = re.fullmatch(r"(.*\S)\s+(\S+)", line.strip())  # at the last space: paths may have some
    label = None if match is None else whole(match[2])
    if match is None or label is None or label > MAX_LABEL:
        raise CorpusError(
            f"{list_file}:{number}: must be `path label` with a whole number up to {MAX_LABEL}, "
            f"got {shown(line)}. A CSV needs the columns path and real in its first line."
        )
    return match[1], str(label)


def _below(path: str, where: str, options: ListOptions) -> str:
    """Return a path of the list as one below the root, in its shortest spelling.

    As in convert_imageset, which joins root and path as text, a slash at its start means nothing.
    Backslashes separate folders unless there is a file with this very name.
    """
    prefix = options.strip_prefix
    if not path.startswith(prefix):
        raise CorpusError(f"{where}: {shown(path)} does not begin with `strip_prefix` '{prefix}'.")
    if "\0" in path:
        raise CorpusError(f"{where}: {shown(path)} is no path: it holds a NUL character.")
    rest = path.removeprefix(prefix)
    if "\\" in rest and not _is_there(options.src / rest):
        rest = rest.replace("\\", "/")
    rest = rest.lstrip("/")
    return posixpath.normpath(rest) if rest else rest


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _real_or_fake(row: Mapping[str, str], where: str) -> str:
    value = row["real"].strip()
    number = whole(value)
    if number not in (0, 1):
        raise CorpusError(f"{where}: real must be 0 or 1, got {shown(value)}.")
    if not row["path"].strip():
        raise CorpusError(f"{where}: the line has no path.")
    return "real" if number == 1 else "fake"


def _split_in(row: Mapping[str, str], where: str) -> Split | None:
    """Return the split in a row of a CSV; None if it has no column for it, or an empty cell."""
    value = row.get("split", "").strip()
    split = split_named(value)
    if value and split is None:
        raise CorpusError(f"{where}: split must be train, val, test or empty, got {shown(value)}.")
    return split


def _labelled(labels: Iterable[str], options: ListOptions) -> ClassTable:
    """Return a table whose classes are named by their labels, or by `folders` (name, label)."""
    names = {label: name for name, label in options.folders}
    rows = []
    for label in labels:
        known = {label, names.get(label, label)}
        if not known & {*options.real, *options.fake}:
            raise CorpusError(
                f"{options.list_file}: label {label} is neither in `real` nor in `fake`. Name each "
                "label in one of them (0 for fake and 1 for real is a habit, not a rule)."
            )
        is_fake = bool(known & set(options.fake))
        if is_fake and known & set(options.real):
            raise CorpusError(
                f"{options.list_file}: label {label} is named both in `real` and in `fake`."
            )
        rows.append(FaceClass(int(label), names.get(label, label), is_fake))
    return ClassTable(tuple(rows))


def read_celeb_df(options: VideoOptions) -> Listing:
    """List Celeb-DF by its class folders; the test list assigns the test split.

    Each video is its own group, because the test list has forgeries without their targets. The
    images of a folder are frames of the video of its name, and follow it.

    Raises
    ------
    CorpusError
        If class folders or the list are missing, or the list names videos that are not there.
    """
    present = subfolders(options.src)
    test_file = options.src / "List_of_testing_videos.txt"
    if not test_file.is_file():
        raise CorpusError(
            f"{test_file}: not there; found {folders_in(options.src)}. It comes with Celeb-DF and "
            "names the test split; without it use `hffkit build folder`."
        )
    classes = selected(CELEB_DF, options)
    missing = [name for name in classes.names if name not in present]
    if len(missing) == len(classes.names) or (missing and (options.real or options.fake)):
        raise CorpusError(
            f"{options.src}: no folder {' or '.join(missing)}; found {folders_in(options.src)}."
        )
    classes = classes.only(name for name in classes.names if name in present)
    rest = Rest()
    files = [(name, file) for name in classes.names for file in walk(options.src, name, rest)]
    groups = {_video_of(name, file): file.path for name, file in files if file.is_video}
    known = {_video_of(name, file) for name, file in files}
    test = _celeb_df_test(test_file, known, classes)
    entries: list[Entry] = []
    strays: list[str] = []
    with_videos = {name for name, _ in groups}
    for name, file in files:
        video = _video_of(name, file)
        split: Split | None = "test" if video in test else None
        group = groups.get(video, "/".join(video))
        entries.append(Entry(file.path, name, file.is_video, split, group))
        is_official = _CELEB_DF_NAMES[name].fullmatch(video[1])
        if not (video in groups or video in test) and (name in with_videos or not is_official):
            strays.append(file.path)
    notes = ["Celeb-DF's test list shares people with the rest: see docs/sources.md."]
    if strays:
        notes.append(
            f"{counted(len(strays), 'image')} of no known video, so perhaps of a test video: "
            f"{some_of(strays)}."
        )
    if missing:
        notes.append(f"no folder {' or '.join(missing)}: not built.")
    notes += beside(options.src, [("", None)], {*classes.names, test_file.name}, rest)
    notes += rest.notes()
    return as_listing(entries, classes, options, notes, ratio=options.ratio.without_test())


def _video_of(cls: str, file: MediaFile) -> tuple[str, str]:
    """Return class and name of the video that a file of Celeb-DF is, or is a frame of.

    The name is an official one in the name of a folder, the nearest first, or of the file; that
    of a video is first sought in its own name. Without one, a folder is a video.
    """
    path = PurePosixPath(file.path).relative_to(cls)
    folders = [folder.name for folder in path.parents if folder.name]
    places = [path.stem, *folders] if file.is_video else [*folders, path.stem]
    official = (match for place in places if (match := _CELEB_DF_NAMES[cls].search(place)))
    match = next(official, None)  # 00170_0032.png is a frame of 00170.mp4
    return cls, match[0] if match else places[0]


def _celeb_df_test(
    test_file: Path, known: Set[tuple[str, str]], classes: ClassTable
) -> set[tuple[str, str]]:
    """Return class and name of the videos in a test list; `known` are those that are there.

    Lines end with the path of a video, which may begin with further folders, have backslashes, or
    be the bare name of the file: names are unique in Celeb-DF.
    """
    found: set[tuple[str, str]] = set()
    absent = []
    lines = [
        line.strip() for line in read_text(test_file, CorpusError).splitlines() if line.strip()
    ]
    for line in lines:
        parts = line.split()[-1].replace("\\", "/").split("/")
        of_line = [name for name in CELEB_DF.names if name in parts] or list(CELEB_DF.names)
        videos = known & {(name, PurePosixPath(parts[-1]).stem) for name in of_line}
        found |= videos
        if not videos and set(of_line) <= set(classes.names):  # else perhaps of another class
            absent.append(line)
    if absent or not found:
        example = (absent or lines or ["nothing"])[0]
        raise CorpusError(
            f"{test_file}: {len(absent) or 'all'} of {counted(len(lines), 'line')} name no video "
            f"that is there, such as '{example}'. Correct these lines, or delete them if the "
            "videos are missing on purpose: a test video that is not recognised would be trained "
            "on."
        )
    return found
