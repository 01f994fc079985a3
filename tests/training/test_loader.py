"""The order of batches, and the images in them."""

from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from makers.trainings import SIZE, request_of
from PIL import Image as Pillow

from hffkit.errors import CorpusError, StorageError
from hffkit.media.image import resize
from hffkit.networks.spec import BGR_255, RGB_255, RGB_SIGNED, RGB_UNIT
from hffkit.storage.corpus import Corpus
from hffkit.training.dataset import FaceDataset
from hffkit.training.labelled import random_operations
from hffkit.training.loader import MemoryLoader, StreamLoader, make_loader, prepare
from hffkit.training.request import Keep, chosen_recipe
from hffkit.training.sampler import BatchSampler

CPU = torch.device("cpu")


def items_of(path: Path) -> list[Any]:
    corpus = Corpus(path)
    return [(corpus, sample) for sample in corpus.samples()]


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3))
def test_every_epoch_is_a_permutation_and_batches_cross_its_end(
    n_samples: int, batch_size: int, seed: int
) -> None:
    sampler = BatchSampler(n_samples, batch_size, "shuffled", seed)
    n_batches = -(-3 * n_samples // batch_size)
    batches = [sampler.batch(number) for number in range(n_batches)]
    assert all(len(numbers) == len(epochs) == batch_size for numbers, epochs in batches)
    numbers = np.concatenate([numbers for numbers, _ in batches])[: 3 * n_samples]
    epochs = np.concatenate([epochs for _, epochs in batches])[: 3 * n_samples]
    assert epochs.tolist() == [epoch for epoch in range(3) for _ in range(n_samples)]
    for epoch in range(3):
        assert sorted(numbers[epochs == epoch].tolist()) == list(range(n_samples))


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    sampler = BatchSampler(100, 100, "shuffled", 0)
    found = [sampler.batch(k)[0].tolist() for k in range(3)]
    found.append(BatchSampler(100, 100, "shuffled", 1).batch(0)[0].tolist())
    assert len({tuple(numbers) for numbers in (*found, range(100))}) == 5


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(0, 30))
def test_a_batch_does_not_depend_on_what_was_asked_before(before: list[int], k: int) -> None:
    used, fresh = BatchSampler(13, 5, "shuffled", 7), BatchSampler(13, 5, "shuffled", 7)
    for number in before:
        used.batch(number)
    for one, other in zip(used.batch(k), fresh.batch(k), strict=True):
        assert np.array_equal(one, other)


def test_the_order_of_caffe_is_that_of_the_corpus_and_wraps() -> None:
    sampler = BatchSampler(5, 3, "caffe", 9)
    assert [sampler.batch(k)[0].tolist() for k in range(4)] == [
        [0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1],
    ]  # fmt: skip
    assert sampler.batch(3)[1].tolist() == [1, 2, 2]


def pixels_of(faces: FaceDataset, number: int, epoch: int = 0) -> Any:
    out = np.zeros((faces.size, faces.size, 3), np.uint8)
    faces.read(number, epoch, out)
    return out


def test_faces_of_a_packed_corpus_are_its_images(packed: Path) -> None:
    items = items_of(packed)
    rgb, bgr = FaceDataset(items, SIZE, RGB_255), FaceDataset(items, SIZE, BGR_255)
    assert len(rgb) == 39
    for number, (corpus, sample) in enumerate(items):
        image = corpus.image(sample)
        assert np.array_equal(pixels_of(rgb, number), image)
        assert np.array_equal(pixels_of(bgr, number), image[..., ::-1])


def test_faces_of_a_native_corpus_are_resized_as_pack_does(packed: Path, native: Path) -> None:
    natives, packs = items_of(native), items_of(packed)
    for spec in (RGB_255, BGR_255):
        ours, theirs = FaceDataset(natives, SIZE, spec), FaceDataset(packs, SIZE, spec)
        assert natives[0][0].image(natives[0][1]).shape == (64, 56, 3)
        for number in range(len(natives)):
            assert np.array_equal(pixels_of(ours, number), pixels_of(theirs, number))


def test_faces_of_a_native_corpus_are_resized_by_the_filter_of_the_network(native: Path) -> None:
    items = items_of(native)
    for spec, how in ((RGB_SIGNED, "BILINEAR"), (RGB_UNIT, "NEAREST")):
        faces = FaceDataset(items, 30, spec)
        for number, (corpus, sample) in enumerate(items):
            picture = Pillow.fromarray(corpus.image(sample))
            theirs = picture.resize((30, 30), getattr(Pillow.Resampling, how))
            assert np.array_equal(pixels_of(faces, number), np.asarray(theirs))


def test_a_corpus_packed_at_another_size_is_refused(packed: Path) -> None:
    with pytest.raises(CorpusError, match="packed at 48 px, and the network is fed with 64"):
        FaceDataset(items_of(packed), 64, RGB_255)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("name", ["packed", "native"])
