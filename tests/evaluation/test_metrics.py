import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hffkit.corpus.drop_list import read_drop_list
from hffkit.errors import MetricError
from hffkit.evaluation import metrics
from hffkit.evaluation.bootstrap import bootstrap_intervals, interval_of
from hffkit.evaluation.calibration import Calibration, TopLabels
from hffkit.evaluation.levels import Level, measure
from hffkit.evaluation.metrics import METRICS, relative_error_reduction
from hffkit.evaluation.roc import Ranking, RocCurve
from hffkit.evaluation.sums import GroupedSamples, Sums, grouped
from hffkit.evaluation.tables import CrossTable, evaluation_markdown
from hffkit.evaluation.videos import mean_over_videos, vote_over_videos
from hffkit.manifest.classes import HFF_8, ClassTable, FaceClass, numbered
from hffkit.manifest.seeds import rng_for
from hffkit.runs.scores import Decisions, Scored, csv_of, worst_mistakes
from hffkit.runs.scores import scored_of as read_scored
from hffkit.storage.csv_files import read_rows

BINARY = numbered(["fake"], ["real"])
THREE = numbered(["a", "b"], ["camera"])
Array = npt.NDArray[np.float64]
Metric = Callable[[npt.NDArray[np.bool_], Array], float]


def scored_of(
    rows: list[tuple[int, list[float]]],
    *,
    classes: ClassTable = THREE,
    videos: list[str | None] | None = None,
    groups: list[str] | None = None,
) -> Scored:
    n = len(rows)
    return Scored(
        classes,
        np.array([label for label, _ in rows], np.int64),
        np.array([row for _, row in rows], np.float32),
        tuple(f"k{i}" for i in range(n)),
        tuple(groups or (f"g{i}" for i in range(n))),
        tuple(videos or [None] * n),
    )


def drawn(n: int, seed: int, *, n_groups: int = 7, classes: ClassTable = THREE) -> Scored:
    """Return random samples that are right more often than not, with some ties."""
    rng, n_classes = np.random.default_rng(seed), len(classes.names)
    labels = rng.integers(n_classes, size=n)
    logits = rng.normal(size=(n, n_classes)).round(1) + np.eye(n_classes)[labels]
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = tuple(f"g{g}" for g in rng.integers(n_groups, size=n))
    videos = tuple(f"v{g}" if g != "g0" else None for g in groups)
    keys = tuple(map(str, range(n)))
    return Scored(classes, labels, softmax.astype(np.float32), keys, groups, videos)


def curve_of(is_fake: npt.NDArray[np.bool_], scores: Array) -> RocCurve:
    return Ranking(is_fake, scores).curve()


def auc(is_fake: npt.NDArray[np.bool_], scores: Array) -> float:
    return curve_of(is_fake, scores).auc()


def equal_error_rate(is_fake: npt.NDArray[np.bool_], scores: Array) -> float:
    return curve_of(is_fake, scores).equal_error_rate()


def calibration(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32], n_bins: int = 15
) -> Calibration:
    return TopLabels(labels, probabilities, n_bins).calibration()


def value_of(metric: metrics.Metric, sums: Sums) -> float | None:
    try:
        return metric.compute(sums)
    except MetricError:  # not defined for these samples
        return None


def flags(*values: int) -> npt.NDArray[np.bool_]:
    return np.array(values, bool)


def by_counting_pairs(is_fake: npt.NDArray[np.bool_], scores: Array) -> float:
    pairs = [(f, r) for f in scores[is_fake] for r in scores[~is_fake]]
    return float(sum((f > r) + (f == r) / 2 for f, r in pairs) / len(pairs))


SAMPLES = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.bool_, n),
        hnp.arrays(np.int64, n, elements=st.integers(0, 9)).map(lambda v: v / 9),
    )
)


@given(SAMPLES)
def test_auc_is_the_share_of_pairs_in_the_right_order(
    samples: tuple[npt.NDArray[np.bool_], Array],
) -> None:
    is_fake, scores = samples
    assume(is_fake.any() and not is_fake.all())
    found = auc(is_fake, scores)
    assert found == pytest.approx(by_counting_pairs(is_fake, scores))
    assert auc(is_fake, -scores) == pytest.approx(1 - found)
    assert equal_error_rate(~is_fake, -scores) == pytest.approx(equal_error_rate(is_fake, scores))


@given(SAMPLES, st.randoms(use_true_random=False))
def test_order_of_samples_is_irrelevant(
    samples: tuple[npt.NDArray[np.bool_], Array], random: Random
) -> None:
    is_fake, scores = samples
    assume(is_fake.any() and not is_fake.all())
    order = list(range(len(scores)))
    random.shuffle(order)
    rows = [(int(not fake), [score, 1 - score]) for fake, score in zip(*samples, strict=True)]
    first = grouped(scored_of(rows, classes=BINARY)).sums()
    other = grouped(scored_of([rows[place] for place in order], classes=BINARY)).sums()
    for name, metric in METRICS.items():
        values = (value_of(metric, first), value_of(metric, other))
        if name in ("calibration_error", "balanced_calibration_error", "cllr"):
            assert values[0] == pytest.approx(values[1])  # sums of fractions: by a rounding
        else:
            assert values[0] == values[1], name


