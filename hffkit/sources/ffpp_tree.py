"""Where a FaceForensics++ tree keeps its videos, in the layouts that people hold it in.

- official: original_sequences/{youtube,actors} and manipulated_sequences/METHOD, each with
  QUALITY/videos or QUALITY/images;
- cropped (Cao et al.): face/CLASS/QUALITY/VIDEO/N.png.

In both the masks of forgeries lie as if they were one more quality, `masks`.
"""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hffkit.errors import ArgumentError, CorpusError, UnknownNameError
from hffkit.manifest.classes import FFPP, ClassTable
from hffkit.manifest.pairs import MASKS
from hffkit.media.files import is_video
from hffkit.sources.listing import subfolders

QUALITIES = ("raw", "c23", "c40")  # as published; raw is called c0 in the authors' scripts
PAPER_CLASSES = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "Real")
METHODS = tuple(row.name for row in FFPP if row.is_fake)
_FOLDERS = {
    "Real": "original_sequences/youtube",
    "Real-actors": "original_sequences/actors",
} | {name: f"manipulated_sequences/{name}" for name in METHODS}
_CROPPED_FOLDERS = {"Real": "real"} | {name: name for name in PAPER_CLASSES if name != "Real"}


@dataclass(frozen=True, slots=True)
class FfppOptions:
    """What only FaceForensics++ has."""

    qualities: tuple[str, ...] = ("c23",)
    methods: tuple[str, ...] = ()  # classes by name; empty: those that --real and --fake leave
    detect_on: str | None = None  # quality whose real videos are looked at for faces
    is_paired: bool = False  # a video gives its frames in all the qualities or in none
    masks: bool = False  # and the mask of a forgery with them


