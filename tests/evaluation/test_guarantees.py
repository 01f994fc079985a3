"""Thresholds with a guarantee, against scipy's tests and against a known truth."""

import numpy as np
import numpy.typing as npt
import pytest
from makers.scores import scored_groups
from scipy import stats

from hffkit.errors import CorpusError, MetricError
from hffkit.evaluation.guarantees import (
    bounds_of,
    count_mistakes,
    exact_interval,
    least_rate,
    n_allowed,
    n_needed,
    thresholds_of,
    upper_bound,
    worst_of_groups,
)
from hffkit.evaluation.temperature import fit_temperature
from hffkit.evaluation.videos import FileScores, score_files
from hffkit.runs.scores import tempered


def upper_of(n_failed: int, n: int, confidence: float) -> float:
    """The one-sided upper bound by scipy's exact test."""
    test = stats.binomtest(n_failed, n, alternative="less")
    return float(test.proportion_ci(confidence, method="exact").high)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_as_many_groups_may_fail_as_the_bound_allows(rate: float, confidence: float) -> None:
    for n in (1, 5, 10, 59, 100, 299):
        most = n_allowed(n, rate, confidence)
        assert all(upper_of(k, n, confidence) <= rate for k in range(most + 1))
        assert upper_of(most + 1, n, confidence) > rate
        for failed in range(0, n + 1, max(1, n // 7)):
            expected = upper_of(failed, n, confidence)
            assert upper_bound(failed, n, confidence) == pytest.approx(expected)


def test_299_groups_show_1_per_cent_at_95_per_cent() -> None:
    assert n_needed(0.01, 0.95) == 299
    assert (n_allowed(298, 0.01, 0.95), n_allowed(299, 0.01, 0.95)) == (-1, 0)
    assert (n_needed(0.05, 0.95), n_needed(0.001, 0.95), n_needed(0.01, None)) == (59, 2995, 99)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, None])
def test_the_groups_needed_are_the_least_that_suffice(confidence: float | None) -> None:
    for rate in (0.001, 0.01, 0.03, 0.05, 0.1, 0.2, 0.5):
        n = n_needed(rate, confidence)
        assert n_allowed(n, rate, confidence) == 0
        assert n_allowed(n - 1, rate, confidence) == -1
        assert least_rate(n, confidence) <= rate * (1 + 1e-9)
        assert n == 1 or least_rate(n - 1, confidence) > rate


def test_the_interval_is_scipys_exact_one() -> None:
    for failed, n in ((0, 7), (3, 20), (20, 20), (11, 400)):
        expected = stats.binomtest(failed, n).proportion_ci(0.95, method="exact")
        assert exact_interval(failed, n) == pytest.approx(tuple(expected))


def split_of(rng: np.random.Generator, n_groups: int, *, is_fake: bool = False) -> FileScores:
    """Return groups of 1 to 5 files; the worst score of a group is uniform over 0..1."""
    sizes = rng.integers(1, 6, n_groups)
    worst = rng.random(n_groups)
    owners = np.repeat(np.arange(n_groups), sizes)
    first = np.append(True, owners[1:] != owners[:-1])
    better = rng.random(len(owners))  # of the way from the worst score to the best
    other = worst[owners] + (1 - worst[owners]) * better if is_fake else worst[owners] * better
    scores = np.where(first, worst[owners], other)
    return FileScores(scores, np.full(len(owners), is_fake), tuple(map(str, owners)))


def truths(confidence: float | None, rate: float, n_groups: int) -> npt.NDArray[np.float64]:
    """The true false-alarm rate of the threshold of each of 200 random splits."""
    found = []
    for seed in range(200):
        files = split_of(np.random.default_rng(seed), n_groups)
        bounds = bounds_of(files, {"false_alarm": rate}, confidence, "x")
        found.append(1 - thresholds_of(bounds)[0])  # the worst of a group is uniform
    return np.array(found)


@pytest.mark.parametrize(
    ("rate", "confidence", "n"), [(0.05, 0.95, 200), (0.01, 0.95, 400), (0.1, 0.8, 120)]
)
def test_the_rate_is_kept_in_the_promised_share_of_splits(
    rate: float, confidence: float, n: int
) -> None:
    found = truths(confidence, rate, n)
    assert (found <= rate).mean() >= confidence
    assert found.mean() > rate / 5  # the threshold is no higher than it must be
    # A threshold that lets the share itself through, without a bound, breaks about half of them.
    naive = []
    for seed in range(200):
        worst = worst_of_groups(split_of(np.random.default_rng(seed), n), "false_alarm")
        naive.append(1 - np.sort(worst)[-1 - int(rate * n)])
    assert (np.array(naive) <= rate).mean() < confidence - 0.1


def test_split_conformal_prediction_keeps_the_rate_on_average() -> None:
    found = truths(None, 0.1, 99)
    expected = 10 / 100  # of the rank: a beta distribution of this mean
    assert found.mean() == pytest.approx(expected, abs=3 * 0.03 / np.sqrt(200))
    assert (found <= 0.1).mean() < 0.7  # but not in nearly all splits


@pytest.mark.parametrize(
    ("rate", "allowed", "last", "n_mistakes"),
    [(0.3, 0, 0.9, 0), (0.41, 1, 0.9, 0), (0.6, 2, 0.5, 2)],
)
def test_the_threshold_is_just_above_the_first_group_that_must_be_right(
    rate: float, allowed: int, last: float, n_mistakes: int
) -> None:
    scores = np.array([0.1] * 7 + [0.5, 0.9, 0.9])
    files = FileScores(scores, np.zeros(10, bool), tuple(map(str, range(10))))
    (bound,) = bounds_of(files, {"false_alarm": rate}, 0.95, "x")
    threshold, real_below = thresholds_of([bound])
    assert bound.n_allowed == allowed
    assert threshold == real_below == np.nextafter(np.float32(last), np.float32(1))
    assert bound.guarantee(threshold, real_below).n_mistakes == n_mistakes  # ties fail together


