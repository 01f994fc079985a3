"""Metric learning on pairs: the network, its losses, pairs, training, what is measured of it."""

import copy
import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from makers.networks import thin
from makers.runs import write_run
from makers.trainings import StopError, fail, result_of, selected_of, stop_at
from makers.trees import build_corpus, change_manifest, portrait, shorten
from PIL import Image as Pillow
from torch import Tensor, nn
from torch.nn import functional

from hffkit.errors import CorpusError, ManifestError, RecipeError, WeightsError
from hffkit.evaluation.evaluate import evaluate
from hffkit.evaluation.request import EvalRequest
from hffkit.evaluation.thresholds import sweeps_of, threshold_of
from hffkit.explain.cam import grad_cam
from hffkit.explain.illustrations import answer_images
from hffkit.explain.images import overlay
from hffkit.inference.network import load_network
from hffkit.inference.predict import PredictRequest, predict
from hffkit.interop.weights import foreign_weights
from hffkit.manifest.classes import BINARY
from hffkit.manifest.pairs import frame_of, in_quality, paired, quality_of
from hffkit.manifest.samples import Sample
from hffkit.media.image import Image, resize
from hffkit.networks import hardware
from hffkit.networks.mml import HighQuality, Mml, lengths, map_side
from hffkit.networks.spec import RGB_SIGNED
from hffkit.networks.table import build
from hffkit.runs.run import read_run
from hffkit.runs.scores import Scored
from hffkit.runs.weights import read_weights
from hffkit.storage.corpus import Corpus
from hffkit.storage.parts import Record
from hffkit.storage.record import store
from hffkit.storage.writer import CorpusWriter
from hffkit.training import loop as training
from hffkit.training.dataset import FaceDataset
from hffkit.training.initial import initial_weights
from hffkit.training.labelled import training_data
from hffkit.training.masks import shrunk
from hffkit.training.metric_learning import PairOutputs, best_threshold, mask_of, pair_loss
from hffkit.training.pairs import PairDataset, pair_shape, parts_of
from hffkit.training.recipe import MetricSettings, TrainRecipe, parse_override
from hffkit.training.request import TrainRequest, chosen_recipe
from hffkit.training.train import train
from hffkit.training.updater import Updater

Run = Callable[..., Result]
CPU = torch.device("cpu")
SIZE = 32
SIDE = map_side(SIZE)
VIDEOS = {
    "real": ("001", "870", "004", "000"),
    "Deepfakes": ("001_870", "870_001", "004_982", "000_003"),
}
N_FRAMES = 4
SMALL = {
    "size": SIZE, "batch_size": 4, "max_iterations": 3, "val_interval": 2, "log_interval": 1,
}  # fmt: skip
METRIC = MetricSettings("c23", "c40", 0.01, 18.0, 0.2, 1.0, 1.0, "val", as_published=False)


def square(n: int) -> tuple[slice, slice]:
    """Where image number `n` of a video is forged."""
    return slice(8 + 4 * n, 24 + 4 * n), slice(8, 28)


def lay_crops(root: Path) -> Path:
    """Write crops as Cao et al. have them: each frame as PNG, and from JPEG in place of c40."""
    for name, videos in VIDEOS.items():
        for v, video in enumerate(videos):
            for n in range(N_FRAMES):
                x, y = 140 + 9 * n, 60 + 5 * v  # no two videos are alike
                pixels = portrait()[y : y + 48, x : x + 48].copy()
                if name != "real":
                    pixels[square(n)] //= 2
                for quality in ("c23", "c40"):
                    path = root / f"face/{name}/{quality}/{video}/{n}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    image = Pillow.fromarray(pixels)
                    if quality == "c40":
                        image.save(path.with_suffix(".jpg"), quality=15)
                        image = Pillow.open(path.with_suffix(".jpg")).convert("RGB")
                        path.with_suffix(".jpg").unlink()
                    image.save(path)
    return root


def forged(_: Corpus, sample: Sample) -> Image:
    """White where `lay_crops` forged."""
    picture = np.zeros((48, 48, 3), np.uint8)
    picture[square(int(sample.key.split("/")[-1]))] = 255
    return picture


def write_masks(
    corpus: Path, out: Path, mask_of: Callable[[Corpus, Sample], Image | None] = forged
) -> Path:
    """Write the masks of those fakes of a corpus that have one."""
    source = Corpus(corpus)
    fakes = [s for s in source.samples() if s.key.split("/")[1] == "c23" and s.cls != "Real"]
    with CorpusWriter(out) as writer:
        for sample in fakes:
            picture = mask_of(source, sample)
            if picture is None:
                continue
            stored = store(picture, None, source.label(sample), None)
            key = in_quality(sample.key, "masks")
            made = sample._replace(key=key, index=None, sha256=stored.sha256,
                           pixels_sha256=stored.pixels_sha256)  # fmt: skip
            writer.append(key, [Record(made, stored.value)])
        writer.finish(replace(source.provenance, holds="masks"))
    return out


@pytest.fixture(autouse=True, scope="module")
def _thin() -> Iterator[None]:
    with thin():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    tree = lay_crops(folder / "tree")
    return build_corpus("ff++", tree, folder / "pairs.lmdb", qualities=("c23", "c40"))


@pytest.fixture(scope="module")
def masks(corpus: Path) -> Path:
    return write_masks(corpus, corpus.with_name("masks.lmdb"))


