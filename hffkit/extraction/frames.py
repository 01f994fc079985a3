"""Choice of the frames of a video family that become samples."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hffkit.errors import ArgumentError
from hffkit.manifest.samples import Split
from hffkit.media.spacing import evenly

# Frames of each real and each fake video that meet the paper's totals if all have a face. With 70
# frames the 140 real test videos would give 9,800 of its 10,000 faces.
PAPER_REAL, PAPER_FAKE = 75, 20
_SPARE = 1.2  # times as many are chosen, in place of frames without a face
# Largest numbers of frames in training and testing, from Cao et al. They take the first ones of an
# unsorted listing; here they are spaced evenly.
CAO_TRAIN, CAO_HELD_OUT = 270, 140


@dataclass(frozen=True, slots=True)
class FramePlan:
    """Rule that chooses frames: a number of evenly spaced ones, or every k-th.

    The frames of fakes are a subset of those of the real video.
    """

    way: Literal["even", "every"]
    real: int  # number of frames for "even", k for "every"
    fake: int
    held_out: int | None = None  # number of frames in val and test, real and fake; None: as train

    @classmethod
    def parse(cls, text: str) -> "FramePlan":
        """Parse N, REAL/FAKE, all, every:K, paper (90/24) or cao (270 and 140).

        The plan of the paper has spare frames: `trim.surplus` leaves 75/20 of them, or fewer.
        """
        if text == "paper":
            return cls("even", round(_SPARE * PAPER_REAL), round(_SPARE * PAPER_FAKE))
        if text == "cao":
            return cls("even", CAO_TRAIN, CAO_TRAIN, CAO_HELD_OUT)
        if text == "all":
            return cls("every", 1, 1)
        match = re.fullmatch(r"every:(\d+)|(\d+)(?:/(\d+))?", text)
        numbers = [int(part) for part in match.groups() if part] if match else []
        if not match or 0 in numbers:
            raise ArgumentError(
                f"`frames` must be N, REAL/FAKE, all, every:K, paper or cao, got {text!r}."
            )
        way: Literal["even", "every"] = "every" if match.group(1) else "even"
        if numbers[-1] > numbers[0]:
            raise ArgumentError(
                f"`frames` {text}: FAKE must be at most REAL, because fakes take a subset of the "
                "real video's frames."
            )
        return cls(way, numbers[0], numbers[-1])

    def choose(self, numbers: Sequence[int], split: Split) -> tuple[list[int], list[int]]:
        """Choose the frames of the real videos and those of the fakes of a family in `split`.

        `numbers` are those of the frames that all its videos have, ascending.
        """
        if self.way == "every":
            real = list(numbers[:: self.real])
            return real, real
        if self.held_out is not None and split != "train":
            real = evenly(numbers, self.held_out)
            return real, real
        real = evenly(numbers, self.real)
        return real, evenly(real, self.fake)