@pytest.mark.parametrize("seed", range(5))
def test_metrics_agree_with_scikit_learn(seed: int) -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    scored = drawn(300, seed)
    fake, scores = scored.is_fake, scored.scores
    labels, predicted = scored.labels, scored.predicted
    level = measure(scored, n_resamples=0).frame
    mode = np.bincount(labels).argmax()
    expected = {
        "accuracy": oracle.accuracy_score(labels, predicted),
        "class_mean_accuracy": oracle.balanced_accuracy_score(labels, predicted),
        "majority_accuracy": oracle.accuracy_score(labels, np.full(300, mode)),
        "binary_majority_accuracy": oracle.accuracy_score(fake, np.full(300, fake.mean() >= 0.5)),
        "binary_class_mean_accuracy": oracle.balanced_accuracy_score(fake, scores >= 0.5),
        "binary_accuracy": oracle.accuracy_score(fake, scores >= 0.5),
        "auc": oracle.roc_auc_score(fake, scores),
        "average_precision": oracle.average_precision_score(fake, scores),
    }
    found = {name: level.estimates[name].value for name in expected}
    assert found == pytest.approx(expected)
    assert np.array_equal(level.confusion, oracle.confusion_matrix(labels, predicted))
    assert level.recalls == pytest.approx(oracle.recall_score(labels, predicted, average=None))
    fpr, tpr, _ = oracle.roc_curve(fake, scores, drop_intermediate=False)
    assert [*map(list, curve_of(fake, scores).rates("ROC"))] == [[*fpr], [*tpr]]


def test_rows_of_an_unbalanced_confusion_matrix_sum_to_100() -> None:
    counts = ((90, 10, 0), (1, 3, 0), (0, 0, 0))
    level = Level(14, 90, 1, {}, counts, ((90, 0), (0, 4)), ())
    assert [*level.row_percent] == [(90, 10, 0), (25, 75, 0), None]
    # What the authors' test.py makes of it: column j divided by the sum of row j.
    wrong = 100 * np.array(counts) / np.maximum(np.sum(counts, axis=1), 1)
    assert wrong[0, 1] == 250
    assert level.recalls == (0.9, 0.75, None)


def test_a_collapsed_detector_is_said_to_be_one() -> None:
    # 8 fakes of 10: everything called fake is right in 80 %, which says nothing.
    rows = [(0, [0.9, 0.1])] * 8 + [(1, [0.6, 0.4])] * 2
    evaluation = measure(scored_of(rows, classes=BINARY), n_resamples=20)
    estimates = evaluation.frame.estimates
    assert list(estimates)[:3] == ["majority_accuracy", "class_mean_accuracy", "accuracy"]
    assert [found.value for found in estimates.values()][:3] == [0.8, 0.5, 0.8]
    assert evaluation.collapse is not None
    assert evaluation.collapse.startswith("All 10 predictions are fake: the detector distinguishe")
    assert evaluation.to_json()["levels"]["frame"]["only_prediction"] == "fake"  # type: ignore[index]
    first, second = evaluation_markdown(evaluation).splitlines()[4:6]
    assert first.startswith("| Baseline: always the largest class | 80.00 % |")
    assert second.startswith("| Balanced (class-mean) accuracy | 50.00 % ")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, [0.9, 0.1, 0]), (1, [0.1, 0.9, 0]), (2, [0.2, 0.5, 0.3])], "fake"),  # of two classes
        ([(0, [0, 0.9, 0.1]), (1, [0, 0.9, 0.1])], "b"),
        ([(0, [0.9, 0.1, 0]), (1, [0.1, 0.9, 0])], None),  # there are only fakes
        ([(0, [0.9, 0.1, 0]), (0, [0.8, 0.2, 0])], None),  # of one class
        ([(0, [0.9, 0.1, 0]), (2, [0.1, 0, 0.9])], None),
    ],
)
def test_one_prediction_is_a_collapse_where_samples_are_of_several_classes(
    rows: list[tuple[int, list[float]]], expected: str | None
) -> None:
    frame = measure(scored_of(rows), n_resamples=0).frame
    assert frame.only_prediction(THREE.names) == expected


def test_rows_are_true_classes() -> None:
    rows = [(0, [0, 0, 1.0]), (0, [0, 0, 1.0]), (1, [0, 1.0, 0])]
    sums = grouped(scored_of(rows)).sums()
    assert sums.confusion.tolist() == [[0, 0, 2], [0, 1, 0], [0, 0, 0]]
    assert sums.calls.tolist() == [[1, 2], [0, 0]]  # the two are called real


def table(data: Path, name: str) -> list[dict[str, str]]:
    with (data / f"spec/tables/{name}.csv").open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize(
    ("name", "weighted", "unweighted"),
    [("table03_confusion_model_base", 96.16, 94.56), ("table04_confusion_amtennet", 98.52, 97.85)],
)
def test_the_papers_average_accuracy_weighs_images(
    data: Path, name: str, weighted: float, unweighted: float
) -> None:
    sizes = {row["class"]: int(row["test_20"]) for row in table(data, "table02_hff")}
    labels: list[int] = []
    predicted: list[int] = []
    for row in table(data, name):
        true, other = (HFF_8[row[column]].id for column in ("true_class", "predicted_class"))
        if true == other:
            n = sizes[row["true_class"]]
            n_right = round(n * float(row["percent"]) / 100)
            labels += [true] * n
            predicted += [true] * n_right + [(true + 1) % 8] * (n - n_right)
    assert len(labels) == 31_000
    arrays = np.array(labels), np.array(predicted)
    groups, names = ("g",) * len(labels), tuple(HFF_8.names[label] for label in labels)
    decisions = Decisions(*arrays, arrays[0] > 2, arrays[1] > 2, groups, names)
    sums = GroupedSamples(decisions, 8).sums()
    found = [100 * METRICS[name].compute(sums) for name in ("accuracy", "class_mean_accuracy")]
    assert found == pytest.approx([weighted, unweighted], abs=0.005)


def test_rer_gives_the_papers_table_vi(data: Path) -> None:
    rows = table(data, "table06_design_variants")
    amtennet = float(rows[0]["average_accuracy_percent"]) / 100
    others = [row for row in rows if row["rer_percent"]]
    assert len(others) >= 9
    for row in others:
        other = float(row["average_accuracy_percent"]) / 100
        rer = 100 * relative_error_reduction(amtennet, other)
        assert rer == pytest.approx(float(row["rer_percent"]), abs=0.006), row["model"]


def test_rer_against_a_network_without_errors_is_not_defined() -> None:
    with pytest.raises(MetricError, match=r"must be below 1, got 1\. RER is not defined"):
        relative_error_reduction(0.5, 1.0)


