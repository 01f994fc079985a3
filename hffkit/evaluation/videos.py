"""From frames to videos: the mean of their probabilities, or a vote."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hffkit.arrays import Floats64, Ints
from hffkit.runs.scores import Decisions, Scored, fake_ids


@dataclass(frozen=True, slots=True)
class _Clips:
    frames: Ints  # (F,) places of the frames in the scored samples
    owners: Ints  # (F,) which video each of them belongs to, 0..V-1
    first: Ints  # (V,) place of the first frame of each video
    names: tuple[str, ...]  # (V,)


def mean_over_videos(scored: Scored) -> Scored | None:
    """Return one row a video, the mean of its frames' probabilities; None if all are images.

    Frames of one video have the same `videos` entry, true class and group. Rows stand in the
    order of the videos' first frames; their keys are the names of the videos.
    """
    clips = _clips(scored)
    if clips is None:
        return None
    means = _mean(scored, clips)
    return Scored(
        scored.classes,
        scored.labels[clips.first],
        means.astype(np.float32),
        clips.names,
        tuple(scored.groups[place] for place in clips.first),
        clips.names,
    )


def vote_over_videos(scored: Scored) -> Decisions | None:
    """Return what most frames of each video were taken for; None if all are images.

    Each frame votes for its most probable class, and for fake if its score is 0.5 or more. Among
    classes with equally many votes the larger mean probability decides; between as many fake as
    real, a mean score of 0.5 or more is fake. Where there are margins, their mean decides both:
    0 or more is fake. Videos and order as of `mean_over_videos`.
    """
    clips = _clips(scored)
    if clips is None:
        return None
    n_videos = len(clips.first)
    votes = _sums(np.eye(len(scored.classes.names))[scored.predicted[clips.frames]], clips)
    leads = votes == votes.max(axis=1, keepdims=True)
    scores = scored.scores[clips.frames]
    if scored.margins is None:
        lean = _mean(scored, clips)
        towards_fake = np.bincount(clips.owners, scores, n_videos) / _sizes(clips) - 0.5
    else:
        sums = np.bincount(clips.owners, scored.margins[clips.frames], n_videos)
        towards_fake = np.asarray(sums, np.float64)
        lean = np.where(fake_ids(scored.classes), towards_fake[:, None], -towards_fake[:, None])
    predicted = np.argmax(np.where(leads, lean, -np.inf), axis=1)
    fake_votes = np.bincount(clips.owners, scores >= 0.5, n_videos)
    ahead = 2 * fake_votes - _sizes(clips)
    return Decisions(
        scored.labels[clips.first],
        predicted.astype(np.int64),
        scored.is_fake[clips.first],
        np.where(ahead == 0, towards_fake >= 0, ahead > 0),
        tuple(scored.groups[place] for place in clips.first),
    )


def _clips(scored: Scored) -> _Clips | None:
    """Return which frames make a video; two groups never share one, whatever its name."""
    found: dict[tuple[str, int, str], int] = {}
    frames: list[int] = []
    owners: list[int] = []
    first: list[int] = []
    rows = zip(scored.videos, scored.labels.tolist(), scored.groups, strict=True)
    for place, (video, label, group) in enumerate(rows):
        if video is None:
            continue
        owner = found.setdefault((video, label, group), len(found))
        if owner == len(first):
            first.append(place)
        frames.append(place)
        owners.append(owner)
    if not found:
        return None
    return _Clips(
        np.array(frames, np.int64),
        np.array(owners, np.int64),
        np.array(first, np.int64),
        tuple(video for video, _, _ in found),
    )


def _sizes(clips: _Clips) -> Ints:
    return np.bincount(clips.owners, minlength=len(clips.first)).astype(np.int64)


def _sums(values: npt.NDArray[np.floating], clips: _Clips) -> Floats64:
    total = np.zeros((len(clips.first), values.shape[1]))
    np.add.at(total, clips.owners, values)
    return total


def _mean(scored: Scored, clips: _Clips) -> Floats64:
    rows = scored.probabilities[clips.frames].astype(np.float64)
    return _sums(rows, clips) / _sizes(clips)[:, None]
