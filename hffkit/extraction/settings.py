"""Settings of a build that hold for all of its units."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hffkit.extraction.frames import FramePlan
from hffkit.faces.detection import FaceRule
from hffkit.faces.landmarks import Predictor
from hffkit.manifest.classes import ClassTable


@dataclass(frozen=True, slots=True)
class Settings:
    """How units are worked on; the same for all of one build."""

    root: Path
    classes: ClassTable
    plan: FramePlan
    rule: FaceRule
    crop: Literal["face", "none"] | None = None  # None: faces of videos, whole images
    size: int | None = None  # px of packed samples; None keeps native pixels
    boxes_file: Path | None = None
    detect_each: bool = False  # every video by its own detection
    outline: Predictor | None = None  # makes black what lies outside of a face's outline