def test_eer_is_interpolated_between_points() -> None:
    # ROC points (FPR, TPR): (0,0) (0,.5) (1/3,.5) (1/3,1) (2/3,1) (1,1); 1 - TPR falls through
    # FPR on the upright from (1/3,.5) to (1/3,1), at FPR 1/3.
    is_fake, scores = flags(1, 0, 1, 0, 0), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert equal_error_rate(is_fake, scores) == pytest.approx(1 / 3)
    # One tie of 1 fake and 3 real after 1 fake: from (0,.5) to (1,1). FPR = 1 - TPR at t = 1/3.
    tied = np.array([0.9, 0.5, 0.5, 0.5, 0.5])
    assert equal_error_rate(flags(1, 1, 0, 0, 0), tied) == pytest.approx(1 / 3)
    assert equal_error_rate(flags(1, 1, 0), np.array([0.9, 0.8, 0.1])) == 0
    assert equal_error_rate(flags(0, 1), np.array([0.9, 0.1])) == 1


def test_misses_are_those_at_the_nearest_threshold_and_at_the_first_false_alarm() -> None:
    # (FPR, misses) by falling threshold: (0,1) (0,1/2) (1/3,1/2) (1/3,0) (2/3,0) (1,0).
    curve = curve_of(flags(1, 0, 1, 0, 0), np.array([0.9, 0.8, 0.7, 0.6, 0.5]))
    assert curve.nearest_miss_rate() == 0.5
    assert curve.tpr_at_first_false_alarm() == 0.5
    tied = curve_of(flags(1, 0), np.array([0.5, 0.5]))  # (0,1) and (1,0) are equally near
    assert tied.nearest_miss_rate() == 1
    assert tied.tpr_at_first_false_alarm() == 1


def test_metrics_are_percentages_unless_they_are_areas_errors_or_costs() -> None:
    fractions = {name for name, metric in METRICS.items() if metric.unit == "fraction"}
    calibrations = {"calibration_error", "balanced_calibration_error", "cllr"}
    assert fractions == {"auc", "average_precision", *calibrations}
    assert {metric.unit for name, metric in METRICS.items() if name not in fractions} == {"percent"}
    titles = {name: METRICS[name].title for name in METRICS if name.startswith("tpr_at_fpr")}
    percent = {"0.001": "0.1", "0.01": "1", "0.1": "10", "0.0001": "0.01"}
    percent |= {"1e-05": "0.001", "1e-06": "0.0001"}
    assert titles == {f"tpr_at_fpr_{rate}": f"TPR at FPR {p} %" for rate, p in percent.items()}


def test_average_precision_and_recall_count_a_single_sample_as_one() -> None:
    # Recall rises by 1/2 at precision 1/1 and by 1/2 at precision 2/3.
    curve = curve_of(flags(1, 0, 1, 0), np.array([0.9, 0.8, 0.7, 0.6]))
    assert curve.average_precision() == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    rows = [(0, [0.9, 0, 0.1]), (0, [0.8, 0, 0.2]), (2, [0.9, 0, 0.1])]
    assert METRICS["class_mean_accuracy"].compute(grouped(scored_of(rows)).sums()) == 0.5


def test_tpr_at_fpr_takes_the_best_threshold_within_the_limit() -> None:
    # Ten reals at .05, .15, ... .95; fakes at .99, .9, .8, .7.
    scores = np.array([*np.arange(10) / 10 + 0.05, 0.99, 0.9, 0.8, 0.7])
    is_fake = flags(*[0] * 10, 1, 1, 1, 1)
    found = [curve_of(is_fake, scores).tpr_at_fpr(limit) for limit in (0.001, 0.099, 0.1, 0.2, 1)]
    assert found == [0.25, 0.25, 0.5, 0.75, 1]
    everything_tied = np.full(14, 0.5)
    assert curve_of(is_fake, everything_tied).tpr_at_fpr(0.1) == 0


def test_calibration_error_is_that_of_the_top_label() -> None:
    # Bins of 1/15: .9 in (13/15, 14/15], .6 is in (8/15, 9/15].
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    labels = np.array([0, 1, 0, 1, 0])
    expected = 4 / 5 * abs(0.75 - 0.9) + 1 / 5 * abs(0 - 0.6)
    error = calibration(labels, probabilities.astype(np.float32)).error()
    assert error == pytest.approx(expected)
    bins = calibration(labels, probabilities.astype(np.float32), n_bins=10)
    assert bins.counts.sum() == 5
    sure = np.array([[1, 0], [1, 0]], np.float32)
    assert calibration(np.array([0, 0]), sure).counts.tolist() == [0] * 14 + [2]
    above = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], np.float32)
    assert calibration(np.array([0]), above).counts.tolist() == [0] * 14 + [1]
    halves = np.array([[0.5, 0.5], [0.75, 0.25]], np.float32)  # bins (0, .5] and (.5, 1]
    assert calibration(np.array([0, 0]), halves, n_bins=2).counts.tolist() == [1, 1]


def test_calibration_tells_apart_what_one_bin_would_hide() -> None:
    # Overconfident at .95 by .45 and underconfident at .55 by .45: one bin would see nothing.
    probabilities = np.array([[0.95, 0.05]] * 2 + [[0.55, 0.45]] * 2, np.float32)
    labels = np.array([0, 1, 0, 0])
    assert calibration(labels, probabilities, n_bins=1).error() == pytest.approx(0, abs=1e-6)
    assert calibration(labels, probabilities).error() == pytest.approx(0.45)


@pytest.mark.parametrize("seed", range(3))
def test_cllr_is_the_balanced_log_loss_in_bits(seed: int) -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    scored = drawn(300, seed)
    fake, scores = scored.is_fake, scored.scores
    balanced = np.where(fake, 1 / fake.sum(), 1 / (~fake).sum())
    nats = oracle.log_loss(fake, scores, sample_weight=balanced)
    sums = grouped(scored).sums()
    assert METRICS["cllr"].compute(sums) == pytest.approx(nats / np.log(2))
    ratio = scores / (1 - scores)  # the definition, in likelihood ratios
    costs = np.log2(1 + 1 / ratio[fake]).mean(), np.log2(1 + ratio[~fake]).mean()
    assert METRICS["cllr"].compute(sums) == pytest.approx(sum(costs) / 2)


