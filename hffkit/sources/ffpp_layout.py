"""The layouts in which copies of FaceForensics++ come, and the videos of a class in them.

- official: original_sequences/{youtube,actors} and manipulated_sequences/METHOD, each with
  QUALITY/videos, or with QUALITY/images or QUALITY/frames for folders of frames;
- plain: original and METHOD beside each other;
- cropped (Cao et al.): face/CLASS/QUALITY/VIDEO/N.png.

In the first two, the folder of the videos may be missing (METHOD/c23/000_003.mp4), and that of the
quality, too (METHOD/000_003.mp4). Masks of forgeries are stored like one more quality, `masks`.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hffkit.errors import CorpusError
from hffkit.manifest.classes import FFPP
from hffkit.manifest.pairs import MASKS
from hffkit.media.files import frame_number, is_hidden
from hffkit.media.walk import Rest, files_below, media_file
from hffkit.sources.listing import folders_in, subfolders

QUALITIES = ("raw", "c23", "c40")  # as published; raw is called c0 in the authors' scripts
PAPER_CLASSES = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "Real")
METHODS = tuple(row.name for row in FFPP if row.is_fake)
SEQUENCES = ("original_sequences", "manipulated_sequences")
CROPPED_FOLDERS = {"Real": "real"} | {name: name for name in PAPER_CLASSES if name != "Real"}
_OFFICIAL = {
    "Real": "original_sequences/youtube",
    "Real-actors": "original_sequences/actors",
} | {name: f"manipulated_sequences/{name}" for name in METHODS}
_PLAIN: Mapping[str, tuple[str, ...]] = {
    "Real": ("original", "originals", "original_sequences", "real", "youtube"),
    "Real-actors": ("actors", "original_actors", "original_sequences/actors"),
} | {name: (name,) for name in METHODS}
_PLACES = ("videos", "images", "frames")
_QUALITY = re.compile(r"raw|c\d{1,2}", re.IGNORECASE)
_VIDEO_NAME = re.compile(r"\d{3}(_\d{3})?|\d\d(_\d\d)?__.+")


@dataclass(frozen=True, slots=True)
class FoundVideo:
    """A video of the tree."""

    path: str  # relative to the root
    cls: str
    quality: str
    stem: str
    is_cropped: bool = False


@dataclass(frozen=True, slots=True)
class VideoTree:
    """The folders of the classes in a tree, and what of their contents is not read."""

    root: Path
    folders: Mapping[str, str]  # by class
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)  # which could be of a class
    is_cropped: bool = False
    rest: Rest = field(default_factory=Rest)
    unread: list[str] = field(default_factory=list)  # folders beside those of videos
    unnamed: set[str] = field(default_factory=set)  # folders of classes without a quality

    def folder(self, name: str) -> Path:
        """Return the folder of a class."""
        return self.root / self.folders.get(name, name)

    def videos(self, name: str, quality: str, *, is_only: bool = False) -> list[FoundVideo]:
        """Return the videos or frame folders of one class and quality, sorted by path.

        A class folder that names no quality is taken for the only quality that is wanted.
        """
        here = self.folder(name)
        starts = _children(here, ("raw", "c0") if quality == "raw" else (quality,))
        if is_only and quality != MASKS and not self.is_cropped and not _qualities_in(here):
            starts.append(here)
        for start in starts:
            places = [] if self.is_cropped else _children(start, _PLACES)
            full = [place for place in (*places, start) if any(self._inside(place))]
            if full:
                self.unread.extend(self._relative(place) for place in full[1:])
                self.unread.extend(self.others.get(name, ()))
                if start == here:
                    self.unnamed.add(self._relative(here))
                return self._videos_in(full[0], name, quality)
        return []

    def notes(self, quality: str) -> list[str]:
        """Return remarks on what was not read; `quality` is that of folders that name none."""
        notes = self.rest.notes()
        if self.unread:
            unread = ", ".join(dict.fromkeys(self.unread))
            notes.append(f"not read, because there are videos beside: {unread}.")
        if self.unnamed:
            folders = ", ".join(sorted(self.unnamed))
            notes.append(f"taken for {quality}, because the folders name no quality: {folders}.")
        return notes

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _inside(self, place: Path) -> Iterator[Path]:
        """Yield the videos in a place, and folders of frames; outside `_PLACES` by their names."""
        is_place = self.is_cropped or place.name.lower() in _PLACES
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_dir() and not is_hidden(path.name):
                if is_place or _VIDEO_NAME.fullmatch(path.name):
                    yield path
            elif not is_hidden(path.name) and self._is_video(path, Rest()):
                yield path

    def _is_video(self, path: Path, rest: Rest) -> bool:
        """Test a file for a video, or for a link to nothing; others are added to `rest`."""
        file = media_file(path, self._relative(path), rest)
        if file is not None and not file.is_video and path.exists():
            rest.unasked.append(file.path)
            return False
        return file is not None

    def _videos_in(self, place: Path, name: str, quality: str) -> list[FoundVideo]:
        found = []
        inside = set(self._inside(place))
        for path in sorted(place.iterdir()):
            if path not in inside:
                self._leave_out(path)
                continue
            is_folder = path.is_dir()
            if is_folder:
                self._check_frames(path)
            stem = path.name if is_folder else path.stem
            found.append(FoundVideo(self._relative(path), name, quality, stem, self.is_cropped))
        return found

    def _leave_out(self, path: Path) -> None:
        """Add a file that is no video to the rest, or all files of a hidden folder."""
        if is_hidden(path.name):
            self.rest.add_hidden(self.root, self._relative(path))
        elif not path.is_dir():
            self._is_video(path, self.rest)

    def _check_frames(self, folder: Path) -> None:
        """Add the files of a folder of frames that are no frames to the rest."""
        with os.scandir(folder) as found:
            entries = list(found)
        for entry in entries:
            path, is_folder = Path(entry.path), entry.is_dir()
            if frame_number(path.name) is not None and not is_folder:
                continue
            relative = self._relative(path)
            if is_hidden(path.name):
                self.rest.hidden.append(relative)
            elif is_folder:
                self.rest.unasked += files_below(self.root, relative)
            elif (file := media_file(path, relative, self.rest)) is not None:
                self.rest.unasked.append(file.path)


def _qualities_in(folder: Path) -> list[str]:
    names = subfolders(folder) if folder.is_dir() else []
    return [name for name in names if _QUALITY.fullmatch(name)]


def layout_of(root: Path) -> VideoTree:
    """Return the layout of a tree, or raise CorpusError."""
    layout = _known_layout(root)
    if layout is not None:
        return layout
    present = subfolders(root)
    advice = ""
    if {"youtube", "actors", *METHODS} & set(present):
        advice = " Pass the folder above as `src`."
    elif below := [name for name in present if _known_layout(root / name)]:
        advice = f" Pass {root / below[0]} as `src`."
    raise CorpusError(
        f"{root}: no FaceForensics++ tree. Looked for original_sequences/, "
        "manipulated_sequences/ or face/ in it, or original/ and folders named after methods; "
        f"found {folders_in(root)}.{advice}"
    )


def _known_layout(root: Path) -> VideoTree | None:
    present = {name.lower() for name in subfolders(root)}
    is_official = bool(present.intersection(SEQUENCES))
    start = "face/" if "face" in present else ""
    if not is_official and (start or _holds_crops(root)):
        return VideoTree(root, {n: start + f for n, f in CROPPED_FOLDERS.items()}, is_cropped=True)
    is_plain = "original" in present or any(name.lower() in present for name in METHODS)
    if not is_official and (not is_plain or root.resolve().name in SEQUENCES):
        return None
    folders: dict[str, str] = {}
    others: dict[str, Sequence[str]] = {}
    for name, official in _OFFICIAL.items():
        plain = _PLAIN[name]
        spellings = (official, *plain) if is_official else (*plain, official)
        there = [path for each in spellings if (path := _spelled(root, each))]
        folders[name] = next(iter(there), spellings[0])
        others[name] = [
            path for path in there[1:] if not f"{folders[name]}/".startswith(f"{path}/")
        ]
        if folders[name].lower() == SEQUENCES[0] and _spelled(root, f"{folders[name]}/actors"):
            folders[name] = official
    return VideoTree(root, folders, others)


def _spelled(root: Path, path: str) -> str | None:
    """Return the path of a folder as it is spelled below a root, or None."""
    here = [root]
    for part in path.split("/"):
        here = _children(here[0], (part,)) if here else []
    return here[0].relative_to(root).as_posix() if here else None


def _children(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the folders in a folder that have these names, in whatever capitals.

    Raises
    ------
    CorpusError
        If there are two that differ in their capitals alone.
    """
    present = subfolders(folder) if folder.is_dir() else []
    found = []
    for wanted in names:
        same = [name for name in present if name.lower() == wanted.lower()]
        if len(same) > 1:
            raise CorpusError(
                f"{folder}: {same[0]} and {same[1]} differ in capitals alone. Join them, or give "
                "the one that is not to be read another name."
            )
        found += [folder / name for name in same]
    return found


def _holds_crops(root: Path) -> bool:
    """Test for class folders with QUALITY/VIDEO, without videos/ or images/ in between."""
    return any(
        path.name.lower() not in (*_PLACES, "landmarks") and not is_hidden(path.name)
        for folder in CROPPED_FOLDERS.values()
        for quality in QUALITIES
        for path in sorted((root / folder / quality).glob("*/"))
    )
