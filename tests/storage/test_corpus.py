"""A finished corpus: its corpus.json, its manifest, and its records."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from makers.corpora import text_corpus, text_sample

from hffkit.errors import ManifestError, StorageError
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import Corpus, CorpusInfo
from hffkit.storage.datum import Datum


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """A corpus of ten samples."""
    return text_corpus(tmp_path / "corpus", [text_sample(f"{n:02d}") for n in range(10)])


def read_info(corpus: Corpus, **changes: Any) -> CorpusInfo:
    """Read the contents of corpus.json, with changes and without its own digest."""
    row = replace(corpus.info, files_sha256={}).to_json() | changes
    return CorpusInfo.from_json(json.loads(json.dumps(row)), "corpus.json")


def test_a_shard_is_its_number_of_how_many(corpus: Corpus) -> None:
    assert read_info(corpus, shard=[0, 2]).provenance.shard == (0, 2)
    assert read_info(corpus, shard=None).provenance.shard is None
    for wrong in ([2, 2], [-1, 2], [0], ["0", "2"], [True, 2], "0/2"):
        with pytest.raises(StorageError, match=r"corpus\.json: shard"):
            read_info(corpus, shard=wrong)


def test_corpora_without_digests_of_files_have_none_of_their_own(corpus: Corpus) -> None:
    row = corpus.info.to_json()
    older = replace(corpus.info, files_sha256={}).to_json()
    assert set(row) - set(older) == {"files_sha256", "own_sha256"}
    assert read_info(corpus) == replace(corpus.info, files_sha256={})


def test_an_altered_manifest_is_read_only_as_found(corpus: Corpus) -> None:
    path = corpus.path / "manifest.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"train"', b'"tests"').replace(b"tests", b"test"))
    altered = Corpus(corpus.path)
    assert {sample.split for sample in altered.samples_as_found()} == {"test"}
    with pytest.raises(ManifestError, match="was altered after the corpus was made"):
        altered.samples()


def test_a_record_is_compared_with_its_sample_once(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    faults = Corpus.faults

    def noted(self: Corpus, sample: Sample, datum: Datum) -> Iterator[str]:
        compared.append(sample.key)
        return faults(self, sample, datum)

    monkeypatch.setattr(Corpus, "faults", noted)
    samples = list(corpus.samples())
    for sample in [*samples, *samples]:
        assert bytes(corpus.datum(sample).data) == sample.key.encode()
    assert compared == [sample.key for sample in samples]