def test_cllr_is_1_for_scores_of_half_and_finite_for_sure_mistakes() -> None:
    halves = [(label, [0.5, 0.5]) for label in (0, 0, 0, 1)]
    assert METRICS["cllr"].compute(grouped(scored_of(halves, classes=BINARY)).sums()) == 1
    wrong = [(0, [0.0, 1.0]), (1, [1.0, 0.0])]
    assert METRICS["cllr"].compute(grouped(scored_of(wrong, classes=BINARY)).sums()) == 24
    right = [(0, [1.0, 0.0]), (1, [0.0, 1.0])]
    found = METRICS["cllr"].compute(grouped(scored_of(right, classes=BINARY)).sums())
    assert found == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_balanced_calibration_error_is_that_of_equally_many_fakes_and_reals(seed: int) -> None:
    scored = drawn(200, seed)
    fake, scores = scored.is_fake, scored.scores
    n_fake, n_real = int(fake.sum()), int((~fake).sum())
    # Each fake as often as there are reals, and the other way round: equally many of both.
    often = np.where(fake, n_real, n_fake)
    scores, fake = np.repeat(scores, often), np.repeat(fake, often)
    edges = np.linspace(0, 1, 16)
    gaps = 0.0
    for low, high in pairwise(edges):
        held = (scores > low) & (scores <= high)
        if held.any():
            gaps += held.mean() * abs(scores[held].mean() - fake[held].mean())
    found = METRICS["balanced_calibration_error"].compute(grouped(scored).sums())
    assert found == pytest.approx(gaps)


@pytest.mark.parametrize("name", ["balanced_calibration_error", "cllr"])
def test_balanced_calibration_needs_real_and_fake_and_probabilities(name: str) -> None:
    fakes = scored_of([(0, [0.9, 0.1])] * 3, classes=BINARY)
    with pytest.raises(MetricError, match=r"got 3 fake and 0 real\. Balanced calibration is not"):
        METRICS[name].compute(grouped(fakes).sums())
    with pytest.raises(MetricError, match="no probabilities: there is no calibration"):
        METRICS[name].compute(grouped(replace(fakes, is_probability=False)).sums())


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (auc, "AUC"),
        (equal_error_rate, "EER"),
        (lambda fake, scores: curve_of(fake, scores).average_precision(), "AP"),
        (lambda fake, scores: curve_of(fake, scores).tpr_at_fpr(0.1), "TPR at a fixed FPR"),
    ],
)
def test_a_ranking_needs_real_and_fake(metric: Metric, name: str) -> None:
    with pytest.raises(MetricError) as caught:
        metric(np.ones(120, bool), np.linspace(0, 1, 120))
    assert str(caught.value) == (
        "labels must hold real and fake, got 120 fake and 0 real. "
        f"{name} is not defined; evaluate on a set with both."
    )
    with pytest.raises(MetricError, match="got 0 fake and 2 real"):
        metric(np.zeros(2, bool), np.array([0.1, 0.2]))


def test_score_is_the_probability_of_fake_whatever_the_ids() -> None:
    scored = scored_of([(0, [0.2, 0.3, 0.5]), (2, [0.1, 0.2, 0.7])])
    assert scored.scores == pytest.approx([0.5, 0.3])
    assert scored.is_fake.tolist() == [True, False]
    assert scored.predicted.tolist() == [2, 2]
    assert scored.decisions.called_fake.tolist() == [True, False]
    real_first = ClassTable((FaceClass(0, "r", is_fake=False), FaceClass(1, "f", is_fake=True)))
    other = scored_of([(0, [0.9, 0.1]), (1, [0.2, 0.8])], classes=real_first)
    assert other.scores == pytest.approx([0.1, 0.8])
    binary = scored_of([(0, [0.9, 0.1])], classes=BINARY)
    assert binary.scores == pytest.approx([0.9])


def test_scored_refuses_what_is_no_softmax() -> None:
    with pytest.raises(ValueError, match="must be a softmax"):
        scored_of([(0, [3.0, -1.0, 0.5])])
    with pytest.raises(MetricError, match="k1: the scores of 1 sample are not finite"):
        scored_of([(0, [0.2, 0.3, 0.5]), (0, [float("nan")] * 3)])
    with pytest.raises(MetricError, match="No sample was scored"):
        Scored(THREE, np.zeros(0, np.int64), np.zeros((0, 3), np.float32), (), (), ())
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.2"):
        scored_of([(3, [0.2, 0.3, 0.5])])
    with pytest.raises(ValueError, match="as many as labels"):
        scored_of([(0, [0.2, 0.3, 0.5])], groups=["a", "b"])
    with pytest.raises(ValueError, match=r"0\.\.1 in order"):
        scored_of([(0, [0.5, 0.5])], classes=HFF_8.only(["Glow", "StarGAN"]))


def test_frames_of_one_video_and_class_become_one_by_their_mean() -> None:
    rows = [(0, [0.8, 0.1, 0.1]), (2, [0, 0, 1.0]), (0, [0.2, 0.3, 0.5]), (1, [0, 1.0, 0])]
    scored = scored_of(rows, videos=["x", None, "x", "x"], groups=["g", "p", "g", "g"])
    videos = mean_over_videos(scored)
    assert videos is not None
    assert videos.keys == ("x", "x")
    assert videos.labels.tolist() == [0, 1]
    assert videos.groups == ("g", "g")
    assert videos.probabilities == pytest.approx(np.array([[0.5, 0.2, 0.3], [0, 1, 0]]))


