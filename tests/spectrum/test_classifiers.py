import math
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.svm import SVC
from skops.io import dumps

from hffkit.errors import TrainingError, UnknownNameError, WeightsError
from hffkit.media.image import Image, decode, read_bytes
from hffkit.spectrum.classifiers import (
    CLASSIFIERS,
    classifier_named,
    fit,
    is_called_fake,
    margins,
    scores,
)
from hffkit.spectrum.features import FEATURES, features_of
from hffkit.spectrum.models import read_model, write_model
from hffkit.spectrum.repeats import balanced, repeated, splits_of

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# README and notebook outputs of "Unmasking DeepFakes with simple Features", and re-runs of them.
PUBLISHED = {"svm-linear": 99.95, "svm-rbf": 100.0, "logistic": 99.65, "kmeans": 96.45}


def celeba(data: Path) -> tuple[Floats, Flags]:
    """The published CelebA features: 1,000 real images and 1,000 fake ones, 80 points."""
    with np.load(data / "golden" / "durall" / "celeba_2000x80.npz") as file:
        return file["profiles"], file["labels"] == 1


def dfd(data: Path) -> tuple[Floats, Flags]:
    """The published test features of DeepFakeDetection, whose labels say real."""
    with np.load(data / "golden" / "durall" / "deepfakedetection_test_1000x300.npz") as file:
        return file["profiles"], file["labels"] == 0


def random_accuracy(name: str, features: Floats, is_fake: Flags) -> float:
    groups = [str(i) for i in range(len(is_fake))]
    splits = splits_of(len(is_fake), groups, "random", n_repeats=10, seed=0)
    return 100 * repeated(name, features, is_fake, splits)[0].mean


def blobs(n: int = 40, seed: int = 0) -> tuple[Floats, Flags]:
    """Fake images lie four to the right of real ones, n of each, with a spread of 0.1."""
    rng = np.random.default_rng(seed)
    is_fake = np.arange(2 * n) % 2 == 0
    return rng.normal(0, 0.1, (2 * n, 3)) + is_fake[:, None] * [4.0, 0, 0], is_fake


def test_the_sizes_of_images_alone_separate_real_faces_from_real_faces(data: Path) -> None:
    paths = sorted((data / "data/images/real-celeba-stargan128").iterdir())[:240]
    images = [decode(read_bytes(path)) for path in paths]
    is_second = np.arange(len(images)) >= 120
    splits = splits_of(len(images), (), "random", n_repeats=5, seed=0)

    def accuracy(some: list[Image], others: list[Image]) -> float:
        features = features_of([*some, *others], FEATURES["celeba"])
        return repeated("svm-rbf", features, is_second, splits)[0].mean

    cut = [image[9:118, 19:108] for image in images[120:]]
    assert accuracy(images[:120], images[120:]) < 0.6
    assert accuracy(images[:120], cut) > 0.9


@pytest.mark.golden
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_features_give_the_published_accuracies(data: Path, name: str) -> None:
    assert random_accuracy(name, *celeba(data)) == pytest.approx(PUBLISHED[name], abs=0.3)


@pytest.mark.golden
def test_the_poly_svm_comes_near_the_notebook(data: Path) -> None:
    assert random_accuracy("svm-poly", *celeba(data)) == pytest.approx(98.55, abs=0.3)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("svm-rbf", 90.7), ("svm-linear", 77.7), ("logistic", 76.7), ("kmeans", 58.5)],
)
def test_published_video_features_give_the_rerun_accuracies(
    data: Path, name: str, accuracy: float
) -> None:
    # 200 test frames a split: the mean of ten has a standard error of about one point.
    assert random_accuracy(name, *dfd(data)) == pytest.approx(accuracy, abs=2.5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_say_fake_whichever_class_comes_first(name: str) -> None:
    for shift in (1, -1):
        features, is_fake = blobs()
        features = (features - [2, 0, 0]) * shift
        model = fit(name, features, is_fake)
        found = margins(name, model, features)
        assert np.array_equal(found > 0, is_fake)
        assert np.array_equal(scores(found) > 0.5, is_fake)
        assert np.array_equal(is_called_fake(name, model, features), is_fake)


@pytest.mark.parametrize("seed", range(6))
def test_clusters_are_called_what_most_images_in_them_are(seed: int) -> None:
    features, is_fake = blobs(seed=seed)
    for labels in (is_fake, ~is_fake):
        model = fit("kmeans", features, labels, seed=seed)
        assert np.array_equal(is_called_fake("kmeans", model, features), labels)
        assert np.array_equal(model.predict(features) == 1, labels)


@pytest.mark.golden
def test_margins_are_those_of_the_models_written_out(data: Path) -> None:
    features, is_fake = celeba(data)
    some = np.arange(0, len(features), 10)
    linear = fit("svm-linear", features[some], is_fake[some])
    by_hand = features @ linear.coef_[0] + linear.intercept_[0]
    assert np.allclose(margins("svm-linear", linear, features), by_hand)
    rbf = fit("svm-rbf", features[some], is_fake[some])
    apart = ((features[:50, None] - rbf.support_vectors_[None]) ** 2).sum(2)
    by_hand = np.exp(-0.86 * apart) @ rbf.dual_coef_[0] + rbf.intercept_[0]
    assert np.allclose(margins("svm-rbf", rbf, features[:50]), by_hand)
    logistic = fit("logistic", features[some], is_fake[some])
    by_hand = logistic.predict_proba(features)[:, 1]
    assert np.allclose(scores(margins("logistic", logistic, features)), by_hand)


def test_scores_of_any_margin_are_numbers() -> None:
    found = scores(np.array([-1e9, -2.0, 0.0, 2.0, 1e9]))
    assert found == pytest.approx([0, 1 / (1 + math.e**2), 0.5, 1 / (1 + math.e**-2), 1])


# Splits


def test_grouped_splits_never_cut_a_group_in_two() -> None:
    groups = [f"g{i // 3}" for i in range(60)]
    splits = splits_of(60, groups, "grouped", n_repeats=10, seed=1)
    assert len({tuple(test) for _, test in splits}) == 10
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(60))
        assert {groups[i] for i in train} & {groups[i] for i in test} == set()
        assert len(test) == 12