def request_of(data: Path, masks: Path | None, **changes: Any) -> TrainRequest:
    overrides = {
        f"metric.{k}" if k in MetricSettings.__annotations__ else k: v for k, v in changes.items()
    }
    return TrainRequest(
        (str(data),), recipe="mml", task="binary", device="cpu", threads=1,
        masks=() if masks is None else (str(masks),),
        overrides=tuple(sorted((SMALL | overrides).items())),
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(corpus: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    # With this seed no distance lies so near the threshold that rounding decides.
    train(replace(request_of(corpus, masks), seed=2), out)
    return out


def samples_of(corpus: Path) -> list[Sample]:
    return list(Corpus(corpus).samples())


# --- losses ----------------------------------------------------------------------------------

Floats = npt.NDArray[np.float64]


def by_hand(
    views: dict[str, Floats], fake: npt.NDArray[np.bool_], levels: Floats, m: MetricSettings
) -> float:
    """The sum of the paper's losses with NumPy, image by image."""
    batch, total = len(fake), 0.0
    for name in ("hq", "lq"):
        outside = inside = 0.0
        for x, is_fake in zip(views[name], fake, strict=True):
            d = min(max(float(np.sqrt((x * x).sum())), 1e-12), 1e12)
            if is_fake:
                inside += max(0.0, m.r_fake - d)
            else:
                outside += max(0.0, d - m.r_real)
        if m.as_published:
            total += (outside / batch + inside / batch) / batch
        else:
            total += outside / max((~fake).sum(), 1) + inside / max(fake.sum(), 1)
    far = [np.sqrt(((a - b) ** 2).sum()) for a, b in zip(views["hq"], views["lq"], strict=True)]
    total += m.pair_weight * float(np.mean(far))
    apart = []
    for a, b in zip(views["hq_map"], views["lq_map"], strict=True):
        apart.append(
            np.sqrt(((a / np.sqrt((a * a).sum()) - b / np.sqrt((b * b).sum())) ** 2).sum())
        )
    total += m.map_weight * float(np.mean(apart))
    grey = levels / 255
    mask = np.where(levels > 51, 1.0, np.where((levels == 51) & m.as_published, grey, 0.0))
    for name in ("hq_map", "lq_map"):
        p = views[name]
        total += m.mask_weight * float(np.mean(-(mask * np.log(p) + (1 - mask) * np.log(1 - p))))
    return total


@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize("n_fake", [0, 1, 3, 6])
@pytest.mark.parametrize("weights", [(0.2, 1.0, 1.0), (0.7, 0.3, 2.0), (0.2, 1.0, 0.0)])
def test_the_loss_is_that_of_the_paper_by_hand(
    as_published: bool,  # noqa: FBT001
    n_fake: int,
    weights: tuple[float, float, float],
) -> None:
    rng = np.random.default_rng(n_fake)
    views = {name: rng.normal(0, 3, (6, 9)) for name in ("hq", "lq")}
    views["hq"][0] = 1e-4  # a real face that lies inside of its radius, or a fake at the origin
    views |= {name: rng.uniform(0.05, 0.95, (6, 3, 3)) for name in ("hq_map", "lq_map")}
    fake = np.arange(6) < n_fake
    levels = rng.choice([0, 50, 51, 52, 255], (6, 3, 3))
    metric = replace(
        METRIC, pair_weight=weights[0], map_weight=weights[1], mask_weight=weights[2],
        as_published=as_published, r_fake=9.5,
    )  # fmt: skip
    found = pair_loss(
        PairOutputs(**{name: torch.from_numpy(value).float() for name, value in views.items()}),
        torch.from_numpy(fake), torch.from_numpy(levels.astype(np.uint8)), metric,
    )  # fmt: skip
    assert float(found) == pytest.approx(by_hand(views, fake, levels, metric), rel=1e-5)


def test_the_published_division_is_another_loss_and_grey_cells_stay_there() -> None:
    levels = torch.tensor([[[0, 50, 51, 52, 255]]], dtype=torch.uint8)
    assert mask_of(levels, as_published=False).flatten().tolist() == [0, 0, 0, 1, 1]
    published = mask_of(levels, as_published=True).flatten().tolist()
    assert published == pytest.approx([0, 0, 0.2, 1, 1])


@pytest.mark.parametrize(("name", "by_default"), [("mml", True), ("mml-small", False)])
def test_a_recipe_has_the_loss_that_it_names_and_the_other_is_an_option(
    name: str,
    by_default: bool,  # noqa: FBT001
) -> None:
    text = (Path(__file__).parents[2] / f"recipes/train/{name}.toml").read_text("utf-8")
    header = text[: text.index("network =")]
    assert ("--corrected" if by_default else "--as-published") in header
    for overrides, wanted in (((), by_default), ((OTHER_LOSS[by_default],), not by_default)):
        metric = chosen_recipe(TrainRequest(("x",), recipe=name, overrides=overrides)).metric
        assert metric is not None
        assert metric.as_published is wanted


OTHER_LOSS = {wanted: ("metric.as_published", not wanted) for wanted in (True, False)}


def test_embeddings_at_the_origin_or_equal_have_finite_gradients() -> None:
    zero = torch.zeros(2, 5, requires_grad=True)
    flat = torch.full((2, 2, 2), 0.5, requires_grad=True)
    views = PairOutputs(zero, zero, flat, flat)
    levels = torch.zeros(2, 2, 2, dtype=torch.uint8)
    pair_loss(views, torch.tensor([True, False]), levels, METRIC).backward()  # type: ignore[no-untyped-call]
    assert zero.grad is not None
    assert flat.grad is not None
    assert zero.grad.isfinite().all()
    assert flat.grad.isfinite().all()
    assert lengths(zero).tolist() == pytest.approx([1e-12] * 2)


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=12))
def test_the_threshold_of_val_is_the_best_there_is(rows: list[tuple[int, bool]]) -> None:
    distances = np.array([d for d, _ in rows], np.float32)
    fake = np.array([is_fake for _, is_fake in rows])
    if fake.all() or not fake.any():
        with pytest.raises(CorpusError, match="choosing a threshold needs both"):
            best_threshold(distances, fake)
        return
    found = best_threshold(distances, fake)
    order = np.random.default_rng(0).permutation(len(fake))
    assert best_threshold(distances[order], fake[order]) == found

    def balanced(threshold: float) -> float:
        called = distances >= threshold
        return float((called[fake].mean() + (~called[~fake]).mean()) / 2)

    between = {d + 0.5 for d in distances.tolist() if d < distances.max()}
    assert all(balanced(found) >= balanced(each) - 1e-9 for each in between)


