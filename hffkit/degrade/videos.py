"""Operations on whole videos: each frame is processed, then all are encoded as H.264."""

from dataclasses import dataclass, field
from typing import Any

from hffkit.degrade.chain import AnyChain, Chain, ChainStep
from hffkit.degrade.operation import VideoSetting
from hffkit.degrade.rework import Treatment
from hffkit.errors import ArgumentError
from hffkit.json_types import JsonObject
from hffkit.media.image import Image

_CODEC, _GAP, _RATE = "h264", "gop", "fps"


@dataclass(slots=True)
class VideoTreatment:
    """The operations on each frame of one video, its encoding, and the record of both."""

    filters: Chain  # the values of `-mix` are drawn once for the video
    crf: int
    gap: int | None  # between key frames; None: x264's own
    rate: int | None  # frames per second; None: that of the source
    seed: int
    path: str  # of the video, the key of its draws
    suite: str | None  # the severity that `filters` were drawn from
    _done: tuple[JsonObject, ...] = field(default=(), init=False)

    def __call__(self, image: Image) -> Image:
        """Process one frame."""
        done = self.filters(image, seed=self.seed, key=self.path)
        self._done = done.operations
        return done.image

    @property
    def operations(self) -> list[JsonObject]:
        """The record of the operations; the ratios that codecs achieve differ between frames."""
        plain = [
            {name: value for name, value in row.items() if not name.startswith("achieved_")}
            for row in self._done
        ]
        encoding: list[dict[str, Any]] = []
        if self.rate is not None:
            encoding.append({"op": f"{_RATE}:{self.rate}", "frames_per_second": self.rate})
        if self.gap is not None:
            encoding.append({"op": f"{_GAP}:{self.gap}", "frames": self.gap})
        encoding.append({"op": f"{_CODEC}:{self.crf}", "crf": self.crf})
        suite = {} if self.suite is None else {"suite": self.suite}
        rows = (*plain, *({**row, "in_table_ix": False} for row in encoding))
        return [{**row, **suite} for row in rows]


def video_treatment(treatment: Treatment, path: str) -> VideoTreatment:
    """Return the treatment of one video.

    Raises
    ------
    ArgumentError
        If the operations do not end in one h264 with one value, or images are resized after them.
    """
    chain = treatment.chain()
    for each in _chains(treatment):
        _check(each.steps)
    if treatment.size is not None:
        raise ArgumentError("`size` is for images: whole videos keep their size.")
    drawn = chain.choose(treatment.seed, 0, path) if isinstance(chain, AnyChain) else chain
    filters = tuple(s for s in drawn.steps[:-1] if not isinstance(s.operation, VideoSetting))
    crf = int(drawn.steps[-1].value or 0)
    settings = {  # of several values of one setting the last one counts
        step.operation.code: int(step.choose(treatment.seed, place, path))
        for place, step in enumerate(drawn.steps)
        if isinstance(step.operation, VideoSetting)
    }
    suite = None if treatment.suite is None else treatment.suite.name
    gap, rate = settings.get(_GAP), settings.get(_RATE)
    return VideoTreatment(Chain(filters), crf, gap, rate, treatment.seed, path, suite)


def common_crf(treatment: Treatment) -> int | None:
    """Return the rate factor of every video; None if a suite has several."""
    factors = {int(chain.steps[-1].value or 0) for chain in _chains(treatment)}
    return factors.pop() if len(factors) == 1 else None


def _chains(treatment: Treatment) -> tuple[Chain, ...]:
    chain = treatment.chain()
    return tuple(chain.chains) if isinstance(chain, AnyChain) else (chain,)


def _check(steps: tuple[ChainStep, ...]) -> None:
    n_codecs = sum(step.operation.code == _CODEC for step in steps)
    if n_codecs != 1 or steps[-1].operation.code != _CODEC or steps[-1].value is None:
        raise ArgumentError(
            "operations on whole videos must end in one h264:CRF, such as h264:40; those before "
            "it are applied to each frame."
        )