def test_equal_names_of_videos_in_two_groups_are_two_videos() -> None:
    rows = [(0, [0.8, 0.1, 0.1]), (0, [0.2, 0.3, 0.5])]
    videos = mean_over_videos(scored_of(rows, videos=["000", "000"], groups=["ff", "dfd"]))
    assert videos is not None
    assert videos.groups == ("ff", "dfd")


def test_images_are_no_videos() -> None:
    scored = scored_of([(0, [0.8, 0.1, 0.1])])
    assert mean_over_videos(scored) is None
    assert vote_over_videos(scored) is None
    assert list(measure(scored).levels) == ["frame"]


def test_a_vote_counts_frames_and_not_their_sureness() -> None:
    rows = [(2, [0.99, 0.0, 0.01]), (2, [0.2, 0.2, 0.6]), (2, [0.2, 0.2, 0.6])]
    scored = scored_of(rows, videos=["x"] * 3, groups=["g"] * 3)
    votes, means = vote_over_videos(scored), mean_over_videos(scored)
    assert votes is not None
    assert means is not None
    assert (votes.predicted.tolist(), votes.called_fake.tolist()) == ([2], [False])
    assert (means.predicted.tolist(), means.decisions.called_fake.tolist()) == ([0], [True])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0.9, 0.0, 0.1], [0.3, 0.1, 0.6]], (0, True)),  # 1 to 1; means .6, .35; score .65
        ([[0.5, 0.1, 0.4], [0.0, 0.1, 0.9]], (2, False)),  # 1 to 1; means .25, .65; score .35
        # Class 1 has the largest mean, but no vote: it is not among those that tie.
        ([[0.5, 0.45, 0.05], [0.0, 0.48, 0.52]], (2, True)),
        # 0, 1, 2, 2: class 2 leads although its mean is the least; fake and real tie 2 to 2.
        ([[0.9, 0.1, 0], [0.1, 0.9, 0], [0.3, 0.19, 0.51], [0.3, 0.19, 0.51]], (2, True)),
    ],
)
def test_ties_of_a_vote_are_broken_by_the_mean(
    rows: list[list[float]], expected: tuple[int, bool]
) -> None:
    n = len(rows)
    frames = scored_of([(0, row) for row in rows], videos=["x"] * n, groups=["g"] * n)
    votes = vote_over_videos(frames)
    assert votes is not None
    assert (int(votes.predicted[0]), bool(votes.called_fake[0])) == expected


def test_weighted_metrics_are_those_of_the_repeated_samples() -> None:
    scored = drawn(120, 1)
    samples = grouped(scored)
    rng = np.random.default_rng(0)
    names = sorted(set(scored.groups))
    for _ in range(20):
        counts = rng.integers(0, 4, len(names))
        often = dict(zip(names, counts, strict=True))
        places = np.repeat(np.arange(120), [often[group] for group in scored.groups])
        weighted, repeated = samples.sums(counts.astype(float)), grouped(scored.subset(places))
        for name, metric in METRICS.items():
            expected = metric.compute(repeated.sums())
            assert metric.compute(weighted) == pytest.approx(expected), name