def test_streaming_and_resident_images_are_the_same_batches(
    name: str, n_threads: int, request: pytest.FixtureRequest
) -> None:
    items = items_of(request.getfixturevalue(name))
    faces, labels = FaceDataset(items, SIZE, BGR_255), np.arange(len(items)) % 3
    sampler = BatchSampler(len(items), 16, "shuffled", 1)
    loaders = [
        make_loader(faces, labels, CPU, keep=keep, n_threads=n_threads)
        for keep in get_args(Keep)[1:]
    ]
    for start in (0, 4):
        pairs = zip(*(loader.batches(sampler, start) for loader in loaders), strict=True)
        for k, ((a, a_labels), (b, b_labels)) in enumerate(islice(pairs, 6), start):
            numbers = sampler.batch(k)[0]
            assert torch.equal(a, b)
            assert a_labels.tolist() == b_labels.tolist() == labels[numbers].tolist()
            wanted = np.stack([pixels_of(faces, int(number)) for number in numbers])
            assert np.array_equal(a.numpy(), wanted)
    for loader in loaders:
        found = [(pixels.clone(), truth.clone()) for pixels, truth in loader.in_order(16)]
        assert [len(truth) for _, truth in found] == [16, 16, 7]
        assert torch.cat([truth for _, truth in found]).tolist() == labels.tolist()
        everything = torch.cat([pixels for pixels, _ in found]).numpy()
        assert np.array_equal(everything[38], pixels_of(faces, 38))


def test_images_are_kept_as_asked(packed: Path) -> None:
    faces, labels = FaceDataset(items_of(packed), SIZE, RGB_255), np.zeros(39, np.int64)
    changed = FaceDataset(faces.items, SIZE, RGB_255, lambda image, _, __: image)
    kinds = {
        (keep, one is changed): type(make_loader(one, labels, CPU, keep=keep, n_threads=1))
        for keep in ("auto", "memory", "stream")
        for one in (faces, changed)
    }
    resident = {("auto", False), ("memory", False)}
    assert {key for key, kind in kinds.items() if kind is MemoryLoader} == resident


def test_an_unreadable_image_ends_a_stream_with_its_error(packed: Path) -> None:
    def fails(*_: object) -> Any:
        raise StorageError("gone")

    faces = FaceDataset(items_of(packed), SIZE, RGB_255, fails)
    stream = StreamLoader(faces, np.zeros(39, np.int64), CPU, 2)
    with pytest.raises(StorageError, match="gone"):
        next(stream.batches(BatchSampler(39, 16, "caffe", 0), 0))


def test_drawn_operations_depend_on_epoch_and_seed_but_on_no_thread(native: Path) -> None:
    recipe = chosen_recipe(request_of(native, degrade=["jp-mix", "gb-mix"]))
    items, labels = items_of(native), np.zeros(39, np.int64)
    drawn: dict[tuple[int, int], Any] = {}
    for seed in (0, 1):
        faces = FaceDataset(items, SIZE, RGB_255, random_operations(recipe, seed))
        for n_threads in (1, 2, 5):
            stream = StreamLoader(faces, labels, CPU, n_threads)
            sampler = BatchSampler(39, 39, "caffe", 0)
            epochs = [pixels.clone() for pixels, _ in islice(stream.batches(sampler, 0), 2)]
            if (seed, n_threads) == (0, 1):
                assert not torch.equal(epochs[0], epochs[1])
            for epoch, pixels in enumerate(epochs):
                assert torch.equal(drawn.setdefault((seed, epoch), pixels), pixels)
    assert not torch.equal(drawn[0, 0], drawn[1, 0])
    plain = FaceDataset(items, SIZE, RGB_255)
    assert not np.array_equal(drawn[0, 0][0].numpy(), pixels_of(plain, 0))


def test_chains_of_suites_are_drawn_for_each_image_and_epoch(native: Path) -> None:
    names = ["suite:social-repost:1", "suite:grip-social"]
    operations = random_operations(chosen_recipe(request_of(native, degrade=names)), 0)
    assert operations is not None
    corpus, sample = items_of(native)[5]
    image = corpus.image(sample)
    made = [operations(image, sample, epoch) for epoch in range(40)]
    # Reposts cut off 4 px, screenshots are 90 % as large, and GRIP's images have 200 px.
    assert {pixels.shape[:2] for pixels in made} == {(60, 52), (58, 50), (200, 200)}
    assert len({pixels.tobytes() for pixels in made}) > 12
    again = [operations(image, sample, epoch) for epoch in reversed(range(40))]
    assert all(np.array_equal(a, b) for a, b in zip(made, reversed(again), strict=True))


def test_operations_work_on_native_pixels_before_they_are_resized(native: Path) -> None:
    recipe = chosen_recipe(request_of(native, degrade=["gb:3"]))
    faces = FaceDataset(items_of(native), SIZE, RGB_255, random_operations(recipe, 0))
    corpus, sample = faces.items[5]
    rows_, image = [0.25, 0.5, 0.25], corpus.image(sample).astype(np.float64)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    blurred = sum(
        a * b * padded[y : y + 64, x : x + 56]
        for y, a in enumerate(rows_)
        for x, b in enumerate(rows_)
    )
    wanted = resize(np.floor(np.asarray(blurred) + 0.5).astype(np.uint8), SIZE, "opencv-linear")
    got = pixels_of(faces, 5)
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 1


def test_images_have_the_range_of_the_network() -> None:
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8).repeat(2, 4, 4, 1)
    for spec, wanted in (
        (BGR_255, [0, 51, 255]),
        (RGB_UNIT, [0, 0.2, 1]),
        (RGB_SIGNED, [-1, -0.6, 1]),
    ):
        images = prepare(levels, spec)
        assert images.shape == (2, 3, 4, 4)
        assert images.dtype == torch.float32
        assert images[0, :, 1, 2].tolist() == pytest.approx(wanted, abs=1e-6)
    assert levels.dtype == torch.uint8