def test_a_score_at_a_threshold_is_fake_and_one_at_the_other_is_undecided() -> None:
    worst = np.array([0.2, 0.5, 0.7])
    assert count_mistakes("false_alarm", worst, 0.5, 0.2) == 2  # from the threshold on
    assert count_mistakes("miss", worst, 0.7, 0.5) == 1  # below the other


def test_a_band_is_between_the_bounds_of_both_mistakes() -> None:
    rng = np.random.default_rng(0)
    real, fake = split_of(rng, 300), split_of(rng, 300, is_fake=True)
    files = FileScores(
        np.concatenate((real.scores, fake.scores)),
        np.concatenate((real.is_fake, fake.is_fake)),
        (*real.groups, *fake.groups),  # groups hold both
    )
    bounds = bounds_of(files, {"false_alarm": 0.05, "miss": 0.1}, 0.95, "x")
    threshold, real_below = thresholds_of(bounds)
    # Both worst scores are uniform, so the true rates are known.
    assert 0.9 < threshold < 1
    assert 0 < real_below < 0.1
    assert threshold >= 0.95
    rows = [bound.guarantee(threshold, real_below) for bound in bounds]
    for row, rate in zip(rows, (0.05, 0.1), strict=True):
        assert row.n_groups == 300
        assert row.upper_bound == pytest.approx(upper_of(row.n_mistakes, 300, 0.95))
        assert row.upper_bound is not None
        assert row.upper_bound <= rate < upper_of(row.n_mistakes + 1, 300, 0.95)


def test_kinds_that_are_far_apart_are_undecided_in_between() -> None:
    scores = np.array([0.1] * 100 + [0.9] * 100)
    files = FileScores(scores, scores > 0.5, tuple(map(str, range(200))))
    bounds = bounds_of(files, {"false_alarm": 0.05, "miss": 0.05}, 0.95, "x")
    threshold, real_below = thresholds_of(bounds)
    assert 0.1 < real_below < threshold <= 0.9


def test_too_few_groups_are_refused_with_the_number_needed() -> None:
    files = split_of(np.random.default_rng(0), 40)
    with pytest.raises(CorpusError) as caught:
        bounds_of(files, {"false_alarm": 0.01}, 0.95, "x.lmdb, val")
    assert str(caught.value) == (
        "x.lmdb, val: 40 real groups, but `fpr` 0.01 with 95 % confidence needs 299. The least "
        "rate that 40 can show is 0.0722. Split conformal prediction, which keeps the rate on "
        "average only, needs 99."
    )
    with pytest.raises(CorpusError, match=r"0 fake groups, but `fnr` 0\.5 on average needs 1\.$"):
        bounds_of(files, {"miss": 0.5}, None, "x")


def test_scores_at_the_end_leave_no_threshold() -> None:
    files = FileScores(np.ones(100), np.zeros(100, bool), tuple(map(str, range(100))))
    bounds = bounds_of(files, {"false_alarm": 0.05}, 0.95, "x")
    with pytest.raises(CorpusError, match=r"100 real groups of 100 reach a score of 1, but 5 % al"):
        thresholds_of(bounds)
    files = FileScores(np.zeros(100), np.ones(100, bool), tuple(map(str, range(100))))
    with pytest.raises(CorpusError, match=r"100 fake groups of 100 reach a score of 0, but 5 % al"):
        thresholds_of(bounds_of(files, {"miss": 0.05}, 0.95, "x"))


def test_a_file_is_an_image_or_the_mean_of_a_video() -> None:
    scored = scored_groups(
        [
            ("a", "v1", 0.2, False),
            ("a", None, 0.5, False),
            ("a", "v1", 0.6, False),
            ("b", "v2", 0.9, True),
            ("b", "v3", 0.1, False),
        ]
    )
    files = score_files(scored)
    rows = sorted(zip(files.groups, files.scores.round(6), files.is_fake.tolist(), strict=True))
    assert rows == [("a", 0.4, False), ("a", 0.5, False), ("b", 0.1, False), ("b", 0.9, True)]
    assert sorted(worst_of_groups(files, "false_alarm").round(6)) == [0.1, 0.5]
    assert worst_of_groups(files, "miss").round(6).tolist() == [0.9]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_scores_too_sure_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, 40_000)
    is_fake = rng.random(40_000) < 1 / (1 + np.exp(-true))
    scores = 1 / (1 + np.exp(-true * temperature))
    found = fit_temperature(is_fake, scores)
    assert found == pytest.approx(temperature, rel=0.05)

    def loss(scale: float) -> float:
        inside = np.clip(tempered(scores, scale), 1e-12, 1 - 1e-12)
        return float(-np.log(np.where(is_fake, inside, 1 - inside)).mean())

    assert all(loss(found) <= loss(found * factor) for factor in (0.9, 0.999, 1.001, 1.1))


def test_no_temperature_fits_what_is_perfect_random_or_of_one_kind() -> None:
    is_fake = np.array([True, False] * 10)
    with pytest.raises(MetricError, match="separate real and fake so well"):
        fit_temperature(is_fake, np.where(is_fake, 0.6, 0.4))
    with pytest.raises(MetricError, match="do not tell fake from real"):
        fit_temperature(is_fake, np.where(is_fake, 0.4, 0.6))
    with pytest.raises(MetricError, match="needs real and fake files"):
        fit_temperature(np.ones(3, bool), np.array([0.4, 0.6, 0.7]))