def test_intervals_are_percentiles_over_resampled_groups() -> None:
    scored = drawn(60, 2)
    found = measure(scored, seed=5, n_resamples=200).frame.estimates
    rng = rng_for(5, "bootstrap", "frame")
    members = [[i for i, g in enumerate(scored.groups) if g == n] for n in sorted({*scored.groups})]
    values: dict[str, list[float]] = {"accuracy": [], "auc": []}
    for _ in range(200):
        places = [i for g in rng.integers(len(members), size=len(members)) for i in members[g]]
        right = scored.labels[places] == scored.predicted[places]
        values["accuracy"].append(float(right.mean()))
        values["auc"].append(by_counting_pairs(scored.is_fake[places], scored.scores[places]))
    for name, resampled in values.items():
        interval = found[name].interval
        assert interval is not None
        assert interval.n_left_out == 0
        low, high = np.quantile(resampled, [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx((low, high))


def test_intervals_of_grouped_frames_are_wider_than_of_independent_ones() -> None:
    rows = [(0, [0.9, 0.0, 0.1] if i % 3 else [0.1, 0.0, 0.9]) for i in range(12)]
    repeated = [row for row in rows for _ in range(20)]
    frames = scored_of(repeated, groups=[f"g{i // 20}" for i in range(240)])
    loose = scored_of(repeated)
    widths = []
    for scored in (frames, loose):
        found = measure(scored, n_resamples=300).frame.estimates["accuracy"]
        interval = found.interval
        assert interval is not None
        widths.append(interval.high - interval.low)
    assert widths[0] > 3 * widths[1]


def test_an_interval_is_of_a_thousand_resamples() -> None:
    values: list[float] = []

    def share_of_first(sums: Sums) -> float:
        values.append(float(sums.calls[0].sum() / sums.calls.sum()))
        return values[-1]

    samples = grouped(scored_of([(0, [0.9, 0, 0.1]), (2, [0.1, 0, 0.9])]))
    rows = {"share": metrics.Metric("", "fraction", share_of_first)}
    found = bootstrap_intervals([samples], rows, rng=rng_for(0, "x"))
    *resampled, estimate = values
    assert (len(resampled), estimate) == (1000, 0.5)
    assert (found["share"].low, found["share"].high) == (0, 1)


def test_resamples_that_define_no_auc_are_left_out_and_counted() -> None:
    samples = grouped(scored_of([(0, [0.9, 0.0, 0.1]), (2, [0.1, 0.0, 0.9])]))
    once = samples.sums(np.array([2.0, 0.0]))
    assert METRICS["class_mean_accuracy"].compute(once) == 1  # over the one class that occurs
    rows = {name: METRICS[name] for name in ("accuracy", "auc")}
    found = bootstrap_intervals([samples], rows, rng=rng_for(0, "x"), n_resamples=400)
    assert found["accuracy"].n_left_out == 0
    assert (found["auc"].low, found["auc"].high) == (1, 1)
    assert found["auc"].n_left_out == pytest.approx(200, abs=40)  # both drawn the same: 1 in 2


def test_intervals_over_seeds_draw_groups_alike_and_then_trainings() -> None:
    first = drawn(200, 0, n_groups=12)
    others = [replace(first, probabilities=drawn(200, seed).probabilities) for seed in (1, 2)]
    samples = [grouped(one) for one in (first, *others)]
    rows = {"accuracy": METRICS["accuracy"]}
    found = bootstrap_intervals(samples, rows, rng=rng_for(0, "x"), n_resamples=300)["accuracy"]

    names = sorted(set(first.groups))
    owners = np.array([names.index(name) for name in first.groups])
    right = np.array([one.predicted == one.labels for one in (first, *others)])
    rng, means = rng_for(0, "x"), []
    for _ in range(300):
        weights = np.bincount(rng.integers(12, size=12), minlength=12)[owners]
        accuracies = (right * weights).sum(axis=1) / weights.sum()
        means.append(accuracies[rng.integers(3, size=3)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high))
    # Trainings that agree add nothing; those that do not, widen the interval.
    alone = bootstrap_intervals(samples[:1], rows, rng=rng_for(0, "x"))["accuracy"]
    again = bootstrap_intervals(samples[:1] * 3, rows, rng=rng_for(0, "y"))["accuracy"]
    assert again.high - again.low == pytest.approx(alone.high - alone.low, abs=0.03)
    assert found.high - found.low > 1.3 * (alone.high - alone.low)


def test_one_group_has_no_interval() -> None:
    scored = scored_of([(0, [0.9, 0.0, 0.1]), (2, [0.1, 0.1, 0.8])], groups=["g", "g"])
    evaluation = measure(scored)
    assert all(found.interval is None for found in evaluation.frame.estimates.values())
    assert evaluation.frame.estimates["auc"].value == 1
    assert "one group only, so no intervals" in evaluation_markdown(evaluation)


def test_evaluation_is_fixed_by_its_seed_and_not_by_the_order_of_samples() -> None:
    scored = drawn(80, 3)
    shuffled = scored.subset(np.random.default_rng(0).permutation(80))
    levels: list[Any] = [
        measure(samples, seed=seed, n_resamples=50).to_json()["levels"]
        for samples, seed in ((scored, 0), (shuffled, 0), (scored, 1))
    ]
    frames = [found["frame"]["metrics"] for found in levels]
    for name in ("accuracy", "auc", "eer"):
        assert frames[0][name] == pytest.approx(frames[1][name])
    assert frames[0]["auc"]["low"] != frames[2]["auc"]["low"]


def test_what_is_not_defined_is_null_with_its_reason_and_never_nan() -> None:
    fakes = scored_of([(0, [0.9, 0.0, 0.1]), (1, [0.2, 0.7, 0.1])], videos=["x", "y"])
    evaluation = measure(fakes, n_resamples=20)
    text = json.dumps(evaluation.to_json(), allow_nan=False)
    frame = json.loads(text)["levels"]["frame"]
    assert frame["metrics"]["auc"]["value"] is None
    assert frame["metrics"]["auc"]["low"] is None
    assert "got 2 fake and 0 real" in frame["metrics"]["auc"]["reason"]
    assert frame["recalls"] == {"a": 1, "b": 1, "camera": None}
    assert frame["confusion"]["row_percent"] == [[100, 0, 0], [0, 100, 0], None]
    assert "| AUC | – | – | – |" in evaluation_markdown(evaluation)  # noqa: RUF001
    assert "AUC is not defined; evaluate on a set with both" in evaluation_markdown(evaluation)


def test_evaluation_counts_frames_and_videos() -> None:
    scored = drawn(90, 4)
    levels: Any = measure(scored, n_resamples=10).to_json()["levels"]
    assert list(levels) == ["frame", "video_mean", "video_vote"]
    assert levels["frame"]["n_samples"] == 90
    assert levels["frame"]["n_fake"] == int(scored.is_fake.sum())
    owners = zip(scored.videos, scored.labels, strict=True)
    n_videos = len({(video, int(label)) for video, label in owners if video})
    assert levels["video_mean"]["n_samples"] == levels["video_vote"]["n_samples"] == n_videos
    assert "auc" not in levels["video_vote"]["metrics"]
    assert np.sum(levels["frame"]["confusion"]["counts"]) == 90


def test_cross_table_has_a_row_for_training_and_a_column_for_testing() -> None:
    evaluations = [measure(drawn(50, seed), n_resamples=20) for seed in range(3)]
    crossed = CrossTable(
        {("A", "A"): evaluations[0], ("A", "B"): evaluations[1], ("B|x", "B"): evaluations[2]}
    )
    head, _, baseline, first, second = crossed.to_table().to_markdown().splitlines()
    assert head == "| Trained on / tested on: accuracy; AUC | A | B |"
    shares = [max(np.bincount(drawn(50, seed).labels)) / 50 for seed in range(2)]
    texts = " | ".join(f"{100 * share:.2f} %" for share in shares)
    assert baseline == f"| Baseline: always the largest class | {texts} |"
    frame = evaluations[1].frame.estimates
    balanced, plain = frame["class_mean_accuracy"].value, frame["accuracy"].value
    assert balanced is not None
    assert plain is not None
    assert f"balanced {100 * balanced:.2f} % [" in first
    assert f"accuracy {100 * plain:.2f} % [" in first
    assert "; AUC 0." in first
    assert second.startswith(r"| B\|x | – | ")  # noqa: RUF001
    rows = crossed.to_json()
    assert [(row["trained_on"], row["tested_on"]) for row in rows] == [*crossed.cells]
    assert rows[2]["accuracy"] == evaluations[2].frame.estimates["accuracy"].to_json()


def test_a_cross_table_of_different_classes_compares_fake_with_real() -> None:
    three, two = drawn(60, 1), drawn(60, 2, classes=BINARY)
    evaluations = [measure(scored, n_resamples=0) for scored in (three, two)]
    crossed = CrossTable({("3", "A"): evaluations[0], ("2", "A"): evaluations[1]})
    right = [np.mean((each.scores >= 0.5) == each.is_fake) for each in (three, two)]
    assert right[0] != np.mean(three.predicted == three.labels)
    table = crossed.to_table()
    assert table.header[0] == "Trained on / tested on: fake/real accuracy; AUC"
    shown = [row[1].split("; ")[1] for row in table.rows[1:]]
    assert shown == [f"accuracy {100 * x:.2f} %" for x in right]
    rows = crossed.to_json()
    assert [row["binary_accuracy"]["value"] for row in rows] == right  # type: ignore[index]
    assert not any("accuracy" in row for row in rows)


def test_a_cross_table_names_the_only_prediction_of_a_collapsed_network() -> None:
    rows = [(0, [0.9, 0.1]), (0, [0.8, 0.2]), (0, [0.7, 0.3]), (1, [0.6, 0.4])]
    evaluation = measure(scored_of(rows, classes=BINARY), n_resamples=0)
    crossed = CrossTable({("run", "A"): evaluation}, frozenset({("run", "A")}))
    baseline, row = crossed.to_table().rows
    assert baseline[1] == "75.00 %"
    assert row[1] == (
        "balanced 50.00 %; accuracy 75.00 %; AUC 1.0000 "
        "(training figures, all predictions are fake)"
    )


def test_binary_detectors_have_a_recall_for_each_method_at_every_level() -> None:
    # Three methods: DF found in 3 of 4 frames, NT in 1 of 4, one of two real frames called real.
    names = ["DF"] * 4 + ["NT"] * 4 + ["real"] * 2
    fake = [0.9, 0.8, 0.7, 0.2, 0.1, 0.2, 0.6, 0.1, 0.3, 0.7]
    rows = [(int(name == "real"), [p, 1 - p]) for name, p in zip(names, fake, strict=True)]
    videos: list[str | None] = ["d1", "d1", "d2", "d2", "n1", "n1", "n2", "n2", "r", "r"]
    scored = replace(
        scored_of(rows, classes=BINARY, videos=videos, groups=["g"] * 10),
        corpus_classes=tuple(names),
    )
    evaluation = measure(scored)
    frame = [(m.name, m.is_fake, m.n_samples, m.recall, m.called_fake)
             for m in evaluation.frame.methods]  # fmt: skip
    assert frame == [
        ("DF", True, 4, 0.75, 0.75), ("NT", True, 4, 0.25, 0.25), ("real", False, 2, 0.5, 0.5),
    ]  # fmt: skip
    # Means of frames: .85, .45; .15, .35; .5.
    means = {m.name: m.recall for m in evaluation.levels["video_mean"].methods}
    assert means == {"DF": 0.5, "NT": 0, "real": 0}
    votes = {m.name: m.recall for m in evaluation.levels["video_vote"].methods}
    assert votes == {"DF": 0.5, "NT": 0, "real": 0}  # d2 and n2 tie; their means decide
    text = evaluation_markdown(evaluation)
    assert "| DF | fake | 4 | 75.00 % | 75.00 % | 50.00 % | 50.00 % |" in text
    assert [row["method"] for row in csv.DictReader(io.StringIO(csv_of(scored, {})))] == names
    found: Any = evaluation.to_json()["levels"]
    assert found["frame"]["methods"][1] == {
        "class": "NT", "is_fake": True, "n_samples": 4, "recall": 0.25, "called_fake": 0.25,
    }  # fmt: skip


def test_confusion_is_shown_at_every_level() -> None:
    scored = drawn(90, 4)
    text = evaluation_markdown(measure(scored, n_resamples=0))
    for title in ("Images", "Videos, mean of frames", "Videos, vote of frames"):
        assert f"| {title}: true / predicted | a | b | camera |" in text
    means = mean_over_videos(scored)
    assert means is not None
    n = int(np.sum((means.labels == 0) & (means.predicted == 0)))
    line = text.partition("| Videos, mean of frames: true / predicted")[2].splitlines()[2]
    assert line.startswith(f"| a | {n} (")


def test_intervals_of_calibration_are_mirrored_and_of_tpr_are_percentiles() -> None:
    scored = drawn(80, 2)
    found = measure(scored, seed=5, n_resamples=100).frame.estimates
    rng = rng_for(5, "bootstrap", "frame")
    members = [[i for i, g in enumerate(scored.groups) if g == n] for n in sorted({*scored.groups})]
    errors, rates = [], []
    for _ in range(100):
        places = [i for g in rng.integers(len(members), size=len(members)) for i in members[g]]
        some = scored.subset(np.array(places))
        errors.append(calibration(some.labels, some.probabilities).error())
        reals = np.sort(some.scores[~some.is_fake])[::-1]
        # The highest score that more than a tenth of the reals reach must not be a threshold.
        bar = reals[len(reals) // 10]
        rates.append(float(np.mean(some.scores[some.is_fake] > bar)))
    low, high = np.quantile(errors, [0.025, 0.975])
    estimate = found["calibration_error"]
    assert estimate.value is not None
    assert estimate.interval is not None
    assert estimate.interval.low == pytest.approx(max(0, 2 * estimate.value - high))
    assert estimate.interval.high == pytest.approx(2 * estimate.value - low)
    interval = found["tpr_at_fpr_0.1"].interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(rates, [0.025, 0.975])))


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (0.35, (0.21, 0.59)),
        (0.2, (0, 0.29)),
        (0.02, (0, 0)),  # mirrored to -0.45 and -0.07
        (0.7, (0.91, 1)),
        (0.8, (1, 1)),  # mirrored to 1.11 and 1.49
    ],
)
def test_mirrored_bounds_are_cut_to_0_and_1(estimate: float, expected: tuple[float, float]) -> None:
    found = interval_of("basic", estimate, [0.1, 0.5], 3)  # the percentiles are 0.11 and 0.49
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.n_left_out == 3
    as_found = interval_of("percentile", estimate, [0.1, 0.5], 3)
    assert (as_found.low, as_found.high) == pytest.approx((0.11, 0.49))


