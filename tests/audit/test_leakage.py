"""The leakage score, on facts that are drawn here."""

import subprocess
import sys

import numpy as np
import pytest

from hffkit.audit.leakage import leakage
from hffkit.audit.stored_facts import Fact
from hffkit.errors import MetricError

FACTS = (Fact("size", "size"), Fact("twin", "twin"), Fact("noise", "noise", is_content=True))


def _rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng([2026, *seed])


def _drawn(n: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = _rng(seed)
    is_fake = np.arange(n) % 2 == 1
    size = rng.normal(size=n) + shift * is_fake
    return np.column_stack((size, -size, rng.normal(size=n))), is_fake, np.arange(n)


def test_a_shift_of_one_deviation_scores_as_the_theory_says() -> None:
    values, is_fake, groups = _drawn(3000, 1.0)
    found = leakage(values, is_fake, groups, FACTS, _rng())
    # Two normals a deviation apart: AUC = Phi(1 / sqrt 2) = 0.760 for the best classifier.
    assert 0.73 < found.auc < 0.77
    assert found.low < found.auc < found.high
    assert 0.02 < found.high - found.low < 0.05  # +- 1.96 * sqrt(0.76 * 0.24 / 1500) / ...
    assert [each.names for each in found.carriers] == [("size",)] or found.carriers[0].names[0] in (
        "size", "twin",
    )  # fmt: skip
    assert all("noise" not in each.names for each in found.carriers)


# 95 % of 20 is 19; 15 or fewer have a probability of 3e-4.
@pytest.mark.slow
def test_chance_is_covered_by_the_interval_in_nearly_all_draws() -> None:
    covered = 0
    for seed in range(20):
        values, is_fake, groups = _drawn(200, 0.0, seed)
        found = leakage(values, is_fake, groups, FACTS, _rng(seed))
        covered += found.low <= 0.5 <= found.high
    assert covered >= 16


def test_equal_arguments_give_equal_results() -> None:
    values, is_fake, groups = _drawn(60, 0.7)
    first, second = (leakage(values, is_fake, groups, FACTS, _rng()) for _ in range(2))
    assert first == second
    assert leakage(values, is_fake, groups, FACTS, _rng(1)) != first


def test_groups_are_never_in_both_parts() -> None:
    # A fact that names the group predicts the class only of samples whose group was seen.
    rng = _rng()
    groups = np.repeat(np.arange(40), 25)
    is_fake = groups % 2 == 1
    number = rng.permutation(40)[groups].astype(float)
    values = np.column_stack((number, number, rng.normal(size=len(groups))))
    apart = leakage(values, is_fake, groups, FACTS, _rng())
    assert apart.low < 0.5
    assert apart.auc < 0.65  # chance, of 40 groups
    together = leakage(values, is_fake, np.arange(len(groups)), FACTS, _rng())
    assert together.auc > 0.95


def test_facts_that_always_change_together_are_one_carrier() -> None:
    is_fake = np.arange(200) % 2 == 1
    quality = np.where(is_fake, 95.0, 75.0)
    values = np.column_stack((quality, 100 - quality, _rng().normal(size=200)))
    found = leakage(values, is_fake, np.arange(200), FACTS, _rng())
    assert (found.auc, found.low, found.high) == (1, 1, 1)
    assert [each.names for each in found.carriers] == [("size", "twin")]
    assert found.carriers[0].importance > 0.4
    assert found.carriers[0].own_auc == 1


def test_missing_facts_count_as_facts() -> None:
    is_fake = np.arange(100) % 2 == 1
    values = np.column_stack((np.where(is_fake, np.nan, 75.0), np.zeros(100), np.zeros(100)))
    assert leakage(values, is_fake, np.arange(100), FACTS, _rng()).auc == 1


def test_a_fact_that_a_single_sample_has_breaks_no_fold() -> None:
    values, is_fake, groups = _drawn(60, 0)
    values[:, 1] = np.nan
    values[7, 1] = 3
    assert 0 <= leakage(values, is_fake, groups, FACTS, _rng()).auc <= 1


def test_facts_that_do_not_vary_are_chance() -> None:
    values, is_fake, groups = _drawn(100, 0)
    found = leakage(np.zeros_like(values), is_fake, groups, FACTS, _rng())
    assert (found.auc, found.low, found.high, found.carriers) == (0.5, 0.5, 0.5, ())


@pytest.mark.parametrize("n", [3, 15])
def test_few_samples_are_refused(n: int) -> None:
    values, is_fake, groups = _drawn(n, 1)
    with pytest.raises(MetricError, match="needs 8 samples of each class"):
        leakage(values, is_fake, groups, FACTS, _rng())


def test_classes_of_one_group_are_refused() -> None:
    values, is_fake, _ = _drawn(100, 1)
    with pytest.raises(MetricError, match="two groups in each class"):
        leakage(values, is_fake, is_fake.astype(np.int64), FACTS, _rng())


@pytest.mark.slow
def test_the_first_score_of_a_process_is_computed_in_one_thread() -> None:
    code = """
from threadpoolctl import threadpool_info
from hffkit.audit.leakage import one_thread
with one_thread():
    from sklearn.ensemble import HistGradientBoostingClassifier
    print([each["num_threads"] for each in threadpool_info() if each["user_api"] == "openmp"])
"""
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert set(shown.strip("[]\n").split(", ")) == {"1"}
