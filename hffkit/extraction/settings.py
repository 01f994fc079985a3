"""Settings of a build."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hffkit.extraction.frames import FramePlan
from hffkit.faces.detection import FaceRule
from hffkit.faces.landmarks import Predictor
from hffkit.manifest.classes import ClassTable


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that hold for all units of a build; workers receive them."""

    root: Path
    classes: ClassTable
    plan: FramePlan
    rule: FaceRule
    crop: Literal["face", "none"] | None = None  # None: faces of videos, whole images
    size: int | None = None  # side of packed samples in px; None keeps native pixels
    boxes_file: Path | None = None  # crops by video and frame, in place of detection
    detect_each: bool = False  # no video uses the boxes of another
    accept_damaged: bool = False  # damaged images become samples too
    outline: Predictor | None = None  # blackens pixels outside the outline of the face