def test_the_interval_of_a_calibration_that_only_resampling_worsens_is_in_order() -> None:
    # In each bin as many are right as the confidence says: the error is 0, and above 0 in nearly
    # all resamples.
    rows = [
        (int(i >= right), [right / n, 1 - right / n])
        for n, right in ((5, 3), (4, 3), (5, 4), (10, 9), (10, 7), (8, 5), (8, 7))
        for i in range(n)
    ]
    estimate = measure(scored_of(rows, classes=BINARY)).frame.estimates["calibration_error"]
    assert estimate.value == pytest.approx(0, abs=1e-6)
    assert estimate.interval is not None
    assert (estimate.interval.low, estimate.interval.high) == (0, 0)


def test_decision_values_have_neither_calibration_nor_probabilities() -> None:
    rows = [(0, [0.9, 0.1]), (1, [0.2, 0.8]), (0, [0.4, 0.6])]
    margins = np.array([2.2, -1.4, -0.4])
    scored = replace(scored_of(rows, classes=BINARY), margins=margins, is_probability=False)
    evaluation = measure(scored, n_resamples=20)
    estimate = evaluation.frame.estimates["calibration_error"]
    assert (estimate.value, estimate.interval) == (None, None)
    assert "no probabilities: there is no calibration" in evaluation_markdown(evaluation)
    assert "no probability" in str(evaluation.to_json()["score"])
    for line, margin in zip(csv.DictReader(io.StringIO(csv_of(scored, {}))), margins, strict=True):
        assert (line["p_fake"], line["p_real"]) == ("", "")
        assert float(line["margin"]) == margin
    assert evaluation.frame.estimates["auc"].value == 1