def test_random_splits_are_the_papers_and_do_cut_groups() -> None:
    groups = [f"g{i // 3}" for i in range(60)]
    (train, test), *_ = splits_of(60, groups, "random", n_repeats=10, seed=1)
    assert (len(train), len(test)) == (48, 12)
    assert {groups[i] for i in train} & {groups[i] for i in test}


def test_leaks_show_between_the_protocols() -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(size=(40, 3))  # labels are of people, at random: nothing to learn
    features = np.repeat(people, 10, axis=0) + rng.normal(0, 0.01, (400, 3))
    is_fake = np.repeat(np.arange(40) % 2 == 0, 10)
    groups = [str(i // 10) for i in range(400)]

    def mean(protocol: str) -> float:
        how = {"n_repeats": 10, "seed": 0}
        splits = splits_of(400, groups, protocol, **how)  # type: ignore[arg-type]
        return repeated("svm-rbf", features, is_fake, splits)[0].mean

    assert mean("random") > 0.95
    assert mean("grouped") < 0.75


def test_few_labels_are_balanced_and_nested() -> None:
    is_fake = np.arange(100) % 5 == 0
    places = np.arange(0, 100)
    draws = [
        set(balanced(places, is_fake, n, np.random.default_rng(3)).tolist()) for n in (6, 11, 40)
    ]
    assert [(sum(is_fake[list(d)]), len(d)) for d in draws] == [(3, 6), (5, 11), (20, 40)]
    assert draws[0] < draws[1] < draws[2]
    with pytest.raises(TrainingError, match="21 fake and 21 real, but there are 20 and 80"):
        balanced(places, is_fake, 42, np.random.default_rng(3))


def test_more_labels_help(data: Path) -> None:
    features, is_fake = celeba(data)
    groups = [str(i) for i in range(len(is_fake))]
    splits = splits_of(len(is_fake), groups, "grouped", n_repeats=10, seed=0)
    few, many = (
        repeated("svm-linear", features, is_fake, splits, n_train=n)[0] for n in (20, None)
    )
    assert (few.n_train, many.n_train) == (20, 1600)
    assert 0.8 < few.mean < many.mean
    assert few.mean == pytest.approx(np.mean(few.accuracies))


# Bad input


def test_too_few_of_a_class_are_refused() -> None:
    features, _ = blobs()
    is_fake = np.zeros(80, bool)
    is_fake[0] = True
    with pytest.raises(TrainingError, match="at least 2 samples of each class, got 1 fake and 79"):
        fit("svm-rbf", features, is_fake)
    with pytest.raises(TrainingError, match="at least 2 groups, got 1"):
        splits_of(80, ["a"] * 80, "grouped", n_repeats=10, seed=0)


def test_what_is_no_number_is_refused() -> None:
    features, is_fake = blobs()
    features[3, 1] = np.nan
    with pytest.raises(TrainingError, match="must be finite"):
        fit("logistic", features, is_fake)


def test_unknown_classifiers_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'svm-rbf'"):
        classifier_named("svm_rbf")


# Files


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_models_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    features, is_fake = blobs()
    model = fit(name, features, is_fake)
    write_model(tmp_path / "model.skops", model)
    again = read_model(tmp_path / "model.skops", name, 3)
    assert np.array_equal(margins(name, again, features), margins(name, model, features))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_equal_models_are_equal_files(tmp_path: Path, name: str) -> None:
    features, is_fake = blobs()
    kept = []  # so that no object takes the address of another
    for each in ("a", "b"):
        kept.append(fit(name, features, is_fake))
        write_model(tmp_path / each, kept[-1])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Evil:
    """A type of nobody's."""


def test_files_of_other_things_are_refused(tmp_path: Path) -> None:
    features, is_fake = blobs()
    path = tmp_path / "model.skops"
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        read_model(path, "svm-rbf", 3)
    whole = dumps(fit("svm-rbf", features, is_fake))
    for data in (b"", b"no archive", whole[:3000], pickle.dumps({"a": 1})):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match="no complete model"):
            read_model(path, "svm-rbf", 3)
    path.write_bytes(dumps(Evil()))
    with pytest.raises(WeightsError, match=r"contains .*Evil, which no model of hffkit does"):
        read_model(path, "svm-rbf", 3)
    path.write_bytes(dumps(SVC()))
    with pytest.raises(WeightsError, match="not a fitted SVC"):
        read_model(path, "svm-rbf", 3)
    path.write_bytes(whole)
    with pytest.raises(WeightsError, match="has a SVC, not a fitted KMeans"):
        read_model(path, "kmeans", 3)
    with pytest.raises(WeightsError, match=r"takes 3 features, but run\.json has 5"):
        read_model(path, "svm-rbf", 5)
