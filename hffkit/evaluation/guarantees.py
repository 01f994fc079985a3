"""Thresholds with a guarantee over groups, and exact binomial bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import ArgumentError, CorpusError
from hffkit.evaluation.videos import FileScores
from hffkit.runs.decision import (
    MISTAKES,
    Guarantee,
    MistakeKind,
    confidence_text,
    per_cent,
    rounded,
    threshold_above,
)
from hffkit.wording import counted

_PARAMETERS: Mapping[MistakeKind, str] = {"false_alarm": "fpr", "miss": "fnr"}


def check_confidence(confidence: float | None, *, conformal: bool) -> None:
    """Raise ArgumentError if a confidence is asked for where shares are kept on average."""
    if conformal and confidence is not None:
        raise ArgumentError(
            "`conformal` keeps the shares on average, so there is no `confidence`. Leave out one."
        )


def n_allowed(n_groups: int, rate: float, confidence: float | None) -> int:
    """Compute the number of groups that may have a mistake at a rate; -1: too few groups.

    With a confidence it is the largest number whose exact upper bound (Clopper and Pearson) is at
    most the rate. A threshold at the score of rank `n_allowed` + 1 is an order statistic, so the
    bound holds although the threshold is chosen on the same groups (Wilks). Without a confidence
    the rate holds on average over sets of groups, by split conformal prediction.

    References
    ----------
    Clopper and Pearson 1934, The Use of Confidence or Fiducial Limits. Wilks 1941, Determination
    of Sample Sizes for Setting Tolerance Limits. Papadopoulos et al. 2002, Inductive Confidence
    Machines for Regression, for split conformal prediction.
    """
    if confidence is None:
        return math.floor(round((n_groups + 1) * rate, 9)) - 1
    from scipy.special import bdtr  # late: SciPy takes longer to load than the checks of a request

    # P(at most k of n groups fail), for k = 0, 1, ..., were the rate that of each group.
    tail = bdtr(np.arange(n_groups, dtype=np.float64), n_groups, rate)
    return int(np.count_nonzero(tail <= 1 - confidence)) - 1


def n_needed(rate: float, confidence: float | None) -> int:
    """Return the least number of groups for which some threshold keeps a rate."""
    if confidence is None:
        return math.ceil(round(1 / rate, 9)) - 1
    return math.ceil(round(math.log(1 - confidence) / math.log1p(-rate), 9))


def least_rate(n_groups: int, confidence: float | None) -> float:
    """Return the least rate that a threshold above all of `n_groups` scores keeps."""
    if confidence is None:
        return 1 / (n_groups + 1)
    return upper_bound(0, n_groups, confidence)


def upper_bound(n_failed: int, n_groups: int, confidence: float) -> float:
    """Compute the one-sided upper bound of a share, after Clopper and Pearson."""
    if n_failed >= n_groups:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(n_failed + 1, n_groups - n_failed, confidence))


def exact_interval(n_failed: int, n_groups: int) -> tuple[float, float]:
    """Compute the two-sided 95 % interval of a share, after Clopper and Pearson."""
    from scipy.special import betaincinv

    low = 0.0
    if n_failed:
        low = float(betaincinv(n_failed, n_groups - n_failed + 1, 0.025))
    return low, upper_bound(n_failed, n_groups, 0.975)


def worst_of_groups(files: FileScores, mistake: MistakeKind) -> Floats64:
    """Return the score that decides if a group has a mistake, for each group with such files.

    It is the highest of a group's real files, or the lowest of its fake ones.
    """
    if mistake == "false_alarm":
        return rounded(files.largest(files.scores, of_fake=False))
    return rounded(-files.largest(-files.scores, of_fake=True))


def count_mistakes(
    mistake: MistakeKind, worst: Floats64, threshold: float, real_below: float
) -> int:
    """Count the groups (G,) of `worst_of_groups` on which thresholds make a mistake."""
    is_wrong = worst >= threshold if mistake == "false_alarm" else worst < real_below
    return int(is_wrong.sum())


@dataclass(frozen=True, slots=True)
class Bound:
    """A rate of mistakes, and the score of each group that decides if it has one."""

    mistake: MistakeKind
    rate: float
    confidence: float | None
    worst: Floats64  # (G,) of `worst_of_groups`
    n_allowed: int  # groups that may have a mistake

    @property
    def limit(self) -> float:
        """The threshold that just keeps the rate."""
        ordered = np.sort(self.worst)
        if self.mistake == "false_alarm":
            return threshold_above(float(ordered[-1 - self.n_allowed]))
        return float(ordered[self.n_allowed])

    def guarantee(self, threshold: float, real_below: float) -> Guarantee:
        """Return the guarantee, with the mistakes that the thresholds make."""
        n = len(self.worst)
        n_wrong = count_mistakes(self.mistake, self.worst, threshold, real_below)
        bound = None if self.confidence is None else upper_bound(n_wrong, n, self.confidence)
        return Guarantee(self.mistake, self.rate, self.confidence, n, n_wrong, bound)


def bounds_of(
    files: FileScores, rates: Mapping[MistakeKind, float], confidence: float | None, where: str
) -> list[Bound]:
    """Return a bound for each rate; without a confidence they hold on average.

    Raises
    ------
    CorpusError
        If there are too few groups for a rate; the message names `where` they are.
    """
    worst = {mistake: worst_of_groups(files, mistake) for mistake in rates}
    check_counts({mistake: len(some) for mistake, some in worst.items()}, rates, confidence, where)
    return [
        Bound(mistake, rate, confidence, some, n_allowed(len(some), rate, confidence))
        for (mistake, rate), some in zip(rates.items(), worst.values(), strict=True)
    ]


def check_counts(
    n_groups: Mapping[MistakeKind, int],
    rates: Mapping[MistakeKind, float],
    confidence: float | None,
    where: str,
) -> None:
    """Raise CorpusError, which names `where` the groups are, if they are too few for a rate."""
    for mistake, rate in rates.items():
        n = n_groups[mistake]
        if n_allowed(n, rate, confidence) < 0:
            text = (
                f"{where}: {counted(n, f'{MISTAKES[mistake][0]} group')}, but "
                f"`{_PARAMETERS[mistake]}` {rate:g} {confidence_text(confidence)} needs "
                f"{n_needed(rate, confidence)}."
            )
            if n:
                least = math.ceil(1e4 * least_rate(n, confidence)) / 1e4
                text += f" The least rate that {n} can show is {least:g}."
            if confidence is not None:
                text += (
                    " Split conformal prediction, which keeps the rate on average only, needs "
                    f"{n_needed(rate, None)}."
                )
            raise CorpusError(text)


def thresholds_of(bounds: Sequence[Bound]) -> tuple[float, float]:
    """Return the least score that is fake, and the one below which scores are real.

    Raises
    ------
    CorpusError
        If more groups than a rate allows have the last score of the wrong side.
    """
    for bound in bounds:
        end = 1 if bound.mistake == "false_alarm" else 0
        if not 0 < bound.limit <= 1:
            n_there, kind = int((bound.worst == end).sum()), MISTAKES[bound.mistake][0]
            raise CorpusError(
                f"{counted(n_there, f'{kind} group')} of {len(bound.worst)} reach a score of "
                f"{end}, but {per_cent(bound.rate)} allows {bound.n_allowed}: no threshold keeps "
                "the rate. Ask for a larger one, or train a better detector."
            )
    limits = [bound.limit for bound in bounds]
    return max(limits), min(limits)