def test_csv_gives_back_every_number_and_key() -> None:
    classes = numbered(['a,"b"'], ["real"])
    scored = Scored(
        classes,
        np.array([1, 0]),
        np.array([[1 / 3, 2 / 3], [0.9, 0.1]], np.float32),
        ("x,\ny", 'q"'),
        ("g", "h"),
        (None, None),
    )
    text = csv_of(scored, {})
    assert text.startswith(
        'key,group,video,label,class,score,predicted,"p_a,""b""",p_real,method\n'
    )
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 2
    assert [row["key"] for row in rows] == ["x,\ny", 'q"']
    assert [row["class"] for row in rows] == ["real", 'a,"b"']
    assert [row["label"] for row in rows] == ["1", "0"]
    assert [row["predicted"] for row in rows] == ["1", "0"]
    read = np.array([[row['p_a,"b"'], row["p_real"]] for row in rows], np.float32)
    assert np.array_equal(read, scored.probabilities)
    assert [float(row["score"]) for row in rows] == pytest.approx(scored.scores)


def test_scores_are_read_back_from_their_csv() -> None:
    values = np.array([[1 / 3, 2 / 3], [0.9, 0.1], [0.5, 0.5]], np.float32)
    for margins in (None, np.array([-0.7, 2.25, 0.0])):
        scored = Scored(
            BINARY, np.array([1, 0, 0]), values, ("a", "b", "c"), ("g", "h", "h"),
            ("x,\ny.mp4", None, "z"), margins, ("Deepfakes", "real", "real"), margins is None,
        )  # fmt: skip
        rows = list(csv.DictReader(io.StringIO(csv_of(scored), newline="")))
        found = read_scored(rows, BINARY)
        for name in ("labels", "margins"):
            assert np.array_equal(getattr(found, name), getattr(scored, name))
        assert np.allclose(found.probabilities, scored.probabilities, rtol=1e-6, atol=0)
        for name in ("keys", "groups", "videos", "methods", "is_probability"):
            assert getattr(found, name) == getattr(scored, name)


def test_no_name_in_the_csv_is_a_formula(tmp_path: Path) -> None:
    cls, keys = "=cmd|' /C calc'!A0", ("@SUM(A1)", "-1+2")
    scored = Scored(
        numbered([cls], ["+real"]), np.array([0, 1]),
        np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), keys, ("\tg", "-1"),
        ("\r=v", None), np.array([-0.5, 1.5]), (cls, "+real"),
    )  # fmt: skip
    text = csv_of(scored, {"more": ("=1", "'=1")})
    for row in csv.DictReader(io.StringIO(text, newline="")):
        for name, cell in row.items():
            is_formula = cell[:1] in tuple("=+-@\t\r") and cell != ""
            assert not is_formula or float(cell) < 0, (name, cell)
    rows = read_rows(io.StringIO(text, newline=""))
    assert [row["more"] for row in rows] == ["=1", "'=1"]
    found = read_scored(rows, scored.classes)
    assert (found.keys, found.groups, found.videos) == (keys, scored.groups, scored.videos)
    assert found.methods == scored.methods
    assert found.margins is not None
    assert found.margins.tolist() == [-0.5, 1.5]
    path = tmp_path / "scores.csv"
    path.write_text(text, "utf-8")
    assert read_drop_list(path) == set(keys)


def test_the_worst_mistake_is_the_surest() -> None:
    rows = [(0, [0.1, 0.3, 0.6]), (0, [0.9, 0, 0.1]), (2, [0, 0.95, 0.05]), (1, [0.6, 0.4, 0])]
    assert worst_mistakes(scored_of(rows), 9).tolist() == [2, 0, 3]
    assert worst_mistakes(scored_of(rows), 1).tolist() == [2]


def test_the_rate_at_an_fpr_has_the_fpr_in_its_title() -> None:
    found = {name: METRICS[name] for name in METRICS if name.startswith("tpr_at_fpr")}
    assert [metric.title for metric in found.values()] == [
        f"TPR at FPR {100 * float(name.rpartition('_')[2]):g} %" for name in found
    ]
    assert {metric.unit for metric in found.values()} == {"percent"}
