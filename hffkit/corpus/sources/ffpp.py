"""FaceForensics++ and its DeepFakeDetection part, in the layouts that people hold it in.

- official: original_sequences/{youtube,actors} and manipulated_sequences/METHOD, each with
  QUALITY/videos or QUALITY/images;
- cropped (Cao et al.): face/CLASS/QUALITY/VIDEO/N.png.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

from hffkit.corpus.sources.folders import selected
from hffkit.corpus.sources.listing import (
    Listing,
    SourceOptions,
    group_of,
    is_video,
    subfolders,
)
from hffkit.corpus.units import Family, Video
from hffkit.errors import CorpusError, UnknownNameError
from hffkit.manifest.classes import FFPP, ClassTable
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Split
from hffkit.manifest.splits import assign_splits

QUALITIES = ("raw", "c23", "c40")  # as published; raw is called c0 in the authors' scripts
PAPER_CLASSES = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "Real")
DFD_CLASSES = ("DeepFakeDetection", "Real-actors")
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


@dataclass(frozen=True, slots=True)
class _Name:
    """A video's name taken apart."""

    target: str  # the original it is, or derives from
    group: str
    split: Split | None  # None: not in the official lists


@dataclass(frozen=True, slots=True)
class _Found:
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
class _Tree:
    """What a tree holds of the wanted classes and qualities."""

    videos: list[_Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def official_pairs() -> dict[str, tuple[str, Split]]:
    """Return (group, split) of each of the 1000 originals, from the official lists.

    A group is the pair whose two videos and forgeries belong together: "000+003".
    """
    text = resources.files("hffkit.manifests").joinpath("ffpp.json").read_text("utf-8")
    splits: dict[Split, list[str]] = json.loads(text)
    return {
        video: (pair, split)
        for split, pairs in splits.items()
        for pair in pairs
        for video in pair.split("+")
    }


def read_ffpp(options: SourceOptions, ffpp: FfppOptions) -> Listing:
    """List the wanted classes, those of the paper by default."""
    return _read(options, ffpp, PAPER_CLASSES)


def read_dfd(options: SourceOptions, ffpp: FfppOptions) -> Listing:
    """List the actors' videos and their forgeries (DeepFakeDetection)."""
    return _read(options, ffpp, DFD_CLASSES)


def _read(options: SourceOptions, ffpp: FfppOptions, default: Sequence[str]) -> Listing:
    for quality in ffpp.qualities:
        _crf(quality)
    named = bool(options.real or options.fake or ffpp.methods)
    classes = selected(FFPP, options)
    if ffpp.methods or not named:
        classes = classes.only(ffpp.methods or default)
    tree = _look(options.root, classes, ffpp, must_exist=named)
    _refuse_twins(tree)
    names, failures = _names(tree.videos, options)
    families: dict[str, list[Video]] = defaultdict(list)
    for video in sorted(tree.videos, key=lambda found: _order(found, classes)):
        name = names.get(video.path)
        if name is not None and name.split in options.splits:
            families[name.target].append(_video(video, name, classes))
    lenders = _lenders(options.root, ffpp)
    units = [_family(videos, lenders) for _, videos in sorted(families.items())]
    if not units and not failures:
        raise CorpusError(f"{options.root}: no video in split {', '.join(options.splits)}.")
    notes = [*tree.notes, *_unofficial(tree)]
    return Listing(classes, tuple(units), tuple(failures), tuple(notes))


def _refuse_twins(tree: _Tree) -> None:
    """Raise CorpusError if two files are the same video."""
    paths: dict[tuple[str, str, str], str] = {}
    for video in tree.videos:
        path = paths.setdefault((video.quality, video.cls, video.stem), video.path)
        if path != video.path:
            raise CorpusError(f"{path} and {video.path} are the same video. Keep one of them.")


def _unofficial(tree: _Tree) -> Iterator[str]:
    if any(video.cls in DFD_CLASSES for video in tree.videos):
        yield (
            "DeepFakeDetection has no official splits: these are by target actor, and a face "
            "lent to actors of two splits is in both."
        )


def _look(root: Path, classes: ClassTable, ffpp: FfppOptions, *, must_exist: bool) -> _Tree:
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
) -> _Tree:
    tree = _Tree()
    missing: dict[str, list[str]] = defaultdict(list)
    for name in classes.names:
        for quality in ffpp.qualities:
            found = list(_videos_in(root, layout, name, quality))
            tree.videos += [
                _Found(path, name, quality, stem, layout.is_cropped) for path, stem in found
            ]
            if not found and must_exist:
                raise CorpusError(_missing(root, layout, name, quality))
            if not found:
                missing[quality].append(name)
    if not tree.videos:
        raise CorpusError(_missing(root, layout, classes.names[0], ffpp.qualities[0]))
    tree.notes += [f"no {quality} of {', '.join(names)}." for quality, names in missing.items()]
    return tree


