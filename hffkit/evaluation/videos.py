"""Scores and decisions of videos from those of their frames."""

from dataclasses import dataclass, replace

import numpy as np

from hffkit.arrays import Bools, Floats64, Ints
from hffkit.runs.scores import Decisions, Scored, fake_ids


@dataclass(frozen=True, slots=True)
class _Videos:
    frames: Ints  # (F,) places of the frames in the scored samples
    owners: Ints  # (F,) the video of each frame, 0..V-1
    first: Ints  # (V,) place of the first frame of each video

    def sums(self, values: Floats64) -> Floats64:
        """Return the sums (V, ...) of the frames' values (F, ...)."""
        total = np.zeros((len(self.first), *values.shape[1:]))
        np.add.at(total, self.owners, values)
        return total

    def means(self, values: Floats64) -> Floats64:
        """Return the means (V, C) of the frames' values (F, C)."""
        return self.sums(values) / np.bincount(self.owners)[:, None]


@dataclass(frozen=True, slots=True)
class FileScores:
    """The score of each file: of an image, and of a video the mean of its frames' scores."""

    scores: Floats64  # (F,)
    is_fake: Bools  # (F,)
    groups: tuple[str, ...]  # (F,)

    def largest(self, values: Floats64, *, of_fake: bool) -> Floats64:
        """Return the largest value (F,) of the fake, or the real, files of each group with some."""
        largest: dict[str, float] = {}
        for place in np.flatnonzero(self.is_fake == of_fake).tolist():
            group, value = self.groups[place], float(values[place])
            largest[group] = max(largest.get(group, value), value)
        return np.array(list(largest.values()), np.float64)


def score_files(scored: Scored) -> FileScores:
    """Return the scores of files, as `hffkit predict` scores them: images, then videos."""
    scores, videos = scored.scores, _videos(scored)
    images = np.array([n for n, video in enumerate(scored.videos) if video is None], np.int64)
    means, places = scores[images], images
    if videos is not None:
        means = np.concatenate((means, videos.means(scores[videos.frames, None])[:, 0]))
        places = np.concatenate((places, videos.first))
    rows = scored.subset(places)
    return FileScores(means, rows.is_fake, rows.groups)


def mean_over_videos(scored: Scored) -> Scored | None:
    """Return one row per video with the mean probabilities of its frames; None if all are images.

    Frames of one video have the same `videos` entry, true class and group. Rows are in the order
    of the videos' first frames, and their keys are the names of the videos.
    """
    videos = _videos(scored)
    if videos is None:
        return None
    means = videos.means(scored.probabilities[videos.frames].astype(np.float64))
    rows = scored.subset(videos.first)
    names = tuple(name for name in rows.videos if name is not None)
    return replace(rows, probabilities=means.astype(np.float32), keys=names, margins=None)


def vote_over_videos(scored: Scored) -> Decisions | None:
    """Return the majority decision of the frames of each video; None if all are images.

    Each frame votes for its most probable class, and for fake if its score is 0.5 or more. The
    largest mean probability decides between classes with equally many votes; a mean score of 0.5
    or more is fake if as many frames are fake as real. With margins their mean decides both: 0 or
    more is fake. Videos and their order are those of `mean_over_videos`.
    """
    videos = _videos(scored)
    if videos is None:
        return None
    rows = scored.subset(videos.first)
    votes = videos.sums(np.eye(len(scored.classes.names))[scored.predicted[videos.frames]])
    scores = scored.scores[videos.frames]
    n_frames = np.bincount(videos.owners)
    if scored.margins is None:
        lean = videos.means(scored.probabilities[videos.frames].astype(np.float64))
        towards_fake = videos.sums(scores) / n_frames - 0.5
    else:
        towards_fake = videos.sums(scored.margins[videos.frames])
        lean = np.where(fake_ids(scored.classes), towards_fake[:, None], -towards_fake[:, None])
    leads = votes == votes.max(axis=1, keepdims=True)
    predicted = np.argmax(np.where(leads, lean, -np.inf), axis=1).astype(np.int64)
    ahead = 2 * videos.sums((scores >= 0.5).astype(np.float64)) - n_frames
    called_fake = np.where(ahead == 0, towards_fake >= 0, ahead > 0)
    return Decisions(rows.labels, predicted, rows.is_fake, called_fake, rows.groups, rows.methods)


def _videos(scored: Scored) -> _Videos | None:
    """Return the videos of frames; frames of two groups or classes are never of one video."""
    rows = list(zip(scored.videos, scored.labels.tolist(), scored.groups, strict=True))
    frames = [place for place, (video, _, _) in enumerate(rows) if video is not None]
    if not frames:
        return None
    numbers = {row: n for n, row in enumerate(dict.fromkeys(rows[place] for place in frames))}
    owners = np.array([numbers[rows[place]] for place in frames], np.int64)
    first = np.unique(owners, return_index=True)[1]
    places = np.array(frames, np.int64)
    return _Videos(places, owners, places[first])
