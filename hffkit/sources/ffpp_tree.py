"""Search for the videos of FaceForensics++ in its two layouts.

- official: original_sequences/{youtube,actors} and manipulated_sequences/METHOD, each with
  QUALITY/videos or QUALITY/images;
- cropped (Cao et al.): face/CLASS/QUALITY/VIDEO/N.png.

In both, masks of forgeries are stored like one more quality, `masks`.
"""

import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from hffkit.errors import ArgumentError, CorpusError, UnknownNameError
from hffkit.manifest.classes import FFPP, ClassTable
from hffkit.manifest.pairs import MASKS
from hffkit.media.files import is_video
from hffkit.options import Names, Option
from hffkit.sources.listing import folders_in, subfolders
from hffkit.sources.options import VideoOptions

QUALITIES = ("raw", "c23", "c40")  # as published; raw is called c0 in the authors' scripts
PAPER_CLASSES = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "Real")
METHODS = tuple(row.name for row in FFPP if row.is_fake)
SEQUENCES = ("original_sequences", "manipulated_sequences")
_FOLDERS = {
    "Real": "original_sequences/youtube",
    "Real-actors": "original_sequences/actors",
} | {name: f"manipulated_sequences/{name}" for name in METHODS}
CROPPED_FOLDERS = {"Real": "real"} | {name: name for name in PAPER_CLASSES if name != "Real"}


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


@dataclass(frozen=True, slots=True)
class Found:
    """A video of the tree."""

    path: str  # relative to the root
    cls: str
    quality: str
    stem: str
    is_cropped: bool = False


@dataclass(frozen=True, slots=True)
class _Layout:
    """The folders of the classes in a tree."""

    root: Path
    start: str
    folders: Mapping[str, str]
    is_cropped: bool = False

    def folder(self, name: str) -> Path:
        """Return the folder of a class."""
        return self.root / (self.start + self.folders.get(name, name))

    def videos(self, name: str, quality: str) -> list[Found]:
        """Return the videos or frame folders of one class and quality, sorted by path."""
        for spelling in ("raw", "c0") if quality == "raw" else (quality,):
            here = self.folder(name) / spelling
            for place in [here] if self.is_cropped else [here / "videos", here / "images"]:
                paths = sorted(place.iterdir()) if place.is_dir() else []
                found = [
                    Found(
                        path.relative_to(self.root).as_posix(),
                        name,
                        quality,
                        path.name if path.is_dir() else path.stem,
                        self.is_cropped,
                    )
                    for path in paths
                    if path.is_dir() or (path.is_file() and is_video(path.name))
                ]
                if found:
                    return found
        return []


def wanted_of(options: FfppOptions, *, is_fake: bool) -> Names:
    """Return the folders to read of a class: the qualities, and the masks of fakes if requested."""
    return (*options.levels, *((MASKS,) if options.masks and is_fake else ()))


def find_videos(
    classes: ClassTable, options: FfppOptions, *, must_exist: bool
) -> tuple[list[Found], list[str]]:
    """Return the videos of some classes, in whichever layout the root has, and notes on gaps.

    Raises
    ------
    CorpusError
        If the root has no known layout or no video, or, with `must_exist`, if a class has none.
    """
    layout = _layout_of(options.src)
    videos: list[Found] = []
    missing: dict[str, list[str]] = defaultdict(list)
    for name in classes.names:
        for quality in wanted_of(options, is_fake=classes[name].is_fake):
            found = layout.videos(name, quality)
            videos += found
            if not found and must_exist:
                raise CorpusError(_missing(layout, name, quality, options))
            if not found:
                missing[quality].append(name)
    if not videos:
        raise CorpusError(_missing(layout, classes.names[0], options.levels[0], options))
    if options.pair:
        _refuse_no_partner(layout, videos, options)
    return videos, [f"no {quality} of {', '.join(names)}." for quality, names in missing.items()]


def _layout_of(root: Path) -> _Layout:
    present = set(subfolders(root))
    if present.intersection(SEQUENCES):
        return _Layout(root, "", _FOLDERS)
    start = "face/" if "face" in present else ""
    if start or _holds_crops(root):
        return _Layout(root, start, CROPPED_FOLDERS, is_cropped=True)
    is_inside = {"youtube", "actors", *METHODS} & present
    raise CorpusError(
        f"{root}: no FaceForensics++ tree. Looked for original_sequences/, "
        f"manipulated_sequences/ or face/ in it; found {folders_in(root)}."
        + (" Pass the folder above as `src`." if is_inside else "")
    )


def _holds_crops(root: Path) -> bool:
    """Test for class folders with QUALITY/VIDEO, without videos/ or images/ in between."""
    return any(
        path.name not in ("videos", "images")
        for folder in CROPPED_FOLDERS.values()
        for quality in QUALITIES
        for path in sorted((root / folder / quality).glob("*/"))
    )


def _refuse_no_partner(layout: _Layout, videos: Sequence[Found], options: FfppOptions) -> None:
    """Raise CorpusError if one of the qualities has no video at all, or no fake has a mask."""
    there = {video.quality for video in videos}
    for quality in wanted_of(options, is_fake=True):
        if quality not in there:
            classes = sorted({video.cls for video in videos}, key=lambda cls: cls == "Real")
            raise CorpusError(_missing(layout, classes[0], quality, options))


def _missing(layout: _Layout, name: str, quality: str, options: FfppOptions) -> str:
    """Return the message for a missing folder: its path, and how to get its videos."""
    here = layout.folder(name)
    found = subfolders(here) if here.is_dir() else []
    there = [plain_quality(folder) for folder in found if folder != MASKS]
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
    layout = _Layout(options.src, "", _FOLDERS)
    found = {
        (name, video.stem): video.path
        for name in ("Real", "Real-actors")
        for video in layout.videos(name, quality)
    }
    if not found:
        raise CorpusError(_missing(layout, "Real", quality, options))
    return found
