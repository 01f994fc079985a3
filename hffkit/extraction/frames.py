"""Which frames of a video family become samples."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hffkit.errors import ArgumentError
from hffkit.manifest.samples import Split
from hffkit.media.spacing import evenly

# 70 frames of each of the 140 real test videos would give 9,800 of the paper's 10,000 faces.
PAPER_REAL, PAPER_FAKE = 75, 20
# Cao et al.: of each video at most these, in training and in testing. They take the first ones of
# an unsorted listing; here they are spaced evenly, as all are.
CAO_TRAIN, CAO_HELD_OUT = 270, 140


@dataclass(frozen=True, slots=True)
class FramePlan:
    """A way to choose frames: evenly spaced ones, all, or every k-th; never the first N.

    The frames of the fakes are a subset of the real video's, over the numbers all of them have.
    """

    way: Literal["even", "every"]
    real: int  # how many frames for "even", k for "every"
    fake: int
    held_out: int | None = None  # how many of val and test, real and fake alike; None: as train

    @classmethod
    def parse(cls, text: str) -> "FramePlan":
        """Return the plan written as N, REAL/FAKE, all, every:K, paper (75/20) or cao (270)."""
        if text == "paper":
            return cls("even", PAPER_REAL, PAPER_FAKE)
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
                f"`frames` {text}: fakes take a subset of the real video's frames, so FAKE must be "
                "at most REAL."
            )
        return cls(way, numbers[0], numbers[-1])

    def choose(self, numbers: Sequence[int], split: Split) -> tuple[list[int], list[int]]:
        """Return the frames of the real videos and those of the fakes.

        Parameters
        ----------
        numbers : sequence of int
            Frame numbers that every video of the family has, ascending.
        split : {"train", "val", "test"}
            The one that the family is in.
        """
        if self.way == "every":
            real = list(numbers[:: self.real])
            return real, real
        if self.held_out is not None and split != "train":
            real = evenly(numbers, self.held_out)
            return real, real
        real = evenly(numbers, self.real)
        return real, evenly(real, self.fake)
