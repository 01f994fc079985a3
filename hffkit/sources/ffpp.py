"""FaceForensics++ and DeepFakeDetection: families, groups and splits of their videos."""

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources

from hffkit.errors import CorpusError
from hffkit.extraction.units import Family, Video
from hffkit.manifest.classes import FFPP, ClassTable
from hffkit.manifest.failures import Failure
from hffkit.manifest.pairs import MASKS
from hffkit.manifest.samples import Split
from hffkit.manifest.splits import assign_splits
from hffkit.media.files import twins
from hffkit.options import Names
from hffkit.sources.ffpp_layout import PAPER_CLASSES, FoundVideo
from hffkit.sources.ffpp_tree import (
    FfppOptions,
    find_videos,
    lenders,
    rate_factor,
    wanted_of,
)
from hffkit.sources.folders import selected
from hffkit.sources.listing import Listing, group_of
from hffkit.sources.options import SourceOptions
from hffkit.wording import counted

DFD_CLASSES = ("DeepFakeDetection", "Real-actors")


@dataclass(frozen=True, slots=True)
class _Name:
    """The parts of a video's name."""

    target: str  # name of the original that it is or derives from
    group: str
    split: Split | None  # None: not in the official lists


def official_pairs() -> dict[str, tuple[str, Split]]:
    """Return (group, split) of the 1000 originals by name, from the official lists.

    A group is a pair of originals with their forgeries: "000+003".
    """
    text = resources.files("hffkit.manifests").joinpath("ffpp.json").read_text("utf-8")
    splits: dict[Split, list[str]] = json.loads(text)
    return {
        video: (pair, split)
        for split, pairs in splits.items()
        for pair in pairs
        for video in pair.split("+")
    }


def read_ffpp(options: FfppOptions, default: Names = PAPER_CLASSES) -> Listing:
    """List the videos of a FaceForensics++ tree: of the named classes, or of those by default."""
    named = bool(options.real or options.fake or options.methods)
    classes = selected(FFPP, options)
    if options.methods or not named:
        classes = classes.only(options.methods or default)
    videos, notes = find_videos(classes, options, must_exist=named)
    _refuse_twins(videos)
    if any(video.cls in DFD_CLASSES for video in videos):
        notes.append(
            "DeepFakeDetection has no official splits. They are drawn by target actor, so a face "
            "that is put on actors of two splits is in both."
        )
    notes += _same_files(videos, options)
    names, failures = _names(videos, options)
    videos = sorted(videos, key=lambda found: _order(found, classes))
    lent = lenders(options)
    if options.pair:
        wanted = {path for path, name in names.items() if name.split in options.splits}
        unpaired = dict(_unpaired([v for v in videos if v.path in wanted], options, classes))
        failures += [failure for failure in unpaired.values() if failure is not None]
        # A real video without its partner gives no sample, but faces are still detected in it.
        best = (v for v in videos if v.path in unpaired and v.quality == options.levels[0])
        best = (v for v in best if not (classes[v.cls].is_fake or v.is_cropped))
        lent = {(v.cls, v.stem): v.path for v in best} | lent
        videos = [video for video in videos if video.path not in unpaired]
    families: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        name = names.get(video.path)
        if name is not None and name.split in options.splits:
            families[name.target].append(_video(video, name, classes))
    units = [_family(members, lent, options) for _, members in sorted(families.items())]
    if not units and not failures:
        raise CorpusError(f"{options.src}: no video in split {', '.join(options.splits)}.")
    return Listing(classes, tuple(units), tuple(failures), tuple(notes))


def read_dfd(options: FfppOptions) -> Listing:
    """List the actors' videos of DeepFakeDetection and their forgeries."""
    return read_ffpp(options, DFD_CLASSES)


def _refuse_twins(videos: Sequence[FoundVideo]) -> None:
    """Raise CorpusError if a video is there twice."""
    paths: dict[tuple[str, str, str], str] = {}
    for video in videos:
        path = paths.setdefault((video.quality, video.cls, video.stem), video.path)
        if path != video.path:
            raise CorpusError(f"{path} and {video.path} are the same video. Keep one of them.")


def _same_files(videos: Sequence[FoundVideo], options: FfppOptions) -> Iterator[str]:
    """Yield a note on videos that are one file with several names."""
    same = twins(options.src, (video.path for video in videos))
    for path, other in itertools.islice(same.items(), 1):
        yield f"{counted(len(same), 'video')} with the file of another, such as {path} of {other}."


def _unpaired(
    videos: Sequence[FoundVideo], options: FfppOptions, classes: ClassTable
) -> Iterator[tuple[str, Failure | None]]:
    """Yield the path of each video without all of its mates, and one failure for each of them.

    A mask is no failure if its forgery is missing in every quality.
    """
    mates: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for video in videos:
        mates[video.cls, video.stem][video.quality] = video.path
    for (cls, _), paths in mates.items():
        wanted = wanted_of(options, is_fake=classes[cls].is_fake)
        missing = [quality for quality in wanted if quality not in paths]
        if missing:
            lead = next((path for quality, path in paths.items() if quality != MASKS), None)
            reason = f"no {' and no '.join(missing)} of it"
            for path in paths.values():
                yield path, Failure("unpaired", path, None, reason) if path == lead else None


def _names(
    videos: Iterable[FoundVideo], options: SourceOptions
) -> tuple[dict[str, _Name], list[Failure]]:
    """Parse the names of videos; return them by path, and failures for unknown names."""
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


def _youtube_name(video: FoundVideo, official: Mapping[str, tuple[str, Split]]) -> _Name | None:
    pattern = r"(\d{3})" if video.cls == "Real" else r"(\d{3})_(\d{3})"
    match = re.fullmatch(pattern, video.stem)
    if not match or any(part not in official for part in match.groups()):
        return None
    target = match.group(1)
    group, split = official[target]
    if len({official[part][0] for part in match.groups()}) > 1:
        return None  # a forgery across two official pairs
    return _Name(target, group, split)


def _actors_name(video: FoundVideo) -> _Name | None:
    """Parse ACTOR__SCENE or TARGET_SOURCE__SCENE__ID."""
    match = re.fullmatch(r"(\d\d)(?:_\d\d)?__(.+?)(?:__[A-Z0-9]{8})?", video.stem)
    if not match:
        return None
    actor, scene = match.groups()
    return _Name(f"{actor}__{scene}", f"actor-{actor}", None)


def _with_open_splits(
    names: dict[str, _Name], videos: Iterable[FoundVideo], options: SourceOptions
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


def _order(video: FoundVideo, table: ClassTable) -> tuple[bool, int, bool, int, str]:
    """Return a sort key: real before fake, best quality first, masks last.

    Faces are detected in the first video of a family.
    """
    row, is_mask = table[video.cls], video.quality == MASKS
    return (row.is_fake, row.id, is_mask, 0 if is_mask else rate_factor(video.quality), video.stem)


def _video(video: FoundVideo, name: _Name, table: ClassTable) -> Video:
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
        is_mask=video.quality == MASKS,
    )


def _family(
    videos: Sequence[Video], lenders: Mapping[tuple[str, str], str], options: FfppOptions
) -> Family:
    first = videos[0]
    real = "Real-actors" if first.cls in DFD_CLASSES else "Real"
    lender = lenders.get((real, first.target_name or ""))
    return Family(tuple(videos), None if lender == first.path else lender, bool(options.pair))
