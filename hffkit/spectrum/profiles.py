"""Spectral profiles of corpora, cached beside them, and of folders of images."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from hffkit.arrays import Floats64, arrays_of
from hffkit.errors import ArgumentError, HffkitError, ImageError, StorageError
from hffkit.execution.guarded import Lost, guarded
from hffkit.execution.memory import keep_memory_of_tensors
from hffkit.execution.pool import in_order
from hffkit.execution.progress import Progress
from hffkit.execution.versions import versions
from hffkit.execution.watchdog import limit_of_file
from hffkit.input_files import json_of, read_bounded
from hffkit.manifest.samples import Sample
from hffkit.media.image import Image, read_bytes
from hffkit.media.image_files import decode_file
from hffkit.media.walk import Rest, walk
from hffkit.spectrum.features import (
    FeatureSpec,
    Read,
    blocks_of,
    check_spec,
    profiles_of_block,
    resampled,
)
from hffkit.storage.corpora import corpora_of
from hffkit.storage.corpus import Corpus
from hffkit.storage.labels import Items
from hffkit.storage.staging import write_bytes_durably

FORMAT = 2  # 1 made JPEG files grey from their colours
SUFFIX = ".spectrum"  # data.lmdb.spectrum/, beside data.lmdb


def versions_of_spectra() -> dict[str, str]:
    """Return the versions of libraries that decide the last bits of profiles."""
    return {**versions("pillow"), "scipy": metadata.version("scipy")}


@dataclass(frozen=True, slots=True)
class Profiler:
    """Compute profiles in several processes, and cache those of corpora beside them."""

    spec: FeatureSpec
    n_workers: int

    def features(self, items: Items) -> Floats64:
        """Compute the features (N, P) of samples; see `resampled` for the errors."""
        return resampled(self.of_items(items), self.spec)

    def of_items(self, items: Items) -> list[Floats64]:
        """Return the native profile of each sample, in order; see `of_corpus`."""
        known: dict[int, dict[str, Floats64]] = {}
        for corpus in corpora_of(items):
            keys = (sample.key for sample in corpus.samples())
            known[id(corpus)] = dict(zip(keys, self.of_corpus(corpus), strict=True))
        return [known[id(corpus)][sample.key] for corpus, sample in items]

    def of_corpus(self, corpus: Corpus) -> list[Floats64]:
        """Return the native profiles of all samples of a corpus, in manifest order.

        CORPUS.spectrum/CROP-CENTRE.npz caches them with the corpus's content_sha256 and everything
        else that decides them; a cache that does not match is replaced. If the folder is not
        writable, or a link, nothing is cached.

        Raises
        ------
        HffkitError
            If an image cannot be read, or has no spectrum; the message names it.
        """
        path = cache_path(corpus, self.spec)
        facts = _facts(corpus, self.spec)
        cached = _cached(path, facts)
        if cached is not None:
            return cached
        images = ((f"{corpus.path}: {s.key}", partial(_read, corpus, s)) for s in corpus.samples())
        found = self.of_images(images, corpus.n_samples)
        with suppress(StorageError, OSError):  # the folder is not writable
            path.parent.mkdir(exist_ok=True)
            if not path.parent.is_symlink():  # which may lead to a folder of others
                write_bytes_durably(path, _packed(found, facts))
        return found

    def of_images(self, images: Iterable[tuple[str, Read]], n_images: int) -> list[Floats64]:
        """Return the native profile of each image, in order; see `profiles_of`."""
        check_spec(self.spec)
        keep_memory_of_tensors()  # which serves spectra too: each has a megabyte or more
        work = partial(profiles_of_block, spec=self.spec)
        found: list[Floats64] = []
        with Progress(n_images, unit="images", label="spectrum") as progress:
            for some in in_order(work, blocks_of(images), n_workers=self.n_workers):
                found += some
                progress.step(len(some))
        return found

    def of_files(self, files: Sequence[Path]) -> list[Floats64 | Lost]:
        """Return the native profile of each image file, or the reason why it has none."""
        check_spec(self.spec)
        work = partial(_profile, spec=self.spec)
        found: list[Floats64 | Lost] = []
        with Progress(len(files), unit="images", label="spectrum") as progress:
            for one in guarded(work, files, limit_of_file, n_workers=self.n_workers):
                found.append(one)
                progress.step(1, int(isinstance(one, Lost)))
        return found


def cache_path(corpus: Corpus, spec: FeatureSpec) -> Path:
    """Return the path of a corpus's cached profiles."""
    folder = corpus.path.resolve()
    return folder.parent / f"{folder.name}{SUFFIX}" / f"{spec.crop}-{spec.centre}.npz"


def _facts(corpus: Corpus, spec: FeatureSpec) -> dict[str, object]:
    return {
        "format": FORMAT,
        "content_sha256": corpus.content_sha256,
        "n_samples": corpus.n_samples,
        "crop": spec.crop,
        "centre": spec.centre,
        "grey": spec.grey,
        "versions": versions_of_spectra(),
    }


def _packed(profiles: Sequence[Floats64], facts: Mapping[str, object]) -> bytes:
    file = io.BytesIO()
    np.savez(
        file,
        facts=np.array(json.dumps(facts, sort_keys=True)),
        lengths=np.array([len(profile) for profile in profiles], np.int64),
        values=np.concatenate(profiles) if profiles else np.zeros(0),
    )
    return file.getvalue()


def _cached(path: Path, facts: Mapping[str, object]) -> list[Floats64] | None:
    """Return cached profiles, if the file is intact and its facts match."""
    try:
        file = arrays_of(read_bounded(path, StorageError))
        if json_of(str(file["facts"]), str(path), StorageError) != facts:
            return None
        lengths, values = file["lengths"], file["values"]
    except (StorageError, ValueError, KeyError):
        return None
    if lengths.shape != (facts["n_samples"],) or lengths.dtype != np.int64 or values.ndim != 1:
        return None
    is_whole = bool((lengths >= 0).all()) and lengths.sum() == len(values)
    if not is_whole or values.dtype != np.float64 or not np.isfinite(values).all():
        return None
    return list(np.split(values, np.cumsum(lengths)[:-1]))


def _read(corpus: Corpus, sample: Sample) -> Image:
    try:
        return corpus.grey(sample)
    except HffkitError as error:
        raise ImageError(f"{corpus.path}: {sample.key}: {error}") from None


def images_below(folder: Path, rest: Rest) -> list[str]:
    """Return the relative paths of the images below a folder, sorted.

    Videos and other files are added to `rest`.

    Raises
    ------
    ArgumentError
        If there is no image.
    """
    files = walk(folder, rest=rest)
    rest.unasked += [file.path for file in files if file.is_video]
    names = [file.path for file in files if not file.is_video]
    if not names:
        raise ArgumentError(f"{folder} is no corpus, and holds no image.")
    return names


def read_grey(path: Path) -> Image:
    """Decode an image file to grey as `decode_grey` does.

    Raises
    ------
    ImageError
        If it cannot be read, or is damaged.
    """
    found = decode_file(read_bytes(path), as_grey=True)
    if found.damage is not None:
        raise ImageError(found.damage)
    return found.image


def _profile(path: Path, spec: FeatureSpec) -> Floats64 | Lost:
    """Return the native profile of an image file, or the reason why it has none."""
    try:
        (profile,) = profiles_of_block([(path.name, partial(read_grey, path))], spec)
    except ImageError as error:
        return Lost(str(error).removeprefix(f"{path.name}: "))
    return profile
