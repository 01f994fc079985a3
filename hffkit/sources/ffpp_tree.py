"""Options of FaceForensics++, and the search for its videos in a tree."""

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from hffkit.errors import ArgumentError, CorpusError, UnknownNameError
from hffkit.manifest.classes import ClassTable
from hffkit.manifest.pairs import MASKS
from hffkit.options import Names, Option
from hffkit.sources.ffpp_layout import CROPPED_FOLDERS, QUALITIES, FoundVideo, VideoTree, layout_of
from hffkit.sources.listing import subfolders
from hffkit.sources.options import VideoOptions


@dataclass(frozen=True, kw_only=True)
class FfppOptions(VideoOptions):
    """Options of FaceForensics++ and of its DeepFakeDetection part."""

    qualities: Annotated[
        Names, Option("Qualities to build.  [default: c23]", name="quality", metavar="raw,c23,c40")
    ] = ()
    pair: Annotated[
        Names,
        Option("Build two qualities: of each frame both, in one box, or neither.", metavar="HQ,LQ"),
    ] = ()
    masks: Annotated[bool, Option("With --pair: build masks of fakes too, in OUT-masks.")] = False
    methods: Annotated[
        Names,
        Option("Classes.  [default: the paper's, if there]", name="method", metavar="CLASS,..."),
    ] = ()
    detect_on: Annotated[
        Literal["raw", "c23", "c40", "each"] | None,
        Option("Detect faces in target videos of this quality, or in each video.  [default: best]"),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pair and self.qualities:
            raise ArgumentError("`pair` names both qualities: leave out `qualities`.")
        if self.masks and not self.pair:
            raise ArgumentError("`masks` goes with `pair`, such as c23,c40.")
        if self.pair and self.landmarks is not None:
            raise ArgumentError(
                "`landmarks` outlines each image separately, so the two of a `pair` would differ."
            )
        levels = self.levels
        for level in levels:
            rate_factor(level)
        if self.pair and (len(levels) != 2 or rate_factor(levels[0]) >= rate_factor(levels[1])):
            raise ArgumentError(
                "`pair` takes two qualities, the better one first, such as c23,c40; got "
                f"{','.join(self.pair)}."
            )

    @property
    def named_qualities(self) -> Names:
        """The qualities to build, as they were given."""
        return self.pair or self.qualities or ("c23",)

    @property
    def levels(self) -> Names:
        """The qualities to build, each once and under its published name."""
        return tuple(dict.fromkeys(map(plain_quality, self.named_qualities)))


def wanted_of(options: FfppOptions, *, is_fake: bool) -> Names:
    """Return the folders to read of a class: the qualities, and the masks of fakes if requested."""
    return (*options.levels, *((MASKS,) if options.masks and is_fake else ()))


def find_videos(
    classes: ClassTable, options: FfppOptions, *, must_exist: bool
) -> tuple[list[FoundVideo], list[str]]:
    """Return the videos of some classes, in whichever layout the root has, and notes on gaps.

    Raises
    ------
    CorpusError
        If the root has no known layout or no video, or, with `must_exist`, if a class has none.
    """
    layout = layout_of(options.src)
    videos: list[FoundVideo] = []
    missing: dict[str, list[str]] = defaultdict(list)
    for name in classes.names:
        for quality in wanted_of(options, is_fake=classes[name].is_fake):
            found = layout.videos(name, quality, is_only=options.levels == (quality,))
            videos += found
            if not found and must_exist:
                raise CorpusError(_missing(layout, name, quality, options))
            if not found:
                missing[quality].append(name)
    if not videos:
        raise CorpusError(_missing(layout, classes.names[0], options.levels[0], options))
    if options.pair:
        _refuse_no_partner(layout, videos, options)
    gaps = [f"no {quality} of {', '.join(names)}." for quality, names in missing.items()]
    return videos, [*gaps, *layout.notes(options.levels[0])]


def _refuse_no_partner(
    layout: VideoTree, videos: Sequence[FoundVideo], options: FfppOptions
) -> None:
    """Raise CorpusError if one of the qualities has no video at all, or no fake has a mask."""
    there = {video.quality for video in videos}
    for quality in wanted_of(options, is_fake=True):
        if quality not in there:
            classes = sorted({video.cls for video in videos}, key=lambda cls: cls == "Real")
            raise CorpusError(_missing(layout, classes[0], quality, options))


def _missing(layout: VideoTree, name: str, quality: str, options: FfppOptions) -> str:
    """Return the message for a missing folder: its path, and how to get its videos."""
    here = layout.folder(name)
    found = subfolders(here) if here.is_dir() else []
    there = [plain_quality(folder.lower()) for folder in found if folder != MASKS]
    wanted = here / quality if layout.is_cropped else here / quality / "videos"
    better = options.levels[0]
    if quality == MASKS:
        cure = "Download the masks, or leave out `masks`"
    elif options.pair and quality != better in there and not layout.is_cropped:
        root = shlex.quote(str(layout.root))
        cure = (
            f"Download {quality}, or make it: `hffkit degrade {root} --quality {better} "
            f"--op h264:{rate_factor(quality)} --out DIR`, then `cp -r DIR/*_sequences {root}`"
        )
    else:
        is_other = there and not options.pair
        cure = f"Download {quality}" + (f" or pass `qualities` {there[0]}" if is_other else "")
    return f"{wanted}: no video there. {cure}."


def cropped_path(cls: str, quality: str, video: str, frame: int) -> str:
    """Return the path of a crop in the cropped layout, relative to the root."""
    return f"face/{CROPPED_FOLDERS[cls]}/{quality}/{video}/{frame}.png"


def plain_quality(name: str) -> str:
    """Return the published name of a quality: the authors' scripts call raw c0."""
    return "raw" if name == "c0" else name


def rate_factor(quality: str) -> int:
    """Return the rate factor in a quality's name; `hffkit degrade` makes c30 and others."""
    match = re.fullmatch(r"raw|c(\d{1,2})", quality)
    if match is None:
        raise UnknownNameError("quality", quality, QUALITIES)
    return int(match[1] or 0)


def lenders(options: FfppOptions) -> dict[tuple[str, str], str]:
    """Return the paths of the real videos of quality `detect_on`, by (class, name)."""
    quality = options.detect_on
    if quality is None or quality == "each":
        return {}
    layout = layout_of(options.src)
    found = {
        (name, video.stem): video.path
        for name in (() if layout.is_cropped else ("Real", "Real-actors"))
        for video in layout.videos(name, quality, is_only=options.levels == (quality,))
    }
    if not found:
        raise CorpusError(_missing(layout, "Real", quality, options))
    return found