def test_of_equally_good_thresholds_the_widest_gap_then_the_lowest() -> None:
    fake = np.array([False, True, False, True])
    assert best_threshold(np.array([1, 2, 3, 7], np.float32), fake) == 5
    assert best_threshold(np.array([1, 3, 5, 7], np.float32), fake) == 2
    assert best_threshold(np.array([2, 2, 2, 2], np.float32), fake) == 2
    near = np.array([9, np.nextafter(np.float32(9), np.float32(10))], np.float32)
    assert near[0] < np.float32(best_threshold(near, np.array([False, True]))) <= near[1]


# --- pairs -----------------------------------------------------------------------------------


def find(samples: list[Sample], masks: dict[str, Sample] | None = None) -> Any:
    items = [(None, sample) for sample in samples]
    by_key = None if masks is None else {key: (None, mask) for key, mask in masks.items()}
    found: Any = paired(items, by_key, lambda s: s.cls != "Real", ("c23", "c40"))
    return replace(found, high=[s for _, s in found.high], low=[s for _, s in found.low])


def test_pairs_differ_in_quality_alone_and_the_rest_is_counted(corpus: Path) -> None:
    samples = samples_of(corpus)
    found = find(samples)
    assert len(found.high) == len(samples) // 2
    assert not found.left_out
    for high, low in zip(found.high, found.low, strict=True):
        assert (quality_of(high.key), quality_of(low.key)) == ("c23", "c40")
        assert high.key.replace("/c23/", "/c40/") == low.key
    high, low = found.high[0], found.low[1]
    others = [
        low._replace(key=in_quality(low.key, "raw")),
        low._replace(key="a/b.png"),
        *(s for s in samples if s.key not in (high.key, low.key)),
    ]
    left = find(others)
    assert len(left.high) == len(found.high) - 2
    assert left.left_out == {"neither c23 nor c40": 2, "c23 without c40": 1, "c40 without c23": 1}
    cut = [s._replace(box=(0, 0, 9)) if s.key == high.key else s for s in samples]
    assert find(cut).left_out == {"c23 and c40 cut differently": 2}
    with pytest.raises(ManifestError, match="occurs twice"):
        find([*samples, samples[0]])
    n_fakes = sum(s.cls != "Real" for s in samples)
    assert find(samples, {}).left_out == {"fake without a mask": n_fakes}
    fakes = [s for s in samples if s.cls != "Real"]
    keys = [in_quality(s.key, "masks") for s in fakes]
    odd = {k: s._replace(key=k, box=(1, 1, 9)) for k, s in zip(keys, fakes, strict=True)}
    assert find(samples, odd).left_out == {"mask cut differently": n_fakes}


def test_only_keys_of_faceforensics_name_a_quality() -> None:
    assert quality_of("ff++/c40/Real/000/0001") == "c40"
    assert quality_of("faces/real-vs-fake/train/real/1.png") is None
    assert frame_of("a/s1/x/y/1.png") != frame_of("a/s2/x/y/1.png")
    assert frame_of("ff++/c23/Real/000/0001") == frame_of("ff++/c40/Real/000/0001")


def test_a_pair_holds_both_images_and_its_mask(corpus: Path, masks: Path) -> None:
    opened, drawn = Corpus(corpus), Corpus(masks)
    items = [(opened, sample) for sample in opened.samples()]
    by_key = {s.key: (drawn, s) for s in drawn.samples()}
    found = paired(items, by_key, lambda s: s.cls != "Real", ("c23", "c40"))
    high, low = FaceDataset(found.high, SIZE, RGB_SIGNED), FaceDataset(found.low, SIZE, RGB_SIGNED)
    pairs = PairDataset(high, low, found.masks)
    for number in (0, len(pairs) - 1):
        out = np.full(pair_shape(SIZE), 7, np.uint8)
        pairs.read(number, 0, out)
        parts = parts_of(torch.from_numpy(out)[None], SIZE)
        for part, faces in zip(parts, (high, low), strict=False):
            alone = np.empty((SIZE, SIZE, 3), np.uint8)
            faces.read(number, 0, alone)
            assert np.array_equal(part[0].numpy(), alone)
        sample = found.high[number][1]
        levels = np.zeros((SIDE, SIDE), np.uint8)
        if sample.cls != "Real":
            levels = shrunk(drawn.image(by_key[in_quality(sample.key, "masks")][1]), SIDE)
            assert levels.max() > 51 > levels.min()
        assert np.array_equal(parts[2][0].numpy(), levels)