@dataclass(frozen=True, slots=True)
class Found:
    """A video of the tree."""

    path: str
    cls: str
    quality: str
    stem: str
    is_cropped: bool = False


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a tree keeps its classes."""

    start: str
    folders: Mapping[str, str]
    is_cropped: bool = False

    def folder(self, name: str) -> str:
        """Return the folder of a class, relative to the root."""
        return self.start + self.folders.get(name, name)


@dataclass(slots=True)
class Tree:
    """What a tree holds of the wanted classes and qualities."""

    videos: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def wanted_of(ffpp: FfppOptions, *, is_fake: bool) -> tuple[str, ...]:
    """Return what is read of a class: the qualities, and the masks where these are wanted."""
    return (*ffpp.qualities, *((MASKS,) if ffpp.masks and is_fake else ()))


def look(root: Path, classes: ClassTable, ffpp: FfppOptions, *, must_exist: bool) -> Tree:
    """Return the videos of the layout that `root` has."""
    present = subfolders(root)
    if {"original_sequences", "manipulated_sequences"} & set(present):
        return _look_in(root, _Layout("", _FOLDERS), classes, ffpp, must_exist=must_exist)
    start = "face/" if "face" in present else ""
    if start or _holds_crops(root):
        layout = _Layout(start, _CROPPED_FOLDERS, is_cropped=True)
        return _look_in(root, layout, classes, ffpp, must_exist=must_exist)
    is_inside = {"youtube", "actors", *METHODS} & set(present)
    raise CorpusError(
        f"{root}: no FaceForensics++ tree. Looked for original_sequences/, "
        "manipulated_sequences/ or face/ in it; found "
        f"{', '.join(present) or 'no folder'}."
        + (" Pass the folder above as --src." if is_inside else "")
    )


def _holds_crops(root: Path) -> bool:
    """Tell whether class folders hold QUALITY/VIDEO right away, without videos/ or images/."""
    return any(
        path.name not in ("videos", "images")
        for folder in _CROPPED_FOLDERS.values()
        for quality in QUALITIES
        for path in sorted((root / folder / quality).glob("*/"))
    )


def _look_in(
    root: Path, layout: _Layout, classes: ClassTable, ffpp: FfppOptions, *, must_exist: bool
) -> Tree:
    tree = Tree()
    missing: dict[str, list[str]] = defaultdict(list)
    for name in classes.names:
        for quality in wanted_of(ffpp, is_fake=classes[name].is_fake):
            found = list(_videos_in(root, layout, name, quality))
            tree.videos += [
                Found(path, name, quality, stem, layout.is_cropped) for path, stem in found
            ]
            if not found and must_exist:
                raise CorpusError(_missing(root, layout, name, quality, ffpp))
            if not found:
                missing[quality].append(name)
    if not tree.videos:
        raise CorpusError(_missing(root, layout, classes.names[0], ffpp.qualities[0], ffpp))
    if ffpp.is_paired:
        _refuse_no_partner(root, layout, tree, ffpp)
    tree.notes += [f"no {quality} of {', '.join(names)}." for quality, names in missing.items()]
    return tree


def _refuse_no_partner(root: Path, layout: _Layout, tree: Tree, ffpp: FfppOptions) -> None:
    """Raise CorpusError if not one video is there in one of the qualities, or not one mask."""
    there = {video.quality for video in tree.videos}
    for quality in wanted_of(ffpp, is_fake=True):
        if quality not in there:
            classes = sorted({video.cls for video in tree.videos}, key=lambda cls: cls == "Real")
            raise CorpusError(_missing(root, layout, classes[0], quality, ffpp))


def _missing(root: Path, layout: _Layout, name: str, quality: str, ffpp: FfppOptions) -> str:
    """Say which folder was looked for, and what is there or may be made."""
    here = root / layout.folder(name)
    found = subfolders(here) if here.is_dir() else []
    there = [plain_quality(folder) for folder in found if folder != MASKS]
    wanted = here / quality if layout.is_cropped else here / quality / "videos"
    better = ffpp.qualities[0]
    if quality == MASKS:
        cure = "Download the masks or leave out --masks"
    elif ffpp.is_paired and quality != better in there and not layout.is_cropped:
        root_text = shlex.quote(str(root))
        cure = (
            f"Download {quality}, or make it: `hffkit degrade {root_text} --quality {better} "
            f"--op h264:{rate_factor(quality)} --out DIR`, then `cp -r DIR/*_sequences {root_text}`"
        )
    else:
        is_other = there and not ffpp.is_paired
        cure = f"Download {quality}" + (f" or pass --quality {there[0]}" if is_other else "")
    return f"{wanted}: no video there. {cure}."


def _videos_in(root: Path, layout: _Layout, name: str, quality: str) -> Iterator[tuple[str, str]]:
    """Yield (path, stem) of the videos or frame folders of one class and quality."""
    for spelling in ("raw", "c0") if quality == "raw" else (quality,):
        here = root / layout.folder(name) / spelling
        places = [here] if layout.is_cropped else [here / "videos", here / "images"]
        for place in (place for place in places if place.is_dir()):
            found = [
                (path.relative_to(root).as_posix(), path.stem if path.is_file() else path.name)
                for path in sorted(place.iterdir())
                if (path.is_file() and is_video(path.name)) or path.is_dir()
            ]
            if found:
                yield from found
                return


def pair_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the two qualities of --pair, the better one first.

    Raises
    ------
    ArgumentError
        If they are not two, or in another order.
    UnknownNameError
        If one is no quality.
    """
    pair = tuple(plain_quality(name) for name in names)
    crfs = [rate_factor(quality) for quality in pair]
    if len(pair) != 2 or crfs[0] >= crfs[1]:
        raise ArgumentError(
            "--pair takes two qualities, the better one first, such as c23,c40; got "
            f"{','.join(names)}."
        )
    return pair


def plain_quality(name: str) -> str:
    """Return a quality as it is called in downloads: the authors' scripts say c0 for raw."""
    return "raw" if name == "c0" else name


def rate_factor(quality: str) -> int:
    """Return the rate factor that a quality is named by; `hffkit degrade` makes c30 and others."""
    match = re.fullmatch(r"raw|c(\d{1,2})", quality)
    if match is None:
        raise UnknownNameError("quality", quality, QUALITIES)
    return int(match[1] or 0)


def lenders(root: Path, ffpp: FfppOptions) -> dict[tuple[str, str], str]:
    """Return the real videos of the --detect-on quality by (class, name)."""
    if ffpp.detect_on is None:
        return {}
    layout = _Layout("", _FOLDERS)
    lenders = {
        (name, stem): path
        for name in ("Real", "Real-actors")
        for path, stem in _videos_in(root, layout, name, ffpp.detect_on)
    }
    if not lenders:
        raise CorpusError(_missing(root, layout, "Real", ffpp.detect_on, ffpp))
    return lenders
