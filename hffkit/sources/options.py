"""Options that several sources share; those of one source are declared beside its reader."""

import re
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from hffkit.errors import ArgumentError
from hffkit.extraction.frames import FramePlan
from hffkit.manifest.samples import SPLITS, Split
from hffkit.manifest.splits import SplitRatio
from hffkit.options import Bounds, Names, Option, Pairs, Seed, check


@dataclass(frozen=True)
class SourceOptions:
    """Options of every source."""

    source: str  # a name of SOURCES
    src: Annotated[Path, Option("Root folder of the dataset.")] = Path()
    _: KW_ONLY
    real: Annotated[Names, Option("Classes that are real.", metavar="CLASS,...")] = ()
    fake: Annotated[Names, Option("Classes that are fake.", metavar="CLASS,...")] = ()
    group_by: Annotated[
        str | None,
        Option("Keep paths with the same match, or first group, in one split.", metavar="REGEX"),
    ] = None
    split_ratio: Annotated[
        str, Option("Shares of train, val and test, unless the dataset has its own splits.")
    ] = "75/5/20"
    split: Annotated[Literal[Split, "all"], Option("Build this split only.")] = "all"
    crop: Annotated[
        Literal["face", "none"] | None,
        Option("Crop faces, or store whole images.  [default: faces of videos, whole images]"),
    ] = None
    landmarks: Annotated[
        Path | None,
        Option("A 68-point dlib predictor (.dat): blacken all outside the face.", metavar="FILE"),
    ] = None
    size: Annotated[
        int | None,
        Bounds(1, 4096),
        Option("Store native pixels (PNG, or the file itself), or pack to SIZE.", none="native"),
    ] = None
    upsample: Annotated[
        int,
        Bounds(0, 3),
        Option("Doublings before detection: 0 finds faces from 80 px, 1 from 40 px."),
    ] = 1
    accept_damaged: Annotated[
        bool, Option("Keep damaged images, as far as they can be decoded; list them all the same.")
    ] = False
    seed: Annotated[Seed, Option("Seed of all random draws.")] = 0

    def __post_init__(self) -> None:
        check(self)
        _ = self.ratio
        if self.group_by is not None:
            try:
                re.compile(self.group_by)
            except re.error as error:
                raise ArgumentError(
                    f"`group_by` '{self.group_by}' is no regular expression: {error}."
                ) from None

    @property
    def ratio(self) -> SplitRatio:
        """The shares of train, val and test that `split_ratio` names."""
        return SplitRatio.parse(self.split_ratio)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits to build."""
        return SPLITS if self.split == "all" else (self.split,)


@dataclass(frozen=True, kw_only=True)
class FolderNames(SourceOptions):
    """Options of a source whose classes are folders."""

    folders: Annotated[
        Pairs, Option("Folder of a class, if it has another name. Repeatable.", name="class")
    ] = ()


@dataclass(frozen=True, kw_only=True)
class VideoOptions(SourceOptions):
    """Options of a source that holds videos."""

    frames: Annotated[
        str,
        Option(
            "Frames per video, evenly spaced. paper (ff++ only): 90 real, 24 fake, cut to the "
            "totals of the AMTENnet paper; cao: 270 in train, 140 in val and test.",
            metavar="N|REAL/FAKE|all|every:K|paper|cao",
        ),
    ] = "32"
    boxes: Annotated[
        Path | None, Option("Crops, {video: {frame: [x, y, size]}} in JSON, in place of detection.")
    ] = None
    ffpp_compat: Annotated[bool, Option("Crop the first detection, not the largest face.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        FramePlan.parse(self.frames)
        if self.frames == "paper" and self.source != "ff++":
            raise ArgumentError(
                "`frames` paper names totals of FaceForensics++: only ff++ has them."
            )
        if self.boxes is not None and self.crop == "none":
            raise ArgumentError("`boxes` gives crops of videos: not for `crop` none or images.")