def _missing(root: Path, layout: _Layout, name: str, quality: str) -> str:
    """Say which folder was looked for, and which quality is there."""
    here = root / layout.folder(name)
    there = [folder for folder in subfolders(here) if folder != "masks"] if here.is_dir() else []
    wanted = here / quality if layout.is_cropped else here / quality / "videos"
    cure = f"Download {quality}"
    if there:
        cure += f" or pass --quality {plain_quality(there[0])}"
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


def _names(
    videos: Iterable[_Found], options: SourceOptions
) -> tuple[dict[str, _Name], list[Failure]]:
    """Return the name of each video by its path, and those whose names mean nothing."""
    official = official_pairs()
    names: dict[str, _Name] = {}
    failures = []
    for video in videos:
        is_actor = video.cls in DFD_CLASSES
        name = _actors_name(video) if is_actor else _youtube_name(video, official)
        if name is None:
            reason = f"{video.stem!r} is no name of a {video.cls} video in the official lists"
            failures.append(Failure("unreadable", video.path, None, reason))
        else:
            group = group_of(video.path, options.group_by) or name.group
            names[video.path] = replace(name, group=group)
    return _with_open_splits(names, videos, options), failures


def _youtube_name(video: _Found, official: Mapping[str, tuple[str, Split]]) -> _Name | None:
    pattern = r"(\d{3})" if video.cls == "Real" else r"(\d{3})_(\d{3})"
    match = re.fullmatch(pattern, video.stem)
    if not match or any(part not in official for part in match.groups()):
        return None
    target = match.group(1)
    group, split = official[target]
    if len({official[part][0] for part in match.groups()}) > 1:
        return None  # a forgery across two official pairs
    return _Name(target, group, split)


def _actors_name(video: _Found) -> _Name | None:
    """Take apart ACTOR__SCENE, or TARGET_SOURCE__SCENE__ID."""
    match = re.fullmatch(r"(\d\d)(?:_\d\d)?__(.+?)(?:__[A-Z0-9]{8})?", video.stem)
    if not match:
        return None
    actor, scene = match.groups()
    return _Name(f"{actor}__{scene}", f"actor-{actor}", None)


def _with_open_splits(
    names: dict[str, _Name], videos: Iterable[_Found], options: SourceOptions
) -> dict[str, _Name]:
    members = [
        (names[video.path].group, video.cls)
        for video in videos
        if video.path in names and names[video.path].split is None
    ]
    splits = assign_splits(members, options.ratio, seed=options.seed)
    return {
        path: name if name.split else replace(name, split=splits[name.group])
        for path, name in names.items()
    }


def plain_quality(name: str) -> str:
    """Return a quality as it is called in downloads: the authors' scripts say c0 for raw."""
    return "raw" if name == "c0" else name


def _crf(quality: str) -> int:
    """Return the rate factor that a quality is named by; `hffkit degrade` makes c30 and others."""
    match = re.fullmatch(r"raw|c(\d{1,2})", quality)
    if match is None:
        raise UnknownNameError("quality", quality, QUALITIES)
    return int(match[1] or 0)


def _order(video: _Found, table: ClassTable) -> tuple[bool, int, int, str]:
    """Real videos first, best quality first: the first one is looked at for faces."""
    row = table[video.cls]
    return (row.is_fake, row.id, _crf(video.quality), video.stem)


def _video(video: _Found, name: _Name, table: ClassTable) -> Video:
    if name.split is None:
        raise ValueError(f"{video.path} has no split")
    return Video(
        path=video.path,
        key=f"ff++/{video.quality}/{video.cls}/{video.stem}",
        cls=video.cls,
        split=name.split,
        group=name.group,
        is_fake=table[video.cls].is_fake,
        name=video.stem,
        target_name=name.target,
        is_cropped=video.is_cropped,
    )


def _lenders(root: Path, ffpp: FfppOptions) -> dict[tuple[str, str], str]:
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
        raise CorpusError(_missing(root, layout, "Real", ffpp.detect_on))
    return lenders


def _family(videos: Sequence[Video], lenders: Mapping[tuple[str, str], str]) -> Family:
    first = videos[0]
    real = "Real-actors" if first.cls in DFD_CLASSES else "Real"
    lender = lenders.get((real, first.target_name or ""))
    return Family(tuple(videos), None if lender == first.path else lender)