def test_reals_are_repeated_for_each_manipulation_in_training_alone(
    corpus: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree/face"
    for name, other in (("real", "real"), ("Deepfakes", "Deepfakes"), ("Deepfakes", "FaceSwap")):
        shutil.copytree(corpus.with_name("tree") / "face" / name, tree / other)
    both = build_corpus("ff++", tree.parent, tmp_path / "all.lmdb", qualities=("c23", "c40"))
    for repeats in (False, True):
        recipe = recipe_of(mask_weight=0, repeat_real=repeats)
        found = training_data([str(both)], (), "binary", recipe, 0)
        for split, data in found.splits.items():
            times = Counter(sample.key for _, sample in data.dataset.items)
            n_times = 2 if repeats and split == "train" else 1
            assert {n for key, n in times.items() if "/Real/" in key} == {n_times}
            assert {n for key, n in times.items() if "/Real/" not in key} == {1}
            assert [s.cls == "Real" for _, s in data.dataset.items] == (data.labels == 1).tolist()
            assert len(data.dataset) == len(data.labels) == sum(times.values())
    recipe = chosen_recipe(TrainRequest(("x",), recipe="mml"))
    assert recipe.metric is not None
    assert not recipe.metric.repeat_real


# --- one step --------------------------------------------------------------------------------


def recipe_of(**changes: Any) -> TrainRecipe:
    return chosen_recipe(request_of(Path("x"), None, **changes))


def drawn_batch(n: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, *pair_shape(SIZE)), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(n) % 2


def test_a_step_is_one_of_the_published_formula_written_out() -> None:
    recipe = recipe_of(as_published=True, epsilon=1e-4)
    torch.manual_seed(0)
    net = Mml(2, SIZE)
    mine, (pixels, labels) = copy.deepcopy(net).train(), drawn_batch()
    updater = Updater(net, recipe, RGB_SIGNED, CPU, seed=0)
    updater.step(pixels, labels)

    n = 3 * SIZE * SIZE
    images = [
        pixels[:, k * n : (k + 1) * n].view(-1, SIZE, SIZE, 3).permute(0, 3, 1, 2).float() / 127.5
        - 1
        for k in (0, 1)
    ]
    grey = pixels[:, 2 * n :].view(-1, SIDE * SIDE).float() / 255
    truth = torch.where(grey > 0.2, 1.0, torch.where(grey < 0.2, 0.0, grey))
    found, maps = [], []
    for head, image in zip((mine.hq_head, mine.lq_head), images, strict=True):
        masked, attention = head(image)
        found.append(mine.tail(masked))
        maps.append(attention.flatten(1))
    loss = torch.zeros(())
    for embedding in found:
        d = embedding.pow(2).sum(1).sqrt().clamp(1e-12, 1e12)
        real, fake = (labels == 1).float(), (labels == 0).float()
        size = len(labels)
        loss = (
            loss
            + (
                (functional.relu(d - 0.01) * real).sum() / size
                + (functional.relu(18.0 - d) * fake).sum() / size
            )
            / size
        )
    loss = loss + 0.2 * (found[0] - found[1]).pow(2).sum(1).sqrt().mean()
    unit = [m / m.pow(2).sum(1, keepdim=True).sqrt() for m in maps]
    loss = loss + (unit[0] - unit[1]).pow(2).sum(1).sqrt().mean()
    loss = loss + nn.BCELoss()(maps[0], truth) + nn.BCELoss()(maps[1], truth)
    loss.backward()
    assert float(updater.losses[0]) == pytest.approx(float(loss.detach()), rel=1e-5)
    stepped = dict(net.named_parameters())
    for name, p in mine.named_parameters():
        grad = stepped[name].grad
        assert p.grad is not None
        assert grad is not None
        # Rounding differs by up to 0.8 % with AVX-512. Adam's quotient makes 6 % of that, so its
        # step is held to the gradient taken. Before a normalisation, a bias has but rounding.
        assert (grad - p.grad).norm() < 0.03 * p.grad.norm() + 1e-8 * p.numel() ** 0.5, name
        g = grad + 1e-4 * p.detach()  # Adam's first step, its decay inside the gradient
        mean, square_ = 0.1 * g / (1 - 0.9), (1 - 0.999) * g * g / (1 - 0.999)
        expected = p.detach() - 1e-4 * mean / (square_.sqrt() + 1e-4)
        torch.testing.assert_close(stepped[name].detach(), expected, rtol=1e-6, atol=1e-8)


def test_gradients_reach_both_heads_their_maps_and_the_tail() -> None:
    torch.manual_seed(0)
    net = Mml(2, SIZE)
    updater = Updater(net, recipe_of(), RGB_SIGNED, CPU, seed=0)
    updater.net.train()
    updater.loss(*drawn_batch()).backward()  # type: ignore[no-untyped-call]
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all()
        assert p.ndim == 1 or p.grad.any(), name


# --- recipes ---------------------------------------------------------------------------------


def test_values_of_metric_learning_are_overridden_by_their_dotted_names() -> None:
    assert parse_override("metric.r_fake=9") == ("metric.r_fake", 9)
    recipe, published = recipe_of(r_fake=9, threshold=5), replace(METRIC, as_published=True)
    assert recipe.metric == replace(published, r_fake=9.0, threshold=5.0)
    assert isinstance(recipe.metric.threshold, float)
    nested = TrainRequest(("x",), recipe="mml", overrides=(("metric", {"r_fake": 9}),))
    assert chosen_recipe(nested).metric == replace(published, r_fake=9.0)
    assert "metric" not in chosen_recipe(TrainRequest(("x",))).to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "xception"}, "mml and loss = 'metric' go together, got xception"),
        ({"loss": "cross-entropy"}, "mml and loss = 'metric' go together"),
        ({"degrade": ["jp-mix"]}, "degrade must be empty for pairs, got jp-mix"),
        ({"select": "last"}, "metric.threshold must be a number where select is 'last'"),
        ({"r_fake": -1}, "metric.r_fake must be from 0"),
        ({"threshold": float("nan")}, "metric.threshold must be from 0"),
        ({"threshold": "best"}, "metric.threshold must be a number or val, got 'best'"),
        ({"as_published": 1}, "metric.as_published must be true or false, got 1"),
        ({"low": "c23"}, "metric.high and metric.low must differ, got 'c23' twice"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_of(**changes)


def test_a_table_metric_of_another_network_is_refused() -> None:
    request = TrainRequest(("x",), overrides=(("metric.r_fake", 3),))
    with pytest.raises(RecipeError, match=r"no \[metric\], to which metric\.r_fake belongs"):
        chosen_recipe(request)


# --- training --------------------------------------------------------------------------------


def test_a_training_says_what_it_paired_and_chooses_its_threshold(finished: Path) -> None:
    run = read_run(finished)
    pairs = run.made["pairs"]
    assert pairs["found"] == {"train": 4 * N_FRAMES, "val": 2 * N_FRAMES}
    assert pairs["left_out"] == {"train": {}, "val": {}}
    assert len(pairs["masks"][0]["content_sha256"]) == 64
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    looks = {row["iteration"]: row["threshold"] for row in lines if "threshold" in row}
    assert list(looks) == [2, 3]
    kept = selected_of(run)
    assert float(read_weights(finished)["threshold"]) == pytest.approx(looks[kept["iteration"]])


def test_the_accuracy_of_val_is_that_of_eval(corpus: Path, finished: Path) -> None:
    kept = selected_of(read_run(finished))
    (one,) = evaluate(EvalRequest((finished,), (str(corpus),), split="val")).measured
    found = {row.quality: row.values for row in one.qualities}
    assert found["c40"]["accuracy"] == pytest.approx(kept["val_accuracy"])


def test_an_interrupted_training_on_pairs_ends_as_an_uninterrupted_one(
    corpus: Path, masks: Path, finished: Path, tmp_path: Path
) -> None:
    out, request = tmp_path / "run", replace(request_of(corpus, masks), seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
        stop_at(patch, 2, fail)
        with pytest.raises(StopError):
            train(request, out)
    train(replace(request, keep="stream"), out)
    assert result_of(out) == result_of(finished)


def test_a_named_threshold_is_kept_without_a_look_at_val(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_instructions", frozenset)  # bf16 on any processor
    request = request_of(
        corpus, None, mask_weight=0, select="last", threshold=5, max_iterations=1,
        precision="bf16", size=16,
    )  # fmt: skip
    train(request, tmp_path / "run")
    assert float(read_weights(tmp_path / "run")["threshold"]) == 5


# --- beginning with an Xception --------------------------------------------------------------


def published_file(path: Path, **changes: Any) -> tuple[Path, dict[str, Tensor]]:
    """Write what xception-b5690688.pth is like: 1x1 weights flat, a last layer called fc."""
    torch.manual_seed(1)
    state = dict(build("xception", 1000, SIZE).state_dict())
    flat = {k: v[:, :, 0, 0] if "pointwise" in k else v for k, v in state.items()}
    flat = {k.replace("last_linear", "fc"): v for k, v in flat.items() if "num_batches" not in k}
    torch.save({**flat, **changes}, path)
    return path, state


def test_both_heads_and_the_tail_begin_with_imagenet(
    corpus: Path, masks: Path, tmp_path: Path
) -> None:
    path, state = published_file(tmp_path / "xception-b5690688.pth")
    fixed = request_of(corpus, masks, max_iterations=0, select="last", threshold=9)
    train(replace(fixed, init=path), tmp_path / "run")
    found = read_weights(tmp_path / "run")
    n_compared = 0
    for key, value in state.items():
        for part in ("hq_head", "lq_head", "tail"):
            if f"{part}.{key}" in found:
                assert torch.equal(found[f"{part}.{key}"], value), key
                n_compared += 1
    assert n_compared == len(found) - 5  # but two convolutions of each map, and the threshold
    told = read_run(tmp_path / "run").made["init"]
    assert {k for k in told["not_taken"] if "num_batches" not in k} == {
        "hq_head.reg.conv1.weight", "hq_head.reg.pointwise.weight",
        "lq_head.reg.conv1.weight", "lq_head.reg.pointwise.weight", "threshold",
    }  # fmt: skip


def test_xception_itself_begins_with_imagenet(tmp_path: Path) -> None:
    path, state = published_file(tmp_path / "xception-b5690688.pth")
    found = foreign_weights(path, "xception")
    assert found.n_classes == 1000
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[name], value) for name, value in state.items())


def test_files_that_are_no_xception_are_refused(tmp_path: Path) -> None:
    net = Mml(2, SIZE)
    published_file(tmp_path / "wide.pth", **{"conv2.weight": torch.zeros(64, 32, 5, 5)})
    torch.save({"conv1.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "short.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("hello")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for name, message in (
        ("wide.pth", r"another network than xception: conv2.weight is \[64, 32, 5, 5\], not"),
        ("short.pth", "another network than xception: it lacks 'block1.rep.0.conv1.weight', .*"),
        ("module.pth", "which would be executed when it is loaded"),
        ("list.pth", "no state dict"),
        ("text.pth", "damaged, or no file of PyTorch"),
        ("absent.pth", "no such file"),
    ):
        with pytest.raises(WeightsError, match=message):
            initial_weights(net, tmp_path / name, "mml", BINARY)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# --- measuring and using ---------------------------------------------------------------------


def test_eval_takes_each_quality_through_its_head(
    run: Run, corpus: Path, masks: Path, finished: Path, tmp_path: Path
) -> None:
    lines, page = tmp_path / "scores.csv", tmp_path / "page.html"
    done = run(
        "eval", finished, "--data", corpus, "--masks", masks, "--json", "--csv", lines,
        "--html", page, "--resamples", 20,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)["measured"]
    assert one["n_without_mask"] == 0
    assert "Qualities apart" in page.read_text("utf-8")
    detector = load_network(finished, CPU)
    assert isinstance(detector.net, Mml)
    opened = Corpus(corpus)
    margins: dict[str, dict[str, float]] = {"c23": {}, "c40": {}}
    right: dict[str, list[float]] = {"c23": [], "c40": []}
    drawn = {s.key: s for s in Corpus(masks).samples()}
    for sample in opened.samples():
        if sample.split != "test":
            continue
        pixels = np.empty((SIZE, SIZE, 3), np.uint8)
        FaceDataset([(opened, sample)], SIZE, RGB_SIGNED).read(0, 0, pixels)
        image = torch.from_numpy(pixels.transpose(2, 0, 1))[None].float() / 127.5 - 1
        quality = str(quality_of(sample.key))
        head = detector.net.hq_head if quality == "c23" else detector.net.lq_head
        with torch.no_grad():
            maps, attention = head(image)
            distance = float(detector.net.tail(maps).norm())
        margins[quality][sample.key] = distance - float(detector.net.threshold)
        mask = np.zeros((SIDE, SIDE), bool)
        if sample.cls != "Real":
            picture = Corpus(masks).image(drawn[in_quality(sample.key, "masks")])
            mask = shrunk(picture, SIDE) > 51
        right[quality].append(float(((attention[0, 0].numpy() > 0.5) == mask).mean()))
    with lines.open(encoding="utf-8", newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    for row in one["qualities"]:
        found, values = margins[row["quality"]], row["metrics"]
        for key, margin in found.items():
            assert float(rows[key]["margin"]) == pytest.approx(margin, rel=1e-4, abs=1e-4)
        fakes = [m for key, m in found.items() if "/Real/" not in key]
        reals = [m for key, m in found.items() if "/Real/" in key]
        assert (row["n_fake"], row["n_real"]) == (len(fakes), len(reals)) == (N_FRAMES, N_FRAMES)
        n_right = sum(m >= 0 for m in fakes) + sum(m < 0 for m in reals)
        assert values["accuracy"] == pytest.approx(n_right / (2 * N_FRAMES))
        wins = [(a > b) + (a == b) / 2 for a in fakes for b in reals]
        assert values["auc"] == pytest.approx(np.mean(wins))
        assert values["mask_accuracy"] == pytest.approx(np.mean(right[row["quality"]]))
        cuts = [np.inf, *sorted({*fakes, *reals}, reverse=True)]
        points = [
            (np.mean([m >= cut for m in reals]), np.mean([m >= cut for m in fakes])) for cut in cuts
        ]
        nearest = min(points, key=lambda at: abs(1 - at[1] - at[0]))
        assert values["eer_published"] == pytest.approx(1 - nearest[1])
        for power in range(1, 7):
            best = max(tpr for fpr, tpr in points if fpr <= 10.0**-power)
            assert values[f"tpr_at_fpr_{10.0**-power:g}"] == pytest.approx(best)


def test_longer_than_a_threshold_is_fake_and_as_long_is_not(tmp_path: Path) -> None:
    detector = load_network(write_run(tmp_path / "run", BINARY, network="mml"), CPU)
    rows = (  # length and class: fake is 0
        ("c23", 0.5, 1), ("c23", 4.0, 1), ("c23", 4.25, 0),
        ("c40", 4.0, 0), ("c40", 12.5, 1), ("c40", 19.5, 0), ("c40", 30.0, 0),
    )  # fmt: skip
    n, lengths_ = len(rows), np.array([length for _, length, _ in rows])
    scored = Scored(
        BINARY, np.array([label for *_, label in rows]), np.full((n, 2), 0.5, np.float32),
        tuple(f"ff++/{quality}/Real/000/{i:04}" for i, (quality, *_) in enumerate(rows)),
        ("g",) * n, (None,) * n, lengths_ - 9,
    )  # fmt: skip
    everything, high, low = sweeps_of(detector, scored)
    assert [each.quality for each in (everything, high, low)] == [None, "c23", "c40"]
    assert (threshold_of(detector), everything.n_samples, high.n_samples) == (9, 7, 3)
    at = (1, 3, 4, 5, 12, 13, 19)
    assert [high.accuracies[n] * 3 for n in at] == pytest.approx([2, 2, 3, 2, 2, 2, 2])
    assert [low.accuracies[n] * 4 for n in at] == pytest.approx([3, 3, 2, 2, 2, 3, 3])
    assert everything.accuracies[4] == pytest.approx(5 / 7)
    (alone,) = sweeps_of(detector, scored.subset(np.arange(3)))
    assert (alone.quality, alone.accuracies) == (None, high.accuracies)


def test_thresholds_are_swept_as_in_the_published_script(
    run: Run, corpus: Path, finished: Path, tmp_path: Path
) -> None:
    lines = tmp_path / "scores.csv"
    words = ("eval", finished, "--data", corpus, "--thresholds", "--resamples", 0)
    done = run(*words, "--json", "--csv", lines)
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)["measured"]
    own = float(read_weights(finished)["threshold"])
    with lines.open(encoding="utf-8", newline="") as file:
        rows = [(r["key"], float(r["margin"]) + own, r["class"]) for r in csv.DictReader(file)]
    with (tmp_path / "scores-thresholds.csv").open(encoding="utf-8", newline="") as file:
        written = {(r["quality"], r["threshold"]): r for r in csv.DictReader(file)}
    assert [each["quality"] for each in one["thresholds"]] == ["all", "c23", "c40"]
    shown = run(*words).stdout
    for each in one["thresholds"]:
        kept = [r for r in rows if each["quality"] in ("all", r[0].split("/")[1])]
        assert each["n_samples"] == len(kept) > 0
        assert list(each["accuracies"]) == [str(t) for t in range(1, 20)]
        for threshold, found in each["accuracies"].items():
            right = [(d > int(threshold)) == (cls == "fake") for _, d, cls in kept]
            assert found == pytest.approx(sum(right) / len(kept))
            row = written.pop((each["quality"], threshold))
            assert float(row["accuracy"]) == pytest.approx(found)
            assert f"{100 * found:.2f} %" in shown
    assert not written
    assert f"Fake if longer than (own: {own:g})" in shown
    other = write_run(tmp_path / "meso4", BINARY)
    refused = run("eval", other, "--data", corpus, "--thresholds")
    assert refused.exit_code == 2
    assert "--thresholds is for runs of mml, and" in refused.stderr


def test_one_quality_is_measured_alone(run: Run, corpus: Path, finished: Path) -> None:
    words = ("eval", finished, "--data", corpus, "--json", "--resamples", 0)
    both, alone = run(*words), run(*words, "--quality", "c40")
    (one,), (other,) = (json.loads(done.stdout)["measured"] for done in (alone, both))
    assert one["qualities"] == [row for row in other["qualities"] if row["quality"] == "c40"]
    level = one["levels"]["frame"]
    assert level["n_samples"] == 2 * N_FRAMES
    found = one["qualities"][0]["metrics"]
    assert level["metrics"]["binary_accuracy"]["value"] == found["accuracy"]
    assert level["metrics"]["auc"]["value"] == found["auc"]
    done = run("eval", finished, "--data", corpus, "--quality", "c41")
    assert (done.exit_code, "No sample is c41: their qualities are c23, c40" in done.stderr) == (
        1, True,
    )  # fmt: skip


def test_masks_are_for_networks_with_an_attention_map(
    run: Run, corpus: Path, masks: Path, finished: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    small = {"size": SIZE, "batch_size": 4, "max_iterations": 1, "val_interval": 1}
    train(TrainRequest((str(corpus),), network="meso4", device="cpu",
                       overrides=tuple(small.items())), plain)  # fmt: skip
    done = run("eval", plain, "--data", corpus, "--masks", masks)
    assert (done.exit_code, "--masks is for runs of mml, and" in done.stderr) == (2, True)
    assert "Qualities apart | c23 | c40" in run("eval", plain, "--data", corpus).stdout
    others = write_masks(
        corpus, tmp_path / "m.lmdb", lambda c, s: None if s.split == "test" else forged(c, s)
    )
    done = run("eval", finished, "--data", corpus, "--masks", others)
    assert (done.exit_code, "fake samples has a mask in --masks" in done.stderr) == (1, True)


def test_predict_and_score_use_the_low_quality_head(
    corpus: Path, finished: Path, tmp_path: Path
) -> None:
    lay_crops(tmp_path)
    path = tmp_path / "face/Deepfakes/c40/000_003/0.png"
    found = predict(PredictRequest(finished, (path,), whole=True, device="cpu"))
    opened = Corpus(corpus)
    sample = next(s for s in opened.samples() if s.key == "ff++/c40/Deepfakes/000_003/0000")
    detector = load_network(finished, CPU)
    scored = detector.score([(opened, sample)], opened.provenance.classes, "binary")
    assert found.faces[0].score == pytest.approx(float(scored.scores[0]), rel=1e-5)


def test_a_subset_keeps_both_qualities_of_a_frame(run: Run, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "half.lmdb"
    assert run("subset", corpus, "--share", 0.5, "--out", out).exit_code == 0
    samples = list(Corpus(out).samples())
    sizes = Counter((s.cls, s.split, frame_of(s.key)) for s in samples)
    parted = Counter((cls, split) for (cls, split, _), n in sizes.items() if n == 1)
    assert len(samples) < len(list(Corpus(corpus).samples()))
    assert max(sizes.values()) == 2
    assert all(n == 1 for n in parted.values())  # at most one of each cell, by rounding


def test_the_attention_map_is_one_of_the_explanations(
    run: Run, corpus: Path, finished: Path, tmp_path: Path
) -> None:
    done = run(
        "explain", finished, corpus, "--method", "attention", "--method", "gradcam",
        "--steps", 0, "--limit", 2, "--out", tmp_path / "seen",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    names = sorted(path.name for path in (tmp_path / "seen").glob("0-mml-*.png"))
    assert [name.split("-")[2] for name in names] == ["attention", "gradcam"]


def test_mistakes_are_shown_by_the_head_that_made_them(corpus: Path, finished: Path) -> None:
    opened, detector = Corpus(corpus), load_network(finished, CPU)
    items = [
        next((opened, s) for s in opened.samples() if quality_of(s.key) == quality)
        for quality in ("c40", "c23")
    ]
    assert isinstance(detector.net, Mml)
    shown_images, nets = answer_images(detector, items), (detector.net, HighQuality(detector.net))
    for (corpus_, sample), shown, net, way in zip(
        items, shown_images, nets, ("lq_", "net.hq_"), strict=True
    ):
        image = corpus_.image(sample)
        heat = grad_cam(net, detector.inputs([image]), f"{way}head.block7")[0].numpy()
        assert np.array_equal(shown[0], image)
        assert np.array_equal(shown[1], overlay(resize(image, SIZE, "pillow-bilinear"), heat))


def test_masks_must_be_masks(run: Run, corpus: Path, finished: Path) -> None:
    done = run("eval", finished, "--data", corpus, "--masks", corpus)
    assert (done.exit_code, "holds faces, where masks are wanted" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "multi"], (2, "--task must be binary for mml")),
        (
            ["--set", "metric.mask_weight=0"],
            (2, "--masks must be empty if metric.mask_weight is 0"),
        ),
        (["--set", "metric.high=raw"], (1, "No train sample has a partner")),
        (["--set", "metric.rfake=1"], (2, "A recipe has no 'metric.rfake'")),
        (["--recipe", "small", "--network", "xception"], (2, "--masks must be empty for xception")),
        (["--recipe", "small"], (1, "mml and loss = 'metric' go together")),
    ],
)
def test_wrong_arguments_are_one_line(
    run: Run, corpus: Path, masks: Path, tmp_path: Path, arguments: list[str],
    told: tuple[int, str],
) -> None:  # fmt: skip
    words = ["--network", "mml", "--task", "binary", "--set", "size=32", *arguments]
    done = run("train", "--data", corpus, "--masks", masks, "--out", tmp_path / "run", *words)
    assert done.exit_code == told[0], done.output
    assert told[1] in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "run").exists()


def test_missing_masks_and_what_is_left_out_are_told(
    run: Run, corpus: Path, masks: Path, tmp_path: Path
) -> None:
    words = ["--network", "mml", "--task", "binary", "--device", "cpu", "--threads", "1"]
    words += [part for name, v in SMALL.items() for part in ("--set", f"{name}={v}")]
    done = run("train", "--data", corpus, "--out", tmp_path / "a", *words)
    assert (done.exit_code, "set metric.mask_weight = 0" in done.stderr) == (2, True)
    few = tmp_path / "few.lmdb"
    few.mkdir()
    for file in masks.iterdir():
        (few / file.name).write_bytes(file.read_bytes())
    gone = "ff++/masks/Deepfakes/001_870/0000"
    change_manifest(few, lambda rows: rows.remove(next(r for r in rows if r["key"] == gone)))
    done = run("train", "--data", corpus, "--masks", few, "--out", tmp_path / "b", *words,
               "--corrected", "--max-iterations", "1")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "train: left out 2 fake without a mask" in done.stderr
    made = json.loads((tmp_path / "b/run.json").read_text())["made"]
    assert made["pairs"]["left_out"] == {"train": {"fake without a mask": 2}, "val": {}}
    assert made["pairs"]["found"]["train"] == 4 * N_FRAMES - 1
    assert made["recipe"]["metric"]["as_published"] is False
    done = run("eval", tmp_path / "b", "--data", corpus, "--masks", few, "--split", "train")
    assert "leaves out 2 fakes without a mask" in done.stdout


# --- real clips ------------------------------------------------------------------------------


def changed(corpus: Corpus, sample: Sample) -> Image | None:
    """White where a forged frame differs from that of its original; None without original."""
    source, quality, _, video, frame = sample.key.split("/")
    key = f"{source}/{quality}/Real/{video.split('_')[0]}/{frame}"
    original = next((s for s in corpus.samples() if s.key == key), None)
    if original is None or original.box != sample.box:
        return None
    difference = corpus.image(sample).astype(int) - corpus.image(original)
    far = np.abs(difference).max(2, keepdims=True) > 20
    return np.repeat(far, 3, 2).astype(np.uint8) * 255


@pytest.mark.slow
def test_real_clips_go_all_the_way(data: Path, run: Run, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shorten(data / "data/ffpp", tree, 4)
    done = run("degrade", tree, "--op", "h264:40", "--out", tmp_path / "c40", "--workers", "2")
    assert done.exit_code == 0, done.output
    for name in ("original_sequences", "manipulated_sequences"):
        shutil.copytree(tmp_path / "c40" / name, tree / name, dirs_exist_ok=True)
    corpus = build_corpus(
        "ff++", tree, tmp_path / "pairs.lmdb", qualities=("c23", "c40"), frames="2"
    )
    drawn = write_masks(corpus, tmp_path / "masks.lmdb", changed)
    small = [
        part for name, v in (SMALL | {"size": 71}).items() for part in ("--set", f"{name}={v}")
    ]
    done = run("train", "--data", corpus, "--masks", drawn, "--network", "mml", "--task", "binary",
               "--device", "cpu", "--out", tmp_path / "run", *small)  # fmt: skip
    assert done.exit_code == 0, done.output
    # The clip of Face2Face is without its original, so it has no mask.
    assert "train: left out 4 fake without a mask" in done.stderr
    assert read_run(tmp_path / "run").made["pairs"]["found"] == {"train": 4, "val": 4}
    done = run("eval", tmp_path / "run", "--data", corpus, "--masks", drawn, "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["measured"][0]["qualities"]
    assert [(r["quality"], r["n_real"], r["n_fake"]) for r in rows] == [
        ("c23", 2, 2),
        ("c40", 2, 2),
    ]
    assert all(0 < row["metrics"]["mask_accuracy"] < 1 for row in rows)
    clip = tree / "manipulated_sequences/FaceSwap/c40/videos/634_660.mp4"
    found = predict(PredictRequest(tmp_path / "run", (clip,), frames=3, device="cpu"))
    assert found.files[0].n_faces == 3
